"""The first frame: it says what is being opened, and how far that is; or why it can't be, and what to do."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.widgets.key_line import KeyLine
from tui_prune.app.widgets.line_pane import LinePane

BAR = 24
WIDEST = 72


class OpeningScreen(Screen[None]):
    """Calm words in the middle."""

    guide_topic = "opening"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "again", "try again", id="opening.again", tooltip="Open it once more"),
        Binding("I", "ask_input", "type an input", id="opening.input", tooltip="Give the shape of its input"),
        Binding("O", "choose", "open another", id="opening.other", tooltip="Choose something else to open"),
        Binding(
            "escape", "back", "Back", id="opening.back", tooltip="Stop it; back to the network that is open", show=False
        ),
        Binding("q", "app.quit", "quit", id="opening.quit", tooltip="Back to the shell"),
        Binding(
            "exclamation_mark",
            "show_failure",
            "shows where",
            key_display="!",
            id="opening.failure",
            tooltip="The traceback of your own code",
        ),
    ]

    class Again(Message):
        """The user wants it to be tried once more, with another input where they have typed one."""

        def __init__(self, input_spec: str | None = None) -> None:
            super().__init__()
            self.input_spec = input_spec

    class Left(Message):
        """The user wants to go back, or what is going on to stop."""

    class Other(Message):
        """The user wants to open something else."""

    def __init__(self, name: str, *, can_go_back: bool = False) -> None:
        """`can_go_back`: whether there is a network behind this screen."""
        super().__init__()
        self._name = name
        self._can_stop, self._can_go_back = False, can_go_back
        self._stage, self._done = "", 0.0
        self._hints: list[str] = []
        self._input_spec = ""
        self.failure: str | None = None
        self._traceback: str | None = None

    def compose(self) -> ComposeResult:
        yield LinePane(id="opening")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        self.query_one("#opening").can_focus = False

    def on_resize(self) -> None:
        self._look()

    def work_on(self, name: str, *, can_stop: bool = True) -> None:
        """Say that something is being opened, from the start; `can_stop`: esc stops it."""
        self._can_stop = can_stop
        self._name, self._stage, self._done, self.failure = name, "", 0.0, None
        self._look()

    def progress(self, stage: str, done: float) -> None:
        """Say how far opening is."""
        self._stage, self._done = stage, done
        self._look()

    def fail(self, sentence: str, hints: list[str], input_spec: str = "", traceback: str | None = None) -> None:
        """Say why it can't be opened and what to do; `input_spec` is the input that was taken, the traceback that of
        the user's own code."""
        from tui_prune.app.widgets.prompt_line import PromptLine

        self.failure, self._hints, self._input_spec, self._traceback = sentence, hints, input_spec, traceback
        if not self.query("#prompt"):  # the first frame does without it
            self.mount(PromptLine(id="prompt"))
        self._look()

    def action_show_failure(self) -> None:
        from tui_prune.app.screens.traceback import TracebackDialog
        from tui_prune.app.tracebacks import Failure

        self.app.push_screen(TracebackDialog(Failure(self.failure or "", self._traceback)))

    def _look(self) -> None:
        if not self.query("#opening"):
            return
        pane = self.query_one("#opening", LinePane)
        pane.set_class(self.failure is not None, "-failed")
        pane.can_focus = self.failure is not None
        if self.failure is not None:
            pane.show(self._failed(self.failure))
            if self.focused is None:
                self.set_focus(pane)  # it may be longer than the screen
        else:
            lines = self._working()
            high, wide = self.size.height - 1, max(sum(len(cell.text) for cell in line) for line in lines)
            above = max(0, (high - len(lines)) // 2)
            margin = " " * max(0, (self.size.width - wide) // 2 - 1)
            pane.show([()] * above + [(Cell(margin), *line) if line else () for line in lines])
        self.refresh_bindings()

    def _working(self) -> list[Line]:
        heavy = round(BAR * min(max(self._done, 0), 1))
        return [
            (Cell(f"opening {self._name}…", "strong"),),
            (),
            (Cell("━" * heavy, "changed"), Cell("╌" * (BAR - heavy), "dim")),
            (Cell(self._stage or "starting", "dim"),),
            *(((), (Cell("esc stops it", "dim"),)) if self._can_stop else ()),
        ]

    def _failed(self, sentence: str) -> list[Line]:
        width = max(20, min(WIDEST, self.size.width - 8))
        lines: list[Line] = [(Cell(line, "strong"),) for line in wrap(f"{self._name} can't be opened", width)]
        lines += [(), *((Cell(line, "error"),) for line in wrap(sentence, width))]
        for hint in self._hints:
            lines += [(), *((Cell(line, "dim"),) for line in wrap(hint, width))]
        if self._can_go_back:
            lines += [(), (Cell("esc goes back to the network that is open.", "dim"),)]
        return lines

    # Keys

    def action_again(self) -> None:
        self.post_message(self.Again())

    def action_choose(self) -> None:
        self.post_message(self.Other())

    def action_back(self) -> None:
        self.post_message(self.Left())

    def action_ask_input(self) -> None:
        from tui_prune.app.input_question import input_question
        from tui_prune.app.widgets.prompt_line import PromptLine

        question = input_question(self._input_spec, lambda spec: self.post_message(self.Again(spec)))
        self._show_prompt(True)
        self.query_one(PromptLine).ask(question)

    def on_prompt_line_closed(self) -> None:
        self._show_prompt(False)
        self.set_focus(self.query_one("#opening") if self.failure is not None else None)

    def _show_prompt(self, asking: bool) -> None:
        self.query_one("#keys").display = not asking
        self.query_one("#prompt").display = asking

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted:
            return True
        if any(prompt.display for prompt in self.query("#prompt")):
            return False
        if action == "show_failure":
            return self._traceback is not None
        if action in ("again", "ask_input", "choose"):
            return self.failure is not None
        if action == "back":
            return self._can_stop or self.failure is not None
        return True
