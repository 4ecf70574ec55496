"""Saving: where to, what will be written, how far it is, and how the file is loaded again."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_prune import paths
from tui_prune.app import headlines
from tui_prune.app.cells import Cell, Line, cell_len, left, tail, wrap
from tui_prune.app.headlines import Doing
from tui_prune.app.jobs import UNSAID, Job, JobEnded, JobKind, JobProgressed, RunsJobs, taken_in
from tui_prune.app.recovered import in_words, replaces
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.typed_paths import Completion, complete
from tui_prune.app.widgets.choice_line import ChoiceLine
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.archives.forms import FORMS, form_of
from tui_prune.archives.origin import FILE, MODULE
from tui_prune.config import at_home
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.formatting import change, count, file_name, size
from tui_prune.saving.forms import EXPORTS, in_form, is_export
from tui_prune.saving.whole_file import check_space, check_target, free_space

if TYPE_CHECKING:
    from tui_prune.saving.exporting.export import ExportReport
    from tui_prune.session.session import Session


KEYS = {
    "asking": "tab completes, ↓ format, enter saves, esc closes",
    "choosing": "← → format, ↑ path, enter saves, esc closes",
    "writing": "esc stops it",
    "done": "c copies the lines, esc closes",
}
COLUMN = 12
"""Columns of the words before what they speak of."""
COPIED: Line = (Cell("Sent to your terminal's clipboard.", "dim"),)
ALL_FORMS = {**{suffix: form.words for suffix, form in FORMS.items()}, **EXPORTS}
EXPORT_LINES = {
    ".onnx": ("import onnxruntime", "session = onnxruntime.InferenceSession({path})"),
    ".pt2": ("import torch", "model = torch.export.load({path}).module()"),
    ".py": ("from {name} import load", "model = load()"),
}
"""How an export is loaded, by its suffix."""
LISTED = 3
"""Lines of names that a path could go on as."""


class SaveScreen(LeavesOnce, RunsJobs, ModalScreen[Any]):
    """Goes through asking, writing and done; gives back the plan that was saved and its result, or None."""

    guide_topic = "checkpoints"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "save", "Save", id="save.save", tooltip="Write the file"),
        Binding("tab", "complete", "Complete", id="save.complete", tooltip="Complete the path; then go through them"),
        Binding("down,shift+tab", "choose_form", "Format", id="save.form", tooltip="To the format of the file"),
        Binding("up", "edit_path", "Path", id="save.path", tooltip="Back to the path"),
        Binding("c", "copy", "Copy the lines", id="save.copy", tooltip="Put the lines in your terminal's clipboard"),
        Binding("escape", "close", "Close", id="save.close", tooltip="Stop, or go back"),
    ]

    class Estimated(Message):
        """How large the file will be, by the form."""

        def __init__(self, octets: dict[str, int]) -> None:
            super().__init__()
            self.octets = octets

    def __init__(self, session: "Session", saved: Callable[[], None] = lambda: None) -> None:
        """`saved` is called once the file is written, while the dialog still says how to load it."""
        super().__init__()
        self.session, self._saved = session, saved
        self.state = "asking"
        self.job: Job | None = None
        self._replace: Path | None = None
        self._outcome: Any = None
        self._code: list[str] = []
        self._octets: dict[str, int] = {}
        self._found = Completion("")
        self._completed: str | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            field = Input(self._proposal(), id="path", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield LinePane(id="names")
            yield ChoiceLine("format", COLUMN, (*ALL_FORMS,), id="form")
            yield LinePane(id="words")

    def on_mount(self) -> None:
        self.query_one(".box").border_title = "Save the pruned checkpoint as"
        for pane in self.query(LinePane):
            pane.can_focus = False
        self.query_one("#form", ChoiceLine).take(_form_of(self._path()))
        self._say_keys()
        self._describe()
        self._estimate(self.session.opened, self.session.plan)

    @property
    def words(self) -> str:
        """What it says."""
        return "\n".join("".join(cell.text for cell in line) for line in self.query_one("#words", LinePane).lines)

    # Asking

    def _proposal(self) -> str:
        """A name in the folder and the form that were used last."""
        last = self.session.saved_to
        name = f"{file_name(self.session.opened.title)}-pruned"
        if last is None:
            return f"{name}.pt"
        here = last.parent == paths.browsed_folder()
        return f"{name}{form_of(last)}" if here else at_home(last.parent / f"{name}{form_of(last)}")

    @on(Input.Changed)
    def _typed(self) -> None:
        if self.query_one("#path", Input).value != self._completed:
            self._found, self._completed = Completion(""), None
            self._list()
        self.query_one("#form", ChoiceLine).take(_form_of(self._path()))
        self._describe()

    def _describe(self) -> None:
        if self.state == "asking":
            self._replace = None
            self._say(self._contents())

    @on(ChoiceLine.Changed)
    def _form_chosen(self, event: ChoiceLine.Changed) -> None:
        field = self.query_one("#path", Input)
        field.value = in_form(field.value, event.taken)
        field.cursor_position = len(field.value)

    def _contents(self) -> list[Line]:
        plan, path = self.session.plan, self._path()
        form = _form_of(path)
        octets = self._octets.get(form)
        folder = path if self.query_one("#path", Input).value.endswith("/") else path.parent
        free = free_space(folder)
        shown = at_home(folder)
        room = f"  {size(free)} free" if free is not None else "  isn't there"
        lines: list[Line] = [
            _line("", Cell(ALL_FORMS[form], "dim")),
            _line("parameters", Cell(change(count(plan.before.params), count(plan.after.params)), "changed")),
            *([_line("weights", Cell(weights, "changed"))] if (weights := in_words(self.session)) else []),
            _line("file", Cell(f"about {size(octets) if octets is not None else '…'}")),
            _line(
                "folder", Cell(tail(shown, min(cell_len(shown), max(8, self._width - COLUMN - len(room))))), Cell(room)
            ),
            (),
            (Cell("It is written only when the cut network has been proved and verified.", "dim"),),
            *(
                [(Cell("An export is run and compared before it is there; save a checkpoint, too.", "dim"),)]
                if form in EXPORTS
                else []
            ),
        ]
        if plan.after == plan.before and self.state == "asking":
            lines.append((Cell("! Nothing is cut yet: the ratio is 0.", "error"),))
        return lines

    def _list(self) -> None:
        """Show what the path could go on as, in the lines that there are for it."""
        names = self._found.names
        lines: list[str] = []
        for name in names if len(names) > 1 else ():
            if lines and cell_len(lines[-1]) + 2 + cell_len(name) <= self._width:
                lines[-1] += f"  {name}"
            else:
                lines.append(name)
        if len(lines) > LISTED:
            lines = [*lines[:LISTED], "…"]
        self.query_one("#names", LinePane).show([*((Cell(line, "dim"),) for line in lines), ()])

    @work(thread=True, exclusive=True, group="estimate", exit_on_error=False, description=UNSAID)
    def _estimate(self, opened: Any, plan: Any) -> None:
        from tui_prune.saving.estimate import expected_size

        octets = dict.fromkeys(ALL_FORMS, plan.after.bytes)
        with suppress(Exception):  # a network that can't be copied so; the size of its parameters is shown then
            octets |= {form: expected_size(opened, plan, form) for form in FORMS}
        self.post_message(self.Estimated(octets))

    @on(Estimated)
    def _estimated(self, event: Estimated) -> None:
        self._octets = event.octets
        if self.state == "asking" and self._replace is None:
            self._describe()

    def _path(self) -> Path:
        typed = self.query_one("#path", Input).value.strip()
        try:
            return Path(os.path.normpath(paths.absolute(typed))) if typed else Path()
        except UsageError:  # the starting folder is gone; saving there says so
            return Path(typed)

    def action_complete(self) -> None:
        field = self.query_one("#path", Input)
        if self.focused is not field:
            self.action_edit_path()
            return
        candidates = self._found.candidates
        if self._completed == field.value and len(candidates) > 1:
            place = candidates.index(field.value) + 1 if field.value in candidates else 0
            self._completed = candidates[place % len(candidates)]
        else:
            self._found = complete(field.value)
            self._completed = self._found.text
        field.value = self._completed
        field.cursor_position = len(field.value)
        self._list()

    def action_choose_form(self) -> None:
        self.set_focus(self.query_one("#form"))
        self._say_keys()

    def action_edit_path(self) -> None:
        self.set_focus(self.query_one("#path"))
        self._say_keys()

    @on(Input.Submitted)
    def action_save(self) -> None:
        if self.state == "done":
            self.dismiss(self._outcome)
        elif self.state == "asking":
            self._start()

    def _start(self) -> None:
        path = self._path()
        if path == Path():
            self._complain("! Type a path.")
        elif paths.is_folder(path):
            self._complain("! This is a directory; type a file in it.")
        elif paths.exists(path) and not paths.is_file(path):
            self._complain(f"! {paths.not_a_file(path)}")
        elif paths.exists(path) and self._replace != path:
            self._complain(replaces(path, self.session))
            self._replace = path
        else:
            try:
                check_target(path, force=True)
                check_space(path, self._octets.get(_form_of(path), self.session.plan.after.bytes))
            except TuiPruneError as error:
                self._complain(f"! {error}")
                return
            self._run(path, force=paths.exists(path))

    def _complain(self, words: str) -> None:
        self._say([*self._contents(), *((Cell(line, "error"),) for line in wrap(words, self._width))])

    @property
    def _width(self) -> int:
        return max(20, self.query_one("#words").size.width - 2)

    # Writing

    def _run(self, path: Path, *, force: bool) -> None:
        plan, work = self.session.plan, self.session.work(taken_in(self.session, self))

        def save(progress: Any) -> Any:
            result = work.cut(progress)
            if is_export(path):
                return plan, result, path, work.export(path, force=force, progress=progress)
            return plan, result, work.save(path, force=force, progress=progress), None

        self.state = "writing"
        self._found = Completion("")
        self._list()
        self._freeze(True)
        self.job = Job(JobKind.SAVING, save)
        self._say_progress("", 0.0)
        self.run_job(self.job)
        self._say_keys()

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
        plan, result, path, report = event.outcome
        self.state, self._outcome = "done", (plan, result)
        if report is None:
            self._saved()
            self._code = loading_lines(self.session.opened.origin, path)
        else:
            self._code = [
                line.format(path=json.dumps(str(path), ensure_ascii=False), name=path.stem)
                for line in EXPORT_LINES[path.suffix.casefold()]
            ]
        checked = headlines.checked(result.report.equivalence.kind, result.report.equivalence.max_error)
        octets, shown = f"  {size(path.stat().st_size)}", at_home(path)
        room = max(8, self._width - len("Saved  ") - len(octets))
        lines: list[Line] = [
            (Cell("Saved  ", "dim"), Cell(tail(shown, min(cell_len(shown), room))), Cell(octets, "dim")),
            checked,
            *([] if report is None else [(Cell(_compared(report), "dim"),)]),
            (),
            (Cell("Load it anywhere:", "dim"),),
            *((Cell(f"  {piece}", "code"),) for line in self._code for piece in _pieces(line, self._width - 2)),
        ]
        if report is None and form_of(path) != next(iter(FORMS)):
            lines += [(), (Cell("Other programs: safetensors.torch.load_file gives its state dict.", "dim"),)]
        self._say(lines)
        self._say_keys()
        pane = self.query_one("#words", LinePane)
        pane.can_focus = True
        pane.focus()

    def _ask_again(self, words: str) -> None:
        self.state = "asking"
        self._freeze(False)
        self.query_one("#path").focus()
        self._complain(words)
        self._say_keys()

    def _freeze(self, frozen: bool) -> None:
        for part in ("#path", "#form"):
            self.query_one(part).disabled = frozen

    # Keys

    def action_copy(self) -> None:
        self.app.copy_to_clipboard("\n".join(self._code) + "\n")
        pane = self.query_one("#words", LinePane)
        if pane.lines[-1] != COPIED:
            pane.show([*pane.lines, (), COPIED])

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
        if action in ("complete", "choose_form", "edit_path"):
            return self.state == "asking"
        return True

    def _say_progress(self, stage: str, done: float) -> None:
        self._say([*self._contents(), headlines.doing(Doing("saving", stage, done), stop="")])

    def _say_keys(self) -> None:
        choosing = self.state == "asking" and self.focused is self.query_one("#form")
        self.query_one(".box").border_subtitle = KEYS["choosing" if choosing else self.state]
        self.refresh_bindings()

    def _say(self, lines: list[Line]) -> None:
        self.query_one("#words", LinePane).show(lines)


def _form_of(path: Path) -> str:
    """The form that a file's name says; the usual one where it says none."""
    return next((form for form in ALL_FORMS if form == path.suffix.casefold()), next(iter(ALL_FORMS)))


def _compared(report: "ExportReport") -> str:
    sizes = [words for words, varies in (("batch size", report.batch), ("input size", report.sizes)) if varies]
    varies = f"{' and '.join(sizes)} may vary" if sizes else "batch and input size are fixed"
    return f"the export gives the network's numbers to {report.max_error:.0e}; {varies}"


def _line(words: str, *cells: Cell) -> Line:
    return (Cell(left(words, COLUMN), "dim"), *cells)


def _pieces(line: str, width: int) -> list[str]:
    """A line of code in pieces that fit; what is copied is the whole line."""
    return [line[start : start + width] for start in range(0, len(line), width)]


def loading_lines(origin: Any, path: Path) -> list[str]:
    """The lines of Python that load a checkpoint of a model that comes from `origin`, wherever they are run."""
    lines, name = ["import tui_prune"], json.dumps(str(path), ensure_ascii=False)
    if origin.kind == FILE:
        file, _, factory = origin.name.rpartition(":")
        lines += [f"from {Path(file).stem} import {factory}"]
        return [*lines, f"model = tui_prune.load({name}, model={factory}())"]
    if origin.kind == MODULE:
        made = origin.name.rpartition(".")[2]
        return [*lines, f"model = tui_prune.load({name}, model={made}())  # your own class"]
    return [*lines, f"model = tui_prune.load({name})"]
