"""A list with headings among its rows, over which the cursor passes."""

from tui_prune.app.widgets.row_list import RowList


class HeadedList(RowList):
    """A subclass says which rows can be chosen; the cursor rests on no others, where there are any."""

    def can_choose(self, index: int) -> bool:
        """Whether the cursor may rest on a row."""
        raise NotImplementedError

    def start_again(self, cursor: int | None = None) -> None:
        """Show other rows from the top, with the cursor on a given one or on the first that can be chosen."""
        if self.scroll_offset.y:
            self.scroll_to(y=0, animate=False, force=True)
        first = next((index for index in range(self.row_count()) if self.can_choose(index)), 0)
        self.show_cursor(first if cursor is None else cursor)
        self.rows_changed()
        self._reveal()

    def _go(self, index: int) -> None:
        """To a row that can be chosen: beyond headings in the direction of the way, else the nearest before them."""
        index = max(0, min(index, self.row_count() - 1))
        step = 1 if index >= self.cursor else -1
        ahead = range(index, self.row_count()) if step > 0 else range(index, -1, -1)
        back = range(index, -1, -1) if step > 0 else range(index, self.row_count())
        found = next((row for row in (*ahead, *back) if self.can_choose(row)), self.cursor)
        super()._go(found)
        if not any(self.can_choose(row) for row in range(found)):
            self.scroll_to(y=0, animate=False, force=True)  # what stands above the first row, too

    def _reveal(self) -> None:
        if self.size.height >= 2:  # before it is laid out there is no telling what is in sight
            super()._reveal()
