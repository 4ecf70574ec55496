"""The first frame: it says what is being opened, and how far that is; or why it can't be."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.widgets.key_line import KeyLine
from tui_prune.app.widgets.line_pane import LinePane

BAR = 24


class OpeningScreen(Screen[None]):
    """Calm words in the middle."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "app.quit", "quit", id="opening.quit", tooltip="Back to the shell"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._stage, self._done = "", 0.0
        self._hints: list[str] = []
        self.failure: str | None = None

    def compose(self) -> ComposeResult:
        yield LinePane(id="opening")
        yield KeyLine(id="keys")

    def on_resize(self) -> None:
        self._look()

    def progress(self, stage: str, done: float) -> None:
        """Say how far opening is."""
        self._stage, self._done = stage, done
        self._look()

    def fail(self, sentence: str, hints: list[str]) -> None:
        """Say why it can't be opened and what to do."""
        self.failure, self._hints = sentence, hints
        self._look()

    def _look(self) -> None:
        lines = self._working() if self.failure is None else self._failed(self.failure)
        pane = self.query_one("#opening", LinePane)
        high, wide = self.size.height - 1, max((sum(len(cell.text) for cell in line) for line in lines), default=0)
        above = max(0, (high - len(lines)) // 2)
        margin = " " * max(0, (self.size.width - wide) // 2 - 1)
        pane.show([()] * above + [(Cell(margin), *line) if line else () for line in lines])

    def _working(self) -> list[Line]:
        heavy = round(BAR * min(max(self._done, 0), 1))
        return [
            (Cell(f"opening {self._name}…", "strong"),),
            (),
            (Cell("━" * heavy, "changed"), Cell("╌" * (BAR - heavy), "dim")),
            (Cell(self._stage or "starting", "dim"),),
        ]

    def _failed(self, sentence: str) -> list[Line]:
        width = max(20, min(76, self.size.width - 6))
        lines: list[Line] = [(Cell(f"{self._name} can't be opened", "strong"),), ()]
        lines += [(Cell(line, "error"),) for line in wrap(sentence, width)]
        for hint in self._hints:
            lines += [(), *((Cell(line, "dim"),) for line in wrap(hint, width))]
        return lines
