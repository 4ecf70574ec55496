"""A question in the two last lines. The rest of the screen stays in sight, and shows the effect while one types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from tui_prune.app.cells import Cell, Line, cell_len, left
from tui_prune.app.columns import Part, compose
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.errors import UsageError

SLIDER = (32, 20, 12)
"""Columns of the slider, where there is room, less, and little."""
MEANING = 42
"""Columns of what a choice means, where there are few."""
FOREMOST = -1
"""The rank of what has to be said before the names of the other answers."""
LARGEST = 99
"""Per cent: as far as a slider goes."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked. Both functions take the text and raise `UsageError` with a sentence when it won't do."""

    label: str
    hint: str
    value: str
    preview: Callable[[str], list[Part]]
    """Say what the text would do; called at every letter."""
    accept: Callable[[str], None]
    give_up: Callable[[], object] = lambda: None
    """Put things back that the preview has shown."""
    choices: tuple[str, ...] = ()
    """Where there are few answers: up and down go through them."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What such answers mean, in a few words."""
    slider: Callable[[str], float] | None = None
    """Where the answer is a share: reads the text as one. Up and down move it by a point, and a bar shows where it
    is."""
    complete: Callable[[str], str] | None = None
    """Where tab completes what one has begun to type."""
    topic: str = ""
    """The chapter of the guide about it."""


class PromptLine(Vertical):
    """Asks one question at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Accept", id="prompt.accept", tooltip="Take the answer"),
        Binding("escape", "close", "Close", id="prompt.close", tooltip="Leave everything as it was"),
        Binding("down,tab", "choose(1)", "Next", id="prompt.next", tooltip="The next answer; 1 % less", show=False),
        Binding(
            "up,shift+tab",
            "choose(-1)",
            "Previous",
            id="prompt.previous",
            tooltip="The one before; 1 % more",
            show=False,
        ),
        Binding("pageup", "slide(10)", "Slide up", id="prompt.slide_up", tooltip="10 % more", show=False),
        Binding("pagedown", "slide(-10)", "Slide down", id="prompt.slide_down", tooltip="10 % less", show=False),
    ]

    class Closed(Message):
        """The question is gone, answered or not."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.question: Question | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield OneLine(id="prompt-label")
            typed = Input(id="prompt-field", compact=True, select_on_focus=True)
            typed.cursor_blink = False
            yield typed
        yield OneLine(id="prompt-effect")

    @property
    def guide_topic(self) -> str:
        """The chapter of the guide about what is asked."""
        return "" if self.question is None else self.question.topic

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
        self._accept(event.value)  # the field may hold keys by now that were typed after enter

    def _look(self) -> None:
        if self.question is None:
            return
        if not self.field.value.strip() and self.question.hint:
            self.question.give_up()
            self._say([Part(0, ((Cell(self.question.hint, "dim"),),))])
            return
        try:
            parts = self.question.preview(self.field.value)
            self._say([*self._slider(), *self._few(), *(self._giving_way(part) for part in parts)])
        except UsageError as error:
            self.question.give_up()
            self._complain(error)

    def _complain(self, error: UsageError) -> None:
        words = f"! {error}"
        few = self.question.choices if self.question is not None else ()
        other = [f"! one of: {' '.join(few)}"] if few and self.field.value.strip() not in few else []

        def said(width: int) -> list[Part]:
            short = left(words, min(width, cell_len(words)))
            return [Part(0, tuple((Cell(one, "error"),) for one in (words, *other, short)))]

        self._show(said)

    def _say(self, parts: list[Part]) -> None:
        self._show(lambda width: parts)

    def _show(self, parts: Callable[[int], list[Part]]) -> None:
        keys = Part(9, ((Cell("enter takes it, esc doesn't", "dim"),), ()))
        self.query_one("#prompt-effect", OneLine).show(lambda width: compose([*parts(width), keys], width))

    def _few(self) -> list[Part]:
        """Where there are few answers: all of them, else those around the present one, and what that means."""
        question, value = self.question, self.field.value.strip()
        if question is None or value not in question.choices:
            return []
        choices, here = question.choices, question.choices.index(value)

        def around(many: int) -> Line:
            first = min(max(0, here - many // 2), len(choices) - many)
            cells = [Cell("↑↓", "key"), Cell(" …" if first else "", "dim")]
            for name in choices[first : first + many]:
                cells.append(Cell(f" [{name}]", "strong") if name == value else Cell(f" {name}", "dim"))
            return (*cells, Cell(" …" if first + many < len(choices) else "", "dim"))

        parts = [Part(0, tuple(around(many) for many in range(len(choices), 0, -1)))]
        if value in question.meanings:
            said = f"{value}: {question.meanings[value]}"
            parts.append(Part(1, tuple((Cell(left(said, width).rstrip()),) for width in (cell_len(said), MEANING))))
        return parts

    def _giving_way(self, part: Part) -> Part:
        """What an answer comes to, which beside a choice of names is there only where these have room."""
        if self.question is None or not self.question.choices or part.rank == FOREMOST:
            return part
        return replace(part, rank=part.rank + 2, variants=(*part.variants, ()))

    def _slider(self) -> list[Part]:
        """Where the answer is between 0 and 99 %."""
        if self.question is None or self.question.slider is None:
            return []
        share = self.question.slider(self.field.value)
        bars = []
        for columns in SLIDER:
            heavy = min(round(columns * 100 * share / LARGEST), columns)
            bars.append(
                (Cell("━" * heavy, "bar"), Cell("╌" * (columns - heavy), "dim"), Cell(f" {100 * share:4.4g} %"))
            )
        return [Part(3, tuple(bars))]

    def action_slide(self, by: int) -> None:
        if self.question is None or self.question.slider is None:
            return
        try:
            now = 100 * self.question.slider(self.field.value)
        except UsageError:  # nothing, or something that is no share: begin at nothing
            now = 0.0
        whole = floor(now + 1e-9) if by > 0 else ceil(now - 1e-9)
        value = min(max(whole + by, 0), LARGEST)
        self.field.value = f"{value} %" if value == 1 else f"{value}"
        self.field.cursor_position = len(self.field.value)

    def action_choose(self, by: int) -> None:
        if self.question is None:
            return
        if self.question.complete is not None:
            self.field.value = self.question.complete(self.field.value)
            self.field.cursor_position = len(self.field.value)
        if self.question.slider is not None:
            self.action_slide(-by)
        if not self.question.choices:
            return
        choices, value = self.question.choices, self.field.value.strip()
        place = choices.index(value) + by if value in choices else 0
        self.field.value = choices[place % len(choices)]
        self.field.cursor_position = len(self.field.value)

    def action_accept(self) -> None:
        self._accept(self.field.value)

    def _accept(self, text: str) -> None:
        if self.question is None:
            return
        try:
            self.question.accept(text)
        except UsageError as error:
            self._complain(error)
            return
        self._end()

    def action_close(self) -> None:
        if self.question is not None:
            self.question.give_up()
            self._end()

    def on_descendant_blur(self) -> None:
        asked_again = self.screen.focused is self.field  # the next question came before this was told
        if self.question is not None and self.screen.is_current and not asked_again:
            self.action_close()

    def _end(self) -> None:
        self.question = None
        self.post_message(self.Closed())
