"""Help: the marks of the screen, then all that can be done where one is, by groups. Typing filters, enter runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.bindings import GROUPS
from tui_prune.app.cells import Cell, Line, cell_len, left
from tui_prune.app.keymap import Active, key_name
from tui_prune.app.screens.filtered import FilteredScreen
from tui_prune.app.widgets.headed_list import HeadedList

Marks = Sequence[tuple[str, str]]
"""Signs on the screen, and what they mean."""


@dataclass(frozen=True)
class HelpRow:
    """A heading, a mark, or something that can be done."""

    sign: str
    words: str = ""
    leads: Active | None = None

    def has(self, words: Sequence[str]) -> bool:
        """Whether all of some words, in small letters, are in the row."""
        title = "" if self.leads is None else f"{self.leads.title} {self.leads.group}"
        said = f"{self.sign} {title} {self.words}".casefold()
        return all(word in said for word in words)


def help_rows(marks: Marks, done: Sequence[Active], typed: str = "") -> list[HelpRow]:
    """Return the rows of the help for what is typed: marks and actions with these words, each group below its heading.

    A key that was typed itself comes first.
    """
    words = typed.casefold().split()
    rows = [HelpRow(name_of(one), one.tooltip, one) for one in done if one.tooltip]
    exact = [row for row in rows if typed and typed in [key_name(key) for key in (row.leads.keys if row.leads else ())]]
    parts = [("", exact), ("Marks", [HelpRow(*mark) for mark in marks])]
    parts += [(group, [row for row in rows if row.leads and row.leads.group == group]) for group in GROUPS]
    found: list[HelpRow] = []
    for heading, part in parts:
        kept = part if part is exact else [row for row in part if row.has(words) and row not in exact]
        if kept:
            found += [*([HelpRow("")] if found else []), *([HelpRow(heading)] if heading else []), *kept]
    return found


def name_of(one: Active) -> str:
    """The keys of an action, as they are written on the keyboard."""
    return "  ".join(map(key_name, one.keys))


class HelpList(HeadedList):
    """The rows of the help."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown: Sequence[HelpRow] = ()
        self._column = 0

    @property
    def chosen(self) -> Active | None:
        """The action under the cursor."""
        return self.shown[self.cursor].leads if self.cursor < len(self.shown) else None

    def show(self, rows: Sequence[HelpRow]) -> None:
        """Show rows from the top."""
        self.shown = rows
        self._column = max(self._column, *(cell_len(row.sign) + 2 for row in rows if row.words), 0)
        self.start_again()

    def row_count(self) -> int:
        return len(self.shown)

    def can_choose(self, index: int) -> bool:
        return self.shown[index].leads is not None

    def header_cells(self, width: int) -> Line:
        return () if self.shown else (Cell(left(" nothing here has these words; esc clears them", width), "dim"),)

    def row_cells(self, index: int, width: int) -> Line:
        row = self.shown[index]
        if not row.words:
            return (Cell(left(row.sign, width), "strong"),)
        column = min(self._column, width // 3)
        style = "strong" if row.leads is None else "key"
        return (Cell(" "), Cell(left(row.sign, column), style), Cell(left(row.words, max(0, width - column - 1))))


class HelpScreen(FilteredScreen[Active | None]):
    """All that can be done where one is; gives back what was chosen."""

    guide_topic = "keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "close", "closes", id="help.close", tooltip="Back to where you were", show=False),
    ]
    TITLE_WORDS = "What can be done here"
    KEYS = "↑↓ choose, enter does it, esc closes"
    PLACEHOLDER = "type to find a key, a word or a mark"

    def __init__(self, done: Sequence[Active], marks: Marks = ()) -> None:
        super().__init__()
        self._done, self._marks = done, marks
        self.rows = HelpList()

    def make_rows(self) -> HelpList:
        return self.rows

    def fill(self, typed: str) -> None:
        self.rows.show(help_rows(self._marks, self._done, typed))

    def choose(self) -> None:
        if self.rows.chosen is not None:
            self.dismiss(self.rows.chosen)
