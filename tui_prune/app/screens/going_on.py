"""Asks whether to go on with what was chosen for this network another time."""

from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.headlines import Doing
from tui_prune.app.jobs import Job, JobEnded, JobProgressed, RunsJobs
from tui_prune.app.keeper import kept_recipe, start_above
from tui_prune.app.recovered import said_of
from tui_prune.app.screens.dialog import Dialog
from tui_prune.keeping.saved_work import SavedWork, set_aside
from tui_prune.keeping.words import ago

if TYPE_CHECKING:
    from tui_prune.progress import Progress
    from tui_prune.session import Session


class GoingOn(RunsJobs, Dialog[bool]):
    """Gives the session the kept choices (True), or leaves it as it is with the kept ones to undo to (False)."""

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
        Binding("q,ctrl+q", "app.quit", "quits", id="going_on.quit", tooltip="Back to the shell", show=False),
    ]

    def __init__(self, session: "Session", work: SavedWork) -> None:
        super().__init__()
        self._session, self._work = session, work
        self._anew = session.recipe
        self._job: Job | None = None
        self._refused = False

    def on_mount(self) -> None:
        self._ask()

    def _ask(self) -> None:
        words: list[Line] = [(Cell(self._work.summary, "strong"),)]
        if changed := self._work.changed_files:
            words += self._wrapped(f"{changed[0]} has changed since.")
        if reached := said_of(self._work.state.get("recovered")):
            words += self._wrapped(reached)
        words += [(), (Cell("If you start anew, u brings it back.", "dim"),)]
        self.say(f"You were here {ago(self._work.changed)}", words)

    def action_go_on(self) -> None:
        if self._refused:
            self.dismiss(False)
        elif self._job is None:
            self._start("going on", self._restore)

    def action_start_anew(self) -> None:
        if self._refused:
            self.dismiss(False)
        elif self._job is None:
            self._start("starting anew", lambda progress: start_above(self._session, self._work, self._anew, progress))
        elif self._job.words == "going on":
            self.workers.cancel_group(self, "job")
            self._job = None  # nothing is waited for: a task's own code may never end
            self._ask()

    def _restore(self, progress: "Progress") -> bool:
        """In a thread: a plan may want data or the latency of this device first."""
        self._session.prepare(kept_recipe(self._work), progress)
        self._session.restore(self._work.state.get("session", {}), progress)
        return True

    def _start(self, words: str, work: Any) -> None:
        self._job = Job(words, work)
        self.run_job(self._job)

    @on(JobProgressed)
    def _progressed(self, event: JobProgressed) -> None:
        if event.job is self._job:
            doing = headlines.doing(Doing(event.job.words, event.stage, event.done))
            self.say("Going on", [(Cell(self._work.summary, "strong"),), (), doing])
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
        path = set_aside(self._work)
        kept = f" What you had chosen is now in {path}." if path else ""
        said = self._wrapped(sentence)
        self.say(
            "What you had chosen doesn't fit any more",
            [*((Cell(cell.text, "error"),) for (cell,) in said), (), *self._wrapped(f"It starts anew.{kept}")],
        )
        self.query_one(".box").border_subtitle = "enter starts anew"

    def _wrapped(self, text: str) -> list[Line]:
        return [(Cell(line),) for line in wrap(text, max(20, min(72, self.app.size.width - 6)))]
