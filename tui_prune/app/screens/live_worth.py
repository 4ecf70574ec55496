"""What the plan on the screen is worth, measured while the keys rest: error curves once, then the network cut,
reconstructed and evaluated, in a thread that the next key stops."""

import time
from typing import TYPE_CHECKING

from tui_prune.app.jobs import Job, JobEnded, JobKind, taken_in
from tui_prune.errors import Cancelled

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_prune.app.jobs import Progress
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.search.curves import ErrorCurves

REST = 1.0
"""Seconds without a key after which measuring begins."""
LIMIT = 20.0
"""Where it takes more seconds than this to measure one plan, it is off until the user turns it on."""


class LiveWorth:
    """Measures on behalf of the main screen, in a thread of its own. Work that the user has asked for goes first."""

    def __init__(self, screen: "MainScreen") -> None:
        self._screen = screen
        self.on = True
        self._insisted = False
        """Whether the user has turned it on, however long it takes."""
        self._timer: Timer | None = None
        self._job: Job | None = None
        self._took_too_long = False

    @property
    def measuring(self) -> bool:
        """Whether something is being measured right now."""
        return self._job is not None

    def toggle(self) -> str:
        """Turn it on or off, and say so."""
        self.on = not self.on
        self._insisted = self.on
        if not self.on:
            self.stop()
            return "live accuracy is off; V turns it on"
        self.touched()
        task = self._screen.session.task
        if task is None or task.calibration is None:
            return "live accuracy is on; it needs a task with calibration data (--task)"
        return "live accuracy is on: plans are reconstructed and measured while the keys rest"

    def touched(self) -> None:
        """A key has changed something: stop what is being measured, and wait for the keys to rest."""
        self.stop()
        task = self._screen.session.task
        if self.on and task is not None and task.calibration is not None:
            self._timer = self._screen.set_timer(REST, self._begin)

    def stop(self) -> None:
        """Ask what is being measured to stop at its next step; nothing is waited for."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._job is not None:
            self._screen.workers.cancel_group(self._screen, "live")
            self._job = None

    def _begin(self) -> None:
        self._timer = None
        screen = self._screen
        session, plan, work = screen.session, screen.plan, screen.work
        if work.job is not None:  # when it has ended, this begins anew
            return
        task, curves = session.task, work.lacks_errors()
        measurable = task is not None and task.evaluate is not None and bool(plan.cuts)
        live = measurable and not work.is_measured(plan.recipe)
        if not curves and not live:
            return
        search = session.search(taken_in(session, screen))
        self._took_too_long = False

        def do(progress: "Progress") -> None:
            if curves:
                screen.call_later(self._take_errors, search.error_curves(progress))
            began = time.monotonic()

            def timed(stage: str, done: float) -> None:
                progress(stage, done)
                self._check(began)

            if live:
                search.measure_live(plan, timed)

        self._job = Job(JobKind.LIVE, do)
        screen.run_live(self._job)

    def _take_errors(self, found: "ErrorCurves") -> None:
        self._screen.work.take_errors(found)
        self._screen.sum_up()

    def _check(self, began: float) -> None:
        if not self._insisted and time.monotonic() - began > LIMIT:
            self._took_too_long = True
            raise Cancelled

    def ended(self, event: JobEnded) -> bool:
        """Take in the outcome of a live job. Return False for any other job."""
        if event.job.kind is not JobKind.LIVE:
            return False
        if event.job is not self._job:
            return True
        self._job = None
        screen = self._screen
        if event.failure:
            self.on = False
            screen.remark(f"! live accuracy is off: {event.failure}", "error", event.traceback)
        elif self._took_too_long:
            self.on = False
            screen.remark(
                f"live accuracy is off: one plan takes more than {LIMIT:.0f} s; V turns it on all the same", "dim"
            )
        screen.sum_up()
        return True
