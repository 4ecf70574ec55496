"""A list to choose from in a dialog."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line
from tui_prune.app.columns import Column, fit
from tui_prune.app.widgets.row_list import RowList

Cells = Callable[[str, int], Cell]
"""What a row has in a column, by its name, in so many columns of the terminal."""


class ChoiceList(RowList):
    """Rows in columns; enter chooses the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", id="choice.choose", tooltip="Take this one", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns: tuple[Column, ...] = ()
        self._rows: tuple[Cells, ...] = ()

    def show(self, columns: tuple[Column, ...], rows: Sequence[Cells]) -> None:
        """Show rows; those that look as before aren't painted again."""
        self._columns, self._rows = columns, tuple(rows)
        self.rows_changed()

    def row_count(self) -> int:
        return len(self._rows)

    def header_cells(self, width: int) -> Line:
        cells = [Cell(" ")]
        for name, columns in fit(self._columns, width - 1, 2).items():
            title = "" if name.startswith("_") else name
            cells += [Cell(title[:columns].ljust(columns), "header"), Cell("  ")]
        return tuple(cells)

    def row_cells(self, index: int, width: int) -> Line:
        cells: list[Cell] = []
        for name, columns in fit(self._columns, width, 2).items():
            cells += [self._rows[index](name, columns), Cell("  ")]
        return tuple(cells)

    def action_choose(self) -> None:
        if self._rows:
            super().action_choose()
