"""What a recovery tells while it runs, gathered from its thread and shown no more than twice a second."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line
from tui_prune.app.headlines import Doing
from tui_prune.app.recovery import Recovery
from tui_prune.formatting import score

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.plan import Plan
    from tui_prune.result import Stage, TuningPoint

INTERVAL = 0.5
"""Seconds between two pictures of a recovery that goes on."""


class RecoveryReport:
    """One recovery, of one plan."""

    def __init__(self, screen: "MainScreen", plan: "Plan", *, tuning: bool, before: "tuple[str, ...]" = ()) -> None:
        """`before`: what was done already to the network that it starts from."""
        self._screen, self.plan, self._tuning, self._before = screen, plan, tuning, before
        self._stages: list[Stage] = []
        self._points: list[TuningPoint] = []
        self._headline: Line = ()
        self._ended = False
        self._last = 0.0
        self._timer: Timer | None = None

    # Called by the thread that recovers

    def stage(self, stage: "Stage") -> None:
        """Note what the task says of another stage."""
        self._stages.append(stage)

    def point(self, point: "TuningPoint") -> None:
        """Note what the loop has reported."""
        self._points.append(point)

    # Called by the screen

    @property
    def tuned(self) -> float | None:
        """Share of the fine-tuning that is done; None before it has reported any."""
        return self._points[-1].done if self._points else None

    @property
    def _done(self) -> str | None:
        """The last step of this recovery that is kept already, though the training isn't."""
        kept = [stage.name for stage in self._stages if stage.kept and stage.name not in ("before", "after")]
        own = kept[1:] if self._before and kept[:1] == [self._before[-1]] else kept
        return own[-1] if own else None

    def stopped(self, *, kept: bool = True) -> str:
        """What stopping it now leaves, in words: what is kept, or why nothing is. `kept`: not known to be nothing."""
        best = self.snapshot().best if kept else None
        had = next((stage.score for stage in reversed(self._stages) if stage.kept), None)
        if best is not None:
            reached = self._points[best].accuracy
            return f"stopped; the best so far is kept{'' if reached is None else f': {score(reached, reached)}'}"
        task = self._screen.session.task
        if kept and self._points and task is not None and task.evaluate is None:
            return "stopped; what it has learned up to here is kept"
        tried = [point.accuracy for point in self._points if point.accuracy is not None]
        why = ": nothing was measured yet" if self._points and not tried else ""
        if tried and had is not None:
            why = f": {score(max(tried), had)} isn't better than the {score(had, had)} that it has"
        if kept and self._tuning and self._done:
            return f"stopped; the {self._done} network is kept{why}"
        return f"stopped; nothing changed{why}"

    def snapshot(self) -> Recovery:
        """The recovery as far as it got."""
        points, stages = tuple(self._points), tuple(self._stages)
        tuning = self._tuning and not self._ended
        return Recovery(stages, points, (*self._of_another_plan(), *self._headline), tuning)

    def go_on(self, doing: Doing) -> None:
        """Say how far it is, now or as soon as it is time; of a fine-tuning, how far that is, as its curves do."""
        if self.tuned is not None:
            doing = replace(doing, done=self.tuned)
        stop = "   esc stops it and keeps the best" if self._tuning else "   esc stops it"
        self._headline = headlines.doing(doing, stop)
        rest = self._last + INTERVAL - time.monotonic()
        if rest <= 0:
            self._show()
        elif self._timer is None:
            self._timer = self._screen.set_timer(rest, self._show)

    def end(self, words: str, style: str = "strong") -> None:
        """Say how it ended, or that it is about to."""
        self._headline, self._ended = (Cell(words, style),), True
        self._show()

    def _show(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer, self._last = None, time.monotonic()
        self._screen.show_recovery()

    def _of_another_plan(self) -> Line:
        if not self._ended or self._screen.session.recipe == self.plan.recipe:
            return ()
        return (Cell("of another plan (P, u go back to it)   ", "changed"),)
