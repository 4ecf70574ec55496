"""A line of a few answers of which one is taken: ← and → go through them."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from tui_prune.app.cells import Cell, Line, left
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.quiet_focus import QuietFocus


class ChoiceLine(QuietFocus, OneLine, can_focus=True):
    """ "format    [.pt]  .safetensors"; which is taken shows without a colour too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,space", "choose(1)", "Next", id="choice.next", tooltip="The next answer", show=False),
        Binding("left,h", "choose(-1)", "Previous", id="choice.previous", tooltip="The answer before", show=False),
    ]

    class Changed(Message):
        """The user took another answer."""

        def __init__(self, taken: str) -> None:
            super().__init__()
            self.taken = taken

    def __init__(self, label: str, column: int, answers: tuple[str, ...], *, id: str | None = None) -> None:
        """`column`: where the answers begin."""
        super().__init__(id=id)
        self._label, self._column, self._answers = label, column, answers
        self.taken = answers[0]

    def on_mount(self) -> None:
        self.show(self._words)

    def take(self, answer: str) -> None:
        """Show another answer as the one that is taken."""
        self.taken = answer
        self.show(self._words)

    def keys_taken(self) -> None:
        self.show(self._words)

    def action_choose(self, by: int) -> None:
        self.take(self._answers[(self._answers.index(self.taken) + by) % len(self._answers)])
        self.post_message(self.Changed(self.taken))

    def _words(self, width: int) -> Line:
        cells = [Cell(left(self._label, self._column), "strong" if self.has_focus else "dim")]
        for answer in self._answers:
            taken = answer == self.taken
            cells.append(Cell(f"[{answer}] ", "strong") if taken else Cell(f" {answer}  ", "dim"))
        if self.has_focus:
            cells.append(Cell("← →", "key"))
        return tuple(cells)
