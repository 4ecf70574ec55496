"""The guided way: target, suggest, reconstruct, fine-tune, save, as steps in one line with what each has brought.

Which steps are done follows from the session, so that it doesn't matter whether one took a step by hand.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line
from tui_prune.app.columns import Part, compose
from tui_prune.app.headlines import Doing
from tui_prune.app.jobs import Job, JobKind
from tui_prune.formatting import score, seconds, share
from tui_prune.planning.recipe import Recipe

if TYPE_CHECKING:
    from tui_prune.session.session import Session

NOT_BETTER = "made nothing better"
"""What a step has brought that was undone."""
ENOUGH = 0.05
"""The share of a job from which its time so far tells what is left of it."""


class Way(Enum):
    """The steps, in words."""

    TARGET = "target"
    SUGGEST = "suggest"
    RECONSTRUCT = "reconstruct"
    FINE_TUNE = "fine-tune"
    SAVE = "save"


JOBS = {
    JobKind.SUGGESTING: (Way.SUGGEST,),
    JobKind.RECOVERING: (Way.RECONSTRUCT, Way.FINE_TUNE),
    JobKind.SAVING: (Way.SAVE,),
}
"""The steps that a job may be."""


@dataclass(frozen=True)
class WayStep:
    """A step: whether it is done, and what it has brought."""

    way: Way
    done: bool = False
    figure: str = ""


def way_steps(session: "Session", suggested: Recipe | None, tried: Collection[Way] = ()) -> tuple[WayStep, ...]:
    """Return the steps of a session, without those that its task has no data for.

    `suggested` is the recipe that was suggested last. `tried` are the steps that were taken with the present plan: they
    count as done where they have made nothing better, and so were undone.
    """
    from tui_prune.recovery.recover import FINE_TUNED, RECONSTRUCTED

    plan, task, saved = session.plan, session.task, session.saved_to
    report = None if session.recovered is None else session.recovered.report
    known, uncut = session.figures(session.recipe), session.figures(Recipe()).accuracy
    chosen = [step.recipe for step in session.steps[: session.place + 1]]

    def said(value: float | None) -> str:
        return "" if value is None else score(value, value if uncut is None else uncut)

    found = [
        WayStep(Way.TARGET, bool(plan.cuts), f"{share(plan.after.macs, plan.before.macs)} MACs"),
        WayStep(Way.SUGGEST, bool(plan.cuts) and suggested in chosen, said(known.accuracy)),
    ]
    if task is None or task.calibration is not None:
        done = report is not None and RECONSTRUCTED in report.recovered
        figure = said(known.recovered)
        if report is not None and report.reconstruction is not None and not figure:
            figure = f"error {100 * report.reconstruction.after:.3g} %"
        found.append(_tried(WayStep(Way.RECONSTRUCT, done, figure), tried))
    if task is None or task.tunable:
        done = report is not None and FINE_TUNED in report.recovered
        found.append(_tried(WayStep(Way.FINE_TUNE, done, said(known.recovered)), tried))
    return (*found, WayStep(Way.SAVE, saved is not None and not session.dirty, "" if saved is None else saved.name))


def _tried(step: WayStep, tried: Collection[Way]) -> WayStep:
    return step if step.done or step.way not in tried else WayStep(step.way, True, NOT_BETTER)


def next_step(steps: Sequence[WayStep]) -> Way | None:
    """Return the step after the last one that is done; None where that is the end."""
    last = max((place for place, step in enumerate(steps) if step.done), default=-1)
    return steps[last + 1].way if last + 1 < len(steps) else None


class Clock:
    """How long the present job has taken, and so what may be left of it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._job: Job | None = None
        self._began = 0.0

    def left(self, job: Job | None, doing: Doing | None) -> str:
        """The time that is left of a job, in words; empty while there is no telling."""
        if job is not self._job:
            self._job, self._began = job, self._now()
        if job is None or doing is None or not ENOUGH <= doing.done < 1:
            return ""
        return f"{seconds((self._now() - self._began) * (1 - doing.done) / doing.done)} left"


def way_line(steps: Sequence[WayStep], job: Job | None, doing: Doing | None, left: str, key: str, width: int) -> Line:
    """The line of the steps; the next one says how far it is, or the key that takes it."""
    coming = next_step(steps)
    parts = []
    for place, step in enumerate(steps):
        runs = job is not None and doing is not None and step.way in JOBS.get(job.kind, ()) and step.way is coming
        figure = step.figure
        if runs and doing is not None:
            figure = f"{100 * doing.done:.0f} %{f', {left}' if left else ''}"
        name = f"{place + 1} {step.way.value}"
        mark, style = ("▸ ", "changed") if step.way is coming else ("✓ ", "plain") if step.done else ("", "dim")
        short: Line = (Cell(f"{mark}{name}", style),)
        full: Line = (
            (*short, Cell(f" {figure}", "strong" if runs else "dim")) if figure and (step.done or runs) else short
        )
        parts.append(Part(0 if step.way is coming else 2, (full, short)))
    words = "esc leaves the way" if coming is None else f"{key} next" if key else ""
    return compose([*parts, Part(1, ((Cell(words, "dim"),), ()))], width)
