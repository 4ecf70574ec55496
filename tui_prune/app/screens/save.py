"""Saving: where to, what will be written, how far it is, and how the file is loaded again."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input
from textual.worker import get_current_worker

from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.headlines import Doing
from tui_prune.app.jobs import Job, JobEnded, JobProgressed, carry_out
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.wording import change, count, size

if TYPE_CHECKING:
    from tui_prune.session import Session


KEYS = {
    "asking": "enter saves, esc closes",
    "writing": "esc stops it",
    "done": "c copies the lines, esc closes",
}


class SaveScreen(ModalScreen[Any]):
    """Goes through asking, writing and done; gives back the plan that was saved and its result, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "save", "Save", id="save.save", tooltip="Write the file"),
        Binding("c", "copy", "Copy the lines", id="save.copy", tooltip="Put the lines in your terminal's clipboard"),
        Binding("escape", "close", "Close", id="save.close", tooltip="Stop, or go back"),
    ]

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self.session = session
        self.state = "asking"
        self.job: Job | None = None
        self._replace: Path | None = None
        self._outcome: Any = None
        self._code: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            field = Input(f"{self.session.opened.title}-pruned.pt", id="path", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield LinePane(id="words")

    def on_mount(self) -> None:
        self.query_one(".box").border_title = "Save the pruned checkpoint as"
        self.query_one("#words").can_focus = False
        self._say_keys()
        self._describe()

    @property
    def words(self) -> str:
        """What it says."""
        return "\n".join("".join(cell.text for cell in line) for line in self.query_one("#words", LinePane).lines)

    # Asking

    @on(Input.Changed)
    def _describe(self) -> None:
        if self.state == "asking":
            self._replace = None
            self._say(self._contents())

    def _contents(self) -> list[Line]:
        plan = self.session.plan
        path = self._path()
        lines: list[Line] = [
            (Cell("It will hold  ", "dim"), Cell("the cut weights, the recipe, the figures")),
            (
                Cell("Parameters    ", "dim"),
                Cell(change(count(plan.before.params), count(plan.after.params)), "changed"),
            ),
            (Cell("About         ", "dim"), Cell(size(plan.after.bytes))),
            (Cell("In            ", "dim"), Cell(_at_home(path.parent))),
            (),
            (Cell("It is written only when the cut network has been proved and verified.", "dim"),),
        ]
        if plan.after == plan.before and self.state == "asking":
            lines.append((Cell("! Nothing is cut yet: the ratio is 0.", "error"),))
        return lines

    def _path(self) -> Path:
        typed = self.query_one("#path", Input).value.strip()
        return Path(os.path.abspath(os.path.expanduser(typed))) if typed else Path()

    @on(Input.Submitted)
    def action_save(self) -> None:
        if self.state == "done":
            self.dismiss(self._outcome)
        elif self.state == "asking":
            self._start()

    def _start(self) -> None:
        path = self._path()
        if path == Path():
            self._say([*self._contents(), (Cell("! Type a path.", "error"),)])
        elif path.is_dir():
            self._say([*self._contents(), (Cell("! This is a directory; type a file in it.", "error"),)])
        elif path.exists() and self._replace != path:
            self._replace = path
            self._say([*self._contents(), (Cell("! The file is there already. Enter replaces it.", "error"),)])
        else:
            self._run(path, force=path.exists())

    # Writing

    def _run(self, path: Path, *, force: bool) -> None:
        session, plan = self.session, self.session.plan

        def save(progress: Any) -> Any:
            result = session.cut(progress)
            return plan, result, session.save(path, force=force, progress=progress)

        self.state = "writing"
        self.query_one("#path", Input).disabled = True
        self.job = Job("saving", save)
        self._say_progress("", 0.0)
        self._run_job(self.job)
        self._say_keys()

    @work(thread=True, exclusive=True, group="job", exit_on_error=False)
    def _run_job(self, job: Job) -> None:
        carry_out(job, get_current_worker(), self.post_message)

    @on(JobProgressed)
    def _progressed(self, event: JobProgressed) -> None:
        if event.job is self.job:
            self._say_progress(event.stage, event.done)

    @on(JobEnded)
    def _ended(self, event: JobEnded) -> None:
        if event.job is not self.job:
            return
        self.job = None
        if event.failure or event.stopped:
            self._ask_again(f"! {event.failure or 'Stopped; nothing was written.'}")
            return
        plan, result, path = event.outcome
        self.state, self._outcome = "done", (plan, result)
        self._code = loading_lines(self.session.opened.origin, path)
        checked = headlines.checked(result.report.equivalence.kind, result.report.equivalence.max_error)
        lines: list[Line] = [
            (Cell("Saved  ", "dim"), Cell(f"{_at_home(path)}  "), Cell(size(path.stat().st_size), "dim")),
            checked,
            (),
            (Cell("Load it anywhere:", "dim"),),
            *((Cell(f"  {line}", "code"),) for line in self._code),
        ]
        self._say(lines)
        self._say_keys()
        self.query_one(LinePane).can_focus = True
        self.query_one(LinePane).focus()

    def _ask_again(self, words: str) -> None:
        self.state = "asking"
        field = self.query_one("#path", Input)
        field.disabled = False
        field.focus()
        width = max(20, self.query_one("#words").size.width - 2)
        self._say([*self._contents(), *((Cell(line, "error"),) for line in wrap(words, width))])
        self._say_keys()

    # Keys

    def action_copy(self) -> None:
        self.app.copy_to_clipboard("\n".join(self._code) + "\n")
        self.query_one(LinePane).show([*self.query_one(LinePane).lines, (), (Cell("Copied.", "dim"),)])

    def action_close(self) -> None:
        if self.state == "writing":
            self.workers.cancel_group(self, "job")
            self.job = None
            self._ask_again("! Stopped; nothing was written.")
        else:
            self.dismiss(self._outcome)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "copy":
            return self.state == "done"
        if action == "save":
            return self.state != "writing"
        return True

    def _say_progress(self, stage: str, done: float) -> None:
        self._say([*self._contents(), headlines.doing(Doing("saving", stage, done), stop="")])

    def _say_keys(self) -> None:
        self.query_one(".box").border_subtitle = KEYS[self.state]
        self.refresh_bindings()

    def _say(self, lines: list[Line]) -> None:
        self.query_one("#words", LinePane).show(lines)


def _at_home(path: Path) -> str:
    """A path as people write it: ~ for their own directory."""
    home = Path.home()
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def loading_lines(origin: Any, path: Path) -> list[str]:
    """The lines of Python that load a checkpoint of a model that comes from `origin`."""
    lines = ["import tui_prune"]
    if origin.kind == "file":
        file, _, factory = origin.name.rpartition(":")
        lines += [f"from {Path(file).stem} import {factory}"]
        return [*lines, f'model = tui_prune.load("{path.name}", model={factory}())']
    if origin.kind == "module":
        name = origin.name.rpartition(".")[2]
        return [*lines, f'model = tui_prune.load("{path.name}", model={name}())  # your own class']
    return [*lines, f'model = tui_prune.load("{path.name}")']
