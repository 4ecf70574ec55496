"""Lines to look at: drawings and descriptions. It scrolls where they don't fit, and repaints lines that differ."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_prune.app.cells import COMPONENT_CLASSES, Cell, Line, changed_columns, paint
from tui_prune.app.widgets.quiet_focus import QuietFocus


class LinePane(QuietFocus, ScrollView, can_focus=True):
    """A list of lines without a cursor."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENT_CLASSES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "down,j", "scroll_by(1)", "Down", id="lines.down", tooltip="A line down; else the next layer", show=False
        ),
        Binding("up,k", "scroll_by(-1)", "Up", id="lines.up", tooltip="A line up; else the layer before", show=False),
        Binding("pagedown,ctrl+d", "scroll_page(1)", "Page down", id="lines.page_down", tooltip="A page", show=False),
        Binding("pageup,ctrl+u", "scroll_page(-1)", "Page up", id="lines.page_up", tooltip="A page up", show=False),
        Binding("home", "scroll_edge(0)", "Start", id="lines.first", tooltip="To the start", show=False),
        Binding("end,G", "scroll_edge(1)", "End", id="lines.last", tooltip="To the end", show=False),
    ]

    class Beyond(Message):
        """The user goes on though there is nothing more to scroll that way: `by` lines."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: tuple[Line, ...] = ()

    @property
    def room(self) -> int:
        """The columns that a line has, without those of the scroll bar."""
        return max(1, self.scrollable_content_region.width)

    def show(self, lines: Sequence[Line], *, from_start: bool = False) -> None:
        """Show other lines."""
        old, self.lines = self.lines, tuple(lines)
        if from_start:
            self.scroll_to(y=0, animate=False, force=True)
        if len(old) != len(self.lines):
            self.virtual_size = Size(1, len(self.lines))
        top = self.scroll_offset.y
        for y in range(self.size.height):
            columns = changed_columns(_cells(old, top + y), _cells(self.lines, top + y))
            if columns:
                self.refresh(Region(columns[0], y, columns[1] - columns[0], 1))

    def on_resize(self) -> None:
        self.virtual_size = Size(1, len(self.lines))

    def render_line(self, y: int) -> Strip:
        return paint(self, _cells(self.lines, y + self.scroll_offset.y), self.room)

    def action_scroll_by(self, by: int) -> None:
        at_end = self.scroll_offset.y >= self.max_scroll_y if by > 0 else self.scroll_offset.y <= 0
        if at_end:
            self.post_message(self.Beyond(by))
            return
        self.scroll_to(y=self.scroll_offset.y + by, animate=False)

    def action_scroll_page(self, by: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + by * max(1, self.size.height - 1), animate=False)

    def action_scroll_edge(self, end: int) -> None:
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False)


def _cells(lines: Sequence[Line], index: int) -> Line:
    """A line as it is painted, a column from the edge."""
    line = lines[index] if index < len(lines) else ()
    return (Cell(" "), *line) if line else ()
