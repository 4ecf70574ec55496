"""What a recovery tells while it runs, gathered from its thread and shown no more than twice a second."""

import time
from typing import TYPE_CHECKING

from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line
from tui_prune.app.headlines import Doing
from tui_prune.app.recovery import Recovery

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.plan import Plan
    from tui_prune.result import Stage, TuningPoint

INTERVAL = 0.5
"""Seconds between two pictures of a recovery that goes on."""


class RecoveryReport:
    """One recovery, of one plan."""

    def __init__(self, screen: "MainScreen", plan: "Plan", *, tuning: bool) -> None:
        self._screen, self.plan, self._tuning = screen, plan, tuning
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
    def keeps(self) -> bool:
        """Whether there is something that stopping may keep."""
        recalibrated = any(stage.name == "recalibrated" and stage.kept for stage in self._stages)
        return recalibrated or any(point.best for point in self._points)

    def snapshot(self) -> Recovery:
        """The recovery as far as it got."""
        points, stages = tuple(self._points), tuple(self._stages)
        tuning = self._tuning and not self._ended
        return Recovery(stages, points, (*self._headline, *self._of_another_plan()), tuning)

    def go_on(self, doing: Doing) -> None:
        """Say how far it is, now or as soon as it is time."""
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
        return (Cell("   of another plan: undo comes back to it", "dim"),)
