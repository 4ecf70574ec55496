"""Help: the marks of the screen, then all that can be done where one is, by groups. Typing filters, enter runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_prune.app.bindings import GROUPS
from tui_prune.app.cells import Cell, Line, cell_len, left
from tui_prune.app.keymap import Active, key_name
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.headed_list import HeadedList
from tui_prune.app.widgets.row_list import RowList

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


class HelpScreen(LeavesOnce, ModalScreen[Active | None]):
    """All that can be done where one is; gives back what was chosen."""

    guide_topic = "keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", id="help.down", tooltip="The next row", show=False),
        Binding("up", "move(-1)", "Up", id="help.up", tooltip="The row before", show=False),
        Binding("pagedown", "page(1)", "Page down", id="help.page_down", tooltip="A page down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="help.page_up", tooltip="A page up", show=False),
        Binding("escape", "back", "Back", id="help.back", tooltip="All rows again; then back", show=False),
        Binding("f1", "close", "closes", id="help.close", tooltip="Back to where you were", show=False),
    ]

    def __init__(self, done: Sequence[Active], marks: Marks = ()) -> None:
        super().__init__()
        self._done, self._marks = done, marks

    def compose(self) -> ComposeResult:
        with Vertical(classes="box", id="help"):
            field = Input(placeholder="type to find a key, a word or a mark", id="help-field", compact=True)
            field.cursor_blink = False
            yield field
            yield HelpList(id="help-rows")

    def on_mount(self) -> None:
        box = self.query_one("#help")
        box.border_title = "What can be done here"
        box.border_subtitle = "↑↓ choose, enter does it, esc closes"
        self.rows = self.query_one("#help-rows", HelpList)
        self.rows.can_focus = False  # typing filters, wherever one has clicked
        self.field = self.query_one("#help-field", Input)
        self._fill()
        self.set_focus(self.field)

    @on(Input.Changed)
    def _fill(self) -> None:
        self.rows.show(help_rows(self._marks, self._done, self.field.value.strip()))

    def action_move(self, by: int) -> None:
        self.rows.action_move(by)

    def action_page(self, by: int) -> None:
        self.rows.action_page(by)

    def action_back(self) -> None:
        if self.field.value:
            self.field.value = ""
        else:
            self.action_close()

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    @on(RowList.Chosen)
    def _chosen(self) -> None:
        if self.rows.chosen is not None:
            self.dismiss(self.rows.chosen)
