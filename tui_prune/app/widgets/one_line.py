"""A single line of the screen, repainted only when its words change."""

from collections.abc import Callable
from typing import ClassVar

from textual.strip import Strip
from textual.widget import Widget

from tui_prune.app.cells import COMPONENT_CLASSES, Cell, Line, paint


class OneLine(Widget):
    """Shows a line that is composed for the width that there is."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENT_CLASSES

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._compose_line: Callable[[int], Line] = lambda width: ()
        self._painted: Line | None = None

    @property
    def line(self) -> Line:
        """What it says at its present width."""
        return self._compose_line(max(1, self.size.width - 2))

    def show(self, compose_line: Callable[[int], Line]) -> None:
        """Say something else: a function of the width."""
        self._compose_line = compose_line
        if self.line != self._painted:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        self._painted = self.line
        return paint(self, (Cell(" "), *self._painted), self.size.width)
