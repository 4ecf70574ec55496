"""A question in the two last lines. The rest of the screen stays in sight, and shows the effect while one types."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from tui_prune.app.cells import Cell
from tui_prune.app.columns import Part, compose
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.errors import UsageError


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked. Both functions take the text and raise `UsageError` with a sentence when it won't do."""

    label: str
    hint: str
    value: str
    preview: Callable[[str], list[Part]]
    """Say what the text would do; called at every letter."""
    accept: Callable[[str], None]
    give_up: Callable[[], None] = lambda: None
    """Put things back that the preview has shown."""
    choices: tuple[str, ...] = ()
    """Where there are few answers: up and down go through them."""


class PromptLine(Vertical):
    """Asks one question at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Accept", id="prompt.accept", tooltip="Take the answer"),
        Binding("escape", "close", "Close", id="prompt.close", tooltip="Leave everything as it was"),
        Binding("down,tab", "choose(1)", "Next", id="prompt.next", tooltip="The next answer", show=False),
        Binding("up,shift+tab", "choose(-1)", "Previous", id="prompt.previous", tooltip="The one before", show=False),
    ]

    class Closed(Message):
        """The question is gone, answered or not."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.question: Question | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield OneLine(id="prompt-label")
            field = Input(id="prompt-field", compact=True, select_on_focus=True)
            field.cursor_blink = False
            yield field
        yield OneLine(id="prompt-effect")

    @property
    def field(self) -> Input:
        """Where one types."""
        return self.query_one("#prompt-field", Input)

    @property
    def effect(self) -> str:
        """What it says about the answer."""
        return "".join(cell.text for cell in self.query_one("#prompt-effect", OneLine).line)

    def ask(self, question: Question) -> None:
        """Ask something, and take the keys."""
        self.question = question
        label = self.query_one("#prompt-label", OneLine)
        label.styles.width = len(question.label) + 2
        label.show(lambda _: (Cell(question.label, "strong"),))
        self.field.value = question.value
        self.screen.set_focus(self.field)
        self._look()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._look()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_accept()

    def _look(self) -> None:
        if self.question is None:
            return
        if not self.field.value.strip() and self.question.hint:
            self.question.give_up()
            self._say([Part(0, ((Cell(self.question.hint, "dim"),),))])
            return
        try:
            self._say(self.question.preview(self.field.value))
        except UsageError as error:
            self.question.give_up()
            self._complain(error)

    def _complain(self, error: UsageError) -> None:
        self._say([Part(0, ((Cell(f"! {error}", "error"),),))])

    def _say(self, parts: list[Part]) -> None:
        parts = [*parts, Part(9, ((Cell("enter takes it, esc doesn't", "dim"),),))]
        self.query_one("#prompt-effect", OneLine).show(lambda width: compose(parts, width))

    def action_choose(self, by: int) -> None:
        if self.question is None or not self.question.choices:
            return
        choices, value = self.question.choices, self.field.value.strip()
        place = choices.index(value) + by if value in choices else 0
        self.field.value = choices[place % len(choices)]
        self.field.cursor_position = len(self.field.value)

    def action_accept(self) -> None:
        if self.question is None:
            return
        try:
            self.question.accept(self.field.value)
        except UsageError as error:
            self._complain(error)
            return
        self._end()

    def action_close(self) -> None:
        if self.question is not None:
            self.question.give_up()
            self._end()

    def on_descendant_blur(self) -> None:
        if self.question is not None and self.screen.is_current:
            self.action_close()

    def _end(self) -> None:
        self.question = None
        self.post_message(self.Closed())
