"""A list of rows with a cursor: what the tree and the table are made of.

Made for a thin line: a row is repainted only where its cells differ from what is on the screen, and when the cursor
leaves the window the list moves by half a page, so that most keys repaint two rows and not all of them.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_prune.app.cells import COMPONENT_CLASSES, Cell, Line, changed_columns, paint
from tui_prune.app.widgets.quiet_focus import QuietFocus


class RowList(QuietFocus, ScrollView, can_focus=True):
    """Rows under a heading. A subclass says what is in them, and calls `repaint` when that changes."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENT_CLASSES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", id="rows.down", tooltip="The next row", show=False),
        Binding("up,k", "move(-1)", "Up", id="rows.up", tooltip="The row before", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", id="rows.page_down", tooltip="A page down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", id="rows.page_up", tooltip="A page up", show=False),
        Binding("home", "first", "First", id="rows.first", tooltip="The first row", show=False),
        Binding("end,G", "last", "Last", id="rows.last", tooltip="The last row", show=False),
    ]

    cursor: var[int] = var(0)

    class Moved(Message):
        """The user moved the cursor to another row."""

        def __init__(self, rows: "RowList") -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> "RowList":
            return self.rows

    class Chosen(Moved):
        """The user pressed enter on a row, or clicked it twice."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.followed_by: Callable[[], None] = lambda: None
        """Called at each move of the user's, before `Moved` is posted: what it changes is in the same frame."""
        self._labels: Mapping[int, str] = {}
        self._shown: dict[int, tuple[str | None, Line]] = {}
        self._shown_header: Line = ()

    # What a subclass gives

    def row_count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def row_cells(self, index: int, width: int) -> Line:
        """What is in a row."""
        raise NotImplementedError

    def header_cells(self, width: int) -> Line:
        """The heading, which stays when the rows scroll."""
        raise NotImplementedError

    # Showing

    @property
    def room(self) -> int:
        """The columns that a line has, without those of the scroll bar."""
        return max(1, self.scrollable_content_region.width)

    @property
    def page(self) -> int:
        """How many rows are in sight."""
        return max(1, self.size.height - 1)

    def rows_changed(self) -> None:
        """There are other rows now: paint those that differ."""
        self._measure()
        self.cursor = min(self.cursor, max(0, self.row_count() - 1))
        self._reveal()
        self.repaint()

    def repaint(self) -> None:
        """Paint what differs from what is on the screen."""
        if self.size.height < 2:
            self._forget()
            return
        top = self.scroll_offset.y
        if self.header_cells(self.room) != self._shown_header:
            self.refresh(Region(0, 0, self.room, 1))
        for index in range(top, top + self.page):
            self._repaint_row(index)

    def label(self, labels: Mapping[int, str]) -> None:
        """Put a letter before rows, by their index, until they are given others or none."""
        self._labels = labels
        self.repaint()

    def go_to_row(self, index: int) -> None:
        """Move the cursor as the user would."""
        self._go(index)

    def _repaint_row(self, index: int) -> None:
        y = index - self.scroll_offset.y
        if not 0 <= y < self.page:
            return
        if index >= self.row_count():
            if self._shown.pop(index, None) is not None:
                self.refresh(Region(0, y + 1, self.room, 1))
            return
        old_over, old = self._shown.get(index, (None, None))
        columns: tuple[int, int] | None = (0, self.room)
        if old is not None and old_over == self._over(index):
            columns = changed_columns(old, self._line(index))
        if columns:
            self.refresh(Region(columns[0], y + 1, columns[1] - columns[0], 1))

    def show_cursor(self, index: int) -> None:
        """Put the cursor somewhere without saying that the user did."""
        self.cursor = max(0, min(index, self.row_count() - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        if self.is_mounted and self.size.height >= 2:
            self._reveal()
            self._repaint_row(old)
            self._repaint_row(new)
        else:
            self._forget()

    def _forget(self) -> None:
        """Nothing is on the screen: whatever was painted before counts no more."""
        self._shown.clear()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        self._shown.clear()
        super().watch_scroll_y(old_value, new_value)

    def keys_taken(self) -> None:
        self._repaint_row(self.cursor)

    def on_show(self) -> None:
        self._reveal()  # Textual has painted all of it already

    def on_resize(self) -> None:
        self._measure()
        self._reveal()

    def render_line(self, y: int) -> Strip:
        width = self.room
        if y == 0:
            self._shown_header = self.header_cells(width)
            return paint(self, self._shown_header, width)
        index = y - 1 + self.scroll_offset.y
        if index >= self.row_count():
            return Strip.blank(width, self.rich_style)
        line, over = self._line(index), self._over(index)
        self._shown[index] = (over, line)
        return paint(self, line, width, over)

    def _measure(self) -> None:
        self.virtual_size = Size(1, self.row_count() + 1)  # a width that changed would repaint everything

    def _line(self, index: int) -> Line:
        mark = Cell("▌", "mark") if index == self.cursor else Cell(" ")
        mark = Cell(self._labels[index], "key") if index in self._labels else mark
        return (mark, *self.row_cells(index, max(1, self.room - 1)))

    def _over(self, index: int) -> str | None:
        """The style that lies over the whole row; the half that the keys don't go to shows no more than a mark."""
        return "cursor" if index == self.cursor and self.has_focus else None

    def _reveal(self) -> None:
        top, page = self.scroll_offset.y, self.page
        if not top <= self.cursor < top + page:
            self.scroll_to(y=max(0, self.cursor - page // 2), animate=False, force=True)

    # Keys and mouse

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(1, self.page - 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(self.row_count() - 1)

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self))

    def _go(self, index: int) -> None:
        index = max(0, min(index, self.row_count() - 1))
        if index != self.cursor:
            with self.app.batch_update():
                self.cursor = index
                self.followed_by()
            self.post_message(self.Moved(self))

    def heading_clicked(self, x: int) -> None:
        """The heading was clicked in a column of the terminal; a subclass may do something by that."""

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            self.heading_clicked(event.x)
            return
        index = event.y - 1 + self.scroll_offset.y
        if index < self.row_count():
            self._go(index)
            if event.chain == 2:
                self.post_message(self.Chosen(self))
