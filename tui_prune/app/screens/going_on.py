"""Asks whether to go on with what was chosen for this network another time."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.headlines import at_work
from tui_prune.app.jobs import Job, JobEnded, JobKind, JobProgressed, RunsJobs
from tui_prune.app.keeper import kept_recipe, start_above
from tui_prune.app.recovered import said_of
from tui_prune.app.screens.dialog import Dialog
from tui_prune.app.weights_keeper import kept_reports, report_of, take_up
from tui_prune.errors import UsageError
from tui_prune.formatting import ago
from tui_prune.progress import part
from tui_prune.session.autosave.saved_work import SavedWork, set_aside

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.session.session import Session


class GoingOn(RunsJobs, Dialog[bool]):
    """Gives the session the kept choices (True), or leaves it as it is with the kept ones to undo to (False)."""

    guide_topic = "kept-work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "goes on with it", id="going_on.go_on", tooltip="Go on where you were"),
        Binding(
            "n,escape",
            "start_anew",
            "starts anew",
            key_display="n",
            id="going_on.anew",
            tooltip="Start anew; u brings back what you had",
        ),
        Binding(
            "c", "next_copy", "shows the next copy", id="going_on.copy", tooltip="What another window had at that time"
        ),
        Binding("q,ctrl+q", "app.quit", "quits", id="going_on.quit", tooltip="Back to the shell", show=False),
    ]

    def __init__(self, session: "Session", works: Sequence[SavedWork], *, at_once: bool = False) -> None:
        """`works`: the one that is offered, and copies beside it. `at_once`: it was asked for already."""
        super().__init__()
        self._session, self._works, self._at_once = session, works, at_once
        self.work = works[0]
        """The one that is offered now."""
        self._anew = session.recipe
        self._job: Job | None = None
        self._changes_nothing = True
        """Whether going on has come no further than to what it needs, which may be the user's own code."""
        self._refused = False
        self.said: list[str] = []
        """On recovered weights that can't be taken up."""

    def on_mount(self) -> None:
        self._ask()
        if self._at_once:
            self.action_go_on()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There may be no copy."""
        return action != "next_copy" or (len(self._works) > 1 and self._job is None and not self._refused)

    def action_next_copy(self) -> None:
        self.work = self._works[(self._works.index(self.work) + 1) % len(self._works)]
        self._ask()

    def _ask(self) -> None:
        words: list[Line] = [(Cell(self.work.summary, "strong"),)]
        if changed := self.work.changed_files:
            words += self._wrapped(f"{changed[0]} has changed since.")
        if reached := self._recovered():
            words += self._wrapped(reached)
        if len(self._works) > 1:
            place = self._works.index(self.work) + 1
            words += self._wrapped(f"{place} of {len(self._works)}: another window had the network open, too.")
        words += [(), (Cell("If you start anew, u brings it back.", "dim"),)]
        self.say(f"You were here {ago(self.work.changed)}", words)

    def _recovered(self) -> str:
        """What there is to say of recovered weights."""
        reports = kept_reports(self.work.request)
        with suppress(UsageError):
            report = report_of(kept_recipe(self.work), reports)
            others = len(reports) - (report is not None)
            return said_of(self.work.state.get("recovered"), report, others)
        return ""

    def action_go_on(self) -> None:
        if self._refused:
            self.dismiss(False)
        elif self._job is None:
            self._changes_nothing = True
            self._start(JobKind.GOING_ON, self._restore)

    def action_start_anew(self) -> None:
        if self._refused:
            self.dismiss(False)
        elif self._job is None:
            self._start(JobKind.STARTING_ANEW, lambda progress: self._start_above(self._anew, progress))
        elif self._job.kind is JobKind.GOING_ON:
            self.workers.cancel_group(self, "job")
            if self._changes_nothing:  # then it isn't waited for: a task's own code may never end
                self._job = None
                self._ask()

    def _restore(self, progress: "Progress") -> bool:
        """In a thread: a plan may want data or the latency of this device first, and recovered weights a cut."""
        session, before = self._session, self._session.state()
        session.prepare(kept_recipe(self.work), part(progress, 0.0, 0.3))
        self._changes_nothing = False
        progress("plan", 0.3)
        try:
            session.restore(self.work.state.get("session", {}))
            self.said = take_up(session, self.work, part(progress, 0.3, 1.0))
        except BaseException:
            session.restore(before)
            raise
        return True

    def _start_above(self, recipe: "Recipe", progress: "Progress") -> bool:
        before = self._session.state()
        try:
            self.said = start_above(self._session, self.work, recipe, progress)
        except BaseException:
            self._session.restore(before)
            raise
        return False

    def _start(self, kind: JobKind, work: Any) -> None:
        self._job = Job(kind, work)
        self.run_job(self._job)

    @on(JobProgressed)
    def _progressed(self, event: JobProgressed) -> None:
        if event.job is self._job:
            doing = headlines.doing(at_work(event.job.kind, event.stage, event.done))
            self.say("Going on", [(Cell(self.work.summary, "strong"),), (), doing])
            self.query_one(".box").border_subtitle = ""

    @on(JobEnded)
    def _ended(self, event: JobEnded) -> None:
        if event.job is not self._job:
            return
        self._job = None
        if event.stopped:
            self._ask()
        elif event.failure:
            self._refuse(event.failure)
        else:
            self.dismiss(event.outcome is True)

    def _refuse(self, sentence: str) -> None:
        self._refused = True
        path = set_aside(self.work)
        kept = f" What you had chosen is now in {path}." if path else ""
        said = self._wrapped(sentence)
        self.say(
            "What you had chosen doesn't fit any more",
            [*((Cell(cell.text, "error"),) for (cell,) in said), (), *self._wrapped(f"It starts anew.{kept}")],
        )
        self.query_one(".box").border_subtitle = "enter starts anew"

    def _wrapped(self, text: str) -> list[Line]:
        return [(Cell(line),) for line in wrap(text, max(20, min(72, self.app.size.width - 6)))]
