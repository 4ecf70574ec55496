"""The Print tab: both networks as PyTorch prints them, side by side; in few columns one below the other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.worker import get_current_worker

from tui_prune.app import crashes
from tui_prune.app.cells import Cell, Line, left
from tui_prune.app.jobs import UNSAID
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.row_list import RowList
from tui_prune.errors import TuiPruneError

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan
    from tui_prune.report.prints import PrintRow, Prints

SIDE_BY_SIDE = 116
"""Columns from which both prints have room beside each other."""
LEAD = 12
"""Columns that stay in sight before a difference which stands too far to the right."""


@dataclass(frozen=True)
class _Shown:
    """A line of the pane: a row of the prints, or one half of it."""

    row: int
    half: str
    """"both", or where they stand one below the other "before" or "after"."""


class PrintPane(RowList):
    """The lines of both prints with a cursor; only those in sight are made."""

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        Binding("space", "difference(1)", "next difference", id="print.next", tooltip="The next line that differs"),
        Binding(
            "backspace",
            "difference(-1)",
            "Previous difference",
            id="print.previous",
            tooltip="The line before that differs",
            show=False,
        ),
        NEXT_TAB,
        Binding(
            "enter", "choose", "In the tree", id="print.choose", tooltip="Go to this module in the tree", show=False
        ),
    ]

    class Moved(RowList.Moved):
        """The user moved the cursor to another line."""

        @property
        def pane(self) -> "PrintPane":
            assert isinstance(self.rows, PrintPane)
            return self.rows

    class Chosen(RowList.Chosen):
        """The user pressed enter on a line."""

    class Printed(Message):
        """Both networks are printed, or `failure` says why not. Whether it is still wanted is for the receiver."""

        def __init__(self, version: int, prints: "Prints | None", failure: str) -> None:
            super().__init__()
            self.version, self.prints, self.failure = version, prints, failure

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._version = -1
        self._prints: Prints | None = None
        self._failure = ""
        self._shown_rows: tuple[_Shown, ...] = ()
        self._beside = False
        self.told: str | None = None
        """The module that the rest of the screen speaks of; the cursor follows when that becomes another one."""

    def compare(self, plan: "Plan", version: int, path: str) -> None:
        """Print the network and what the plan makes of it, with the cursor at a module. `version`: of the plan."""
        if path != self.told:
            self.told = path
            self._follow(path)
        if version != self._version:
            self._version = version
            self._print(plan, version)

    def _follow(self, path: str) -> None:
        if self._prints is None:
            return
        known = {self._prints.rows[shown.row].path: place for place, shown in reversed([*enumerate(self._shown_rows)])}
        while path and path not in known:
            path = path.rpartition(".")[0]
        self.show_cursor(known.get(path, 0))
        self._repaint_header()

    @property
    def path(self) -> str:
        """The module under the cursor; "" is the network."""
        row = self._row
        return "" if row is None else row.path

    @property
    def words(self) -> str:
        """What it says, without looks."""
        width = max(1, self.room - 1)
        lines = [self.header_cells(self.room), *(self.row_cells(place, width) for place in range(self.row_count()))]
        return "\n".join("".join(cell.text for cell in line).rstrip() for line in lines)

    @property
    def _row(self) -> "PrintRow | None":
        if self._prints is None or not self._shown_rows:
            return None
        return self._prints.rows[self._shown_rows[self.cursor].row]

    # Printing

    @work(thread=True, exclusive=True, group="printing", exit_on_error=False, description=UNSAID)
    def _print(self, plan: "Plan", version: int) -> None:
        from tui_prune.report.prints import prints

        worker = get_current_worker()
        if worker.is_cancelled:  # another plan has been made while this waited for a thread
            return
        found, failure = None, ""
        try:
            found = prints(plan)
        except TuiPruneError as error:
            failure = f"! {error}"
        except Exception as error:
            failure = f"! This can't be printed; the report is {crashes.write(error)}"
        if not worker.is_cancelled:
            self.post_message(self.Printed(version, found, failure))

    @on(Printed)
    def _printed(self, event: Printed) -> None:
        if event.version != self._version:
            return
        place = self._shown_rows[self.cursor].row if self._shown_rows else 0
        first = self._prints is None
        self._prints, self._failure = event.prints, event.failure
        self._lay_out(place)
        if first:
            self._follow(self.told or "")

    def on_resize(self) -> None:
        if self._shown_rows and self._beside != (self.room >= SIDE_BY_SIDE):
            self._lay_out(self._shown_rows[self.cursor].row)

    def _lay_out(self, keep: int) -> None:
        """Show the prints in the columns that there are, with the cursor on a row of theirs."""
        self._beside = self.room >= SIDE_BY_SIDE
        shown: list[_Shown] = []
        for number, row in enumerate(self._prints.rows if self._prints else ()):
            if self._beside or not row.differs:
                shown.append(_Shown(number, "both"))
                continue
            if row.before is not None:
                shown.append(_Shown(number, "before"))
            if row.after is not None:
                shown.append(_Shown(number, "after"))
        self._shown_rows = tuple(shown)
        self.cursor = next((place for place, one in enumerate(shown) if one.row >= keep), 0)
        self.rows_changed()

    # Rows

    def row_count(self) -> int:
        return len(self._shown_rows)

    def header_cells(self, width: int) -> Line:
        if self._failure:
            return (Cell(f" {self._failure}", "error"),)
        if self._prints is None:
            return (Cell(" printing…", "header"),)
        said = self._count()
        names = " - before  + after"
        if self._beside:
            half, _ = self._halves(width - 1)
            names = f"  {left('before', half)}   after"
        return (
            Cell(left(names, max(0, width - cell_len(said) - 1)), "header"),
            Cell(said, "plain" if self._prints.differences else "header"),
        )

    def _count(self) -> str:
        """Which difference of how many the cursor is on."""
        assert self._prints is not None
        differences = self._prints.differences
        if not differences:
            return "nothing differs"
        row = self._shown_rows[self.cursor].row
        if row in differences:
            return f"difference {differences.index(row) + 1} of {len(differences)}"
        return f"{len(differences)} differences" if len(differences) > 1 else "1 difference"

    def row_cells(self, index: int, width: int) -> Line:
        assert self._prints is not None
        shown = self._shown_rows[index]
        row = self._prints.rows[shown.row]
        if self._beside:
            return self._beside_cells(row, width)
        unsure = (Cell("? ", "error"),) if row.unsure and shown.half != "before" else ()
        width -= 2 * len(unsure)
        if not row.differs:
            return (*unsure, Cell(f"  {left(row.before or '', width - 2).rstrip()}", "dim"))
        if shown.half == "before":
            return (Cell("- ", "dim"), *_marked(row.before or "", row.after, width - 2, "dim", "plain"))
        return (*unsure, Cell("+ ", "changed"), *_marked(row.after or "", row.before, width - 2, "plain", "changed"))

    def _beside_cells(self, row: "PrintRow", width: int) -> Line:
        half, other = self._halves(width)
        if not row.differs:
            said, mark = Cell(left(row.before or "", half), "dim"), Cell(" ? " if row.unsure else " │ ", "dim")
            return (said, mark, Cell(left(row.after or "", other).rstrip(), "dim"))
        mark = Cell(" ? ", "error") if row.unsure else Cell(" ≠ ", "changed")
        before = _marked(row.before or "", row.after, half, "dim", "plain")
        fill = half - sum(cell_len(cell.text) for cell in before)
        return (
            *before,
            Cell(" " * fill),
            mark,
            *_marked(row.after or "", row.before, other, "plain", "changed"),
        )

    @staticmethod
    def _halves(width: int) -> tuple[int, int]:
        half = (width - 3) // 2
        return half, width - 3 - half

    # Keys

    def watch_cursor(self, old: int, new: int) -> None:
        super().watch_cursor(old, new)
        self._repaint_header()

    def _repaint_header(self) -> None:
        if self.is_mounted and self.header_cells(self.room) != self._shown_header:
            self.refresh(Region(0, 0, self.room, 1))

    def action_difference(self, by: int) -> None:
        if self._prints is None or not self._prints.differences:
            return
        here, differences = self._shown_rows[self.cursor].row, self._prints.differences
        if by > 0:
            row = next((place for place in differences if place > here), differences[0])
        else:
            row = next((place for place in reversed(differences) if place < here), differences[-1])
        self._go(next(place for place, shown in enumerate(self._shown_rows) if shown.row == row))


def _marked(line: str, other: str | None, width: int, same: str, changed: str) -> Line:
    """A line with what the other doesn't have; where that would be out of sight, the line's start is left out."""
    from tui_prune.report.prints import changed_parts

    parts = changed_parts(line, other) if other is not None else [(line, True)]
    start = next((sum(len(text) for text, _ in parts[:place]) for place, part in enumerate(parts) if part[1]), 0)
    end = next((start + len(text) for text, differs in parts if differs), 0)
    skip = max(0, start - LEAD) if end > width - 1 and other is not None else 0
    cells, room = [Cell("…", same)] if skip else [], width - bool(skip)
    for text, differs in parts:
        kept, skip = text[skip:], max(0, skip - len(text))
        if kept and room > 0:
            cells.append(Cell(left(kept, min(room, cell_len(kept))), changed if differs else same))
            room -= cell_len(kept)
    return tuple(cells)
