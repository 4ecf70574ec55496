"""The rows of the start screen: names, a few words about each, and at the right a date, a size, a number."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, cell_len, left
from tui_prune.app.entries import Entry
from tui_prune.app.widgets.headed_list import HeadedList
from tui_prune.formatting import size

WIDEST_NAME = 0.55
"""Share of the line that names may take."""
SIZE_AND_DATE = 21
"""Columns: "1.35 kB  22 Nov 07:55"."""
HALF_A_YEAR = 180 * 86400
"""Seconds after which the year of a file says more than the hour, as ls has it."""


class EntryList(HeadedList):
    """Shows entries; the cursor passes over headings."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "opens", id="start.choose", tooltip="Open this, or go into it"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entries: Sequence[Entry] = ()
        self._heading = ""
        self._name_width = self._side_width = 0
        self._has_words = False
        self._sides: dict[Path, str] = {}

    @property
    def entry(self) -> Entry | None:
        """The one under the cursor, where it can be chosen."""
        entry = self.entries[self.cursor] if self.cursor < len(self.entries) else None
        return entry if entry is not None and entry.leads is not None else None

    def show(self, heading: str, entries: Sequence[Entry], cursor: int | None = None) -> None:
        """Show other rows, with the cursor on the first that can be chosen, or on a given one."""
        self.entries, self._heading = entries, heading
        self._name_width = max((cell_len(entry.name) for entry in entries if entry.leads is not None), default=0)
        self._side_width = max((cell_len(entry.side) for entry in entries), default=0)
        if any(entry.path is not None for entry in entries):
            self._side_width = max(self._side_width, SIZE_AND_DATE)
        self._has_words = any(entry.words for entry in entries if entry.leads is not None)
        self._sides = {}
        self.start_again(cursor)

    # As a list of rows

    def row_count(self) -> int:
        return len(self.entries)

    def can_choose(self, index: int) -> bool:
        return self.entries[index].leads is not None

    def header_cells(self, width: int) -> Line:
        return (Cell(left(f" {self._heading}", width), "header"),)

    def row_cells(self, index: int, width: int) -> Line:
        entry = self.entries[index]
        if entry.leads is None:
            return (Cell(entry.name, "strong"), Cell(left(entry.words, max(0, width - len(entry.name))), "dim"))
        room = int(width * WIDEST_NAME) if self._has_words else width - self._side_width - 5
        name_width = min(self._name_width, room)
        side = self._side(entry)
        words_width = max(0, width - name_width - cell_len(side) - 5)
        return (
            Cell(" "),
            Cell(left(entry.name, name_width)),
            Cell("  "),
            Cell(left(entry.words, words_width), "dim"),
            Cell("  "),
            Cell(side, "dim"),
        )

    def _side(self, entry: Entry) -> str:
        """Of a file its size and date, looked up when its row is first shown."""
        if entry.path is None:
            return entry.side
        if entry.path not in self._sides:
            self._sides[entry.path] = _size_and_date(entry.path)
        return self._sides[entry.path]


def _size_and_date(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "can't be read"
    changed = time.localtime(status.st_mtime)
    is_old = abs(time.time() - status.st_mtime) > HALF_A_YEAR
    return f"{size(status.st_size):>7}  {time.strftime('%d %b  %Y' if is_old else '%d %b %H:%M', changed)}"
