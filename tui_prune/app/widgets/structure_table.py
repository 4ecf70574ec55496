"""The Structure tab: every layer before and after, in columns, under the modules that hold them, and the sums."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip

from tui_prune.app.cells import Cell, Line, paint
from tui_prune.app.columns import Column, fit
from tui_prune.app.outline import Node, Row, rows
from tui_prune.app.structure_cells import Measured, StructureCells, TwoPlansCells
from tui_prune.app.tree_cells import before_count, many_blocks
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.folding_list import FoldingList
from tui_prune.report.two_plans import Beside

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan

INDENT = 1


class StructureTable(FoldingList):
    """One row a layer, and above it those of its modules, with the sums: what the plan makes of it, or how that differs
    from another plan. The last lines have the sums of the network and don't scroll.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("left,h", "fold", "Fold", id="table.fold", tooltip="Fold, or go to the module above", show=False),
        Binding(
            "right,l", "unfold", "Unfold", id="table.unfold", tooltip="Unfold, or go to the first inside", show=False
        ),
        Binding("space", "toggle_fold", "Fold or unfold", id="table.toggle", tooltip="Fold or unfold", show=False),
        Binding("enter", "choose", "In the tree", id="table.choose", tooltip="Go to this row in the tree", show=False),
        Binding("d", "differing", "differing", id="table.differing", tooltip="Only the rows in which two plans differ"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: tuple[Row, ...] = ()
        self._root: Node | None = None
        self._folded: frozenset[str] = frozenset()
        self._cells: StructureCells | None = None
        self._beside: Beside | None = None
        self._only_differing = False
        self._places: dict[str, int] = {}
        self._columns: tuple[Column, ...] = ()
        self._shown_foot: list[Line] = []
        self._measured: Measured = lambda plan: ()

    @property
    def path(self) -> str | None:
        """The layer or module under the cursor."""
        return self.rows[self.cursor].node.path if self.rows else None

    def show(self, root: Node, plan: "Plan", folded: frozenset[str] = frozenset()) -> None:
        """Show another tree of modules, and what the plan makes of it; at first with these of them folded."""
        path = self.path
        if self._root is None:
            self._folded = folded
        self._root = root
        self._take(plan)
        self._find_columns()
        self._lay_out(path or "")

    def show_plan(self, plan: "Plan") -> None:
        """Show what another plan makes of the same layers."""
        self._take(plan)
        if self._only_differing:
            self._lay_out(self.path or "")
        else:
            self.repaint()

    def compare(self, plan: "Plan", beside: Beside | None, measured: Measured) -> None:
        """Show a plan beside another one, or on its own again; `measured` says what is known of their networks."""
        path, self._beside, self._measured = self.path, beside, measured
        self._only_differing = self._only_differing and beside is not None
        self._take(plan)
        self._find_columns()
        self._lay_out(path or "")
        self.refresh()
        self.refresh_bindings()

    def follow(self, path: str) -> None:
        """Put the cursor on a layer or a module, or on what it is folded into, without saying that the user did."""
        while path and path not in self._places:
            path = path.rpartition(".")[0]
        self.show_cursor(self._places.get(path, 0))

    def _take(self, plan: "Plan") -> None:
        self._cells = (
            StructureCells(plan) if self._beside is None else TwoPlansCells(plan, self._beside, self._measured)
        )

    def _find_columns(self) -> None:
        if self._root is not None and self._cells is not None:
            names = [_indent(row) + 2 + cell_len(row.node.label) for row in rows(self._root)]
            kinds = [len(self._cells.layers[name].kind) for name in self._root.layers]
            self._columns = self._cells.columns(max(names, default=0), max(kinds, default=0))

    def _lay_out(self, keep: str) -> None:
        if self._root is None:
            return
        self.rows = rows(self._root, self._folded)[1:]  # the last line is what the root's would be
        if self._only_differing and self._cells is not None:
            self.rows = tuple(row for row in self.rows if self._cells.differs(row.node))
        self._places = {}
        for index, row in enumerate(self.rows):
            self._places[row.node.path] = index
            if row.node.repeated and not row.open:
                self._places.update(dict.fromkeys((part.path for part in row.node.parts), index))
        self.follow(keep)
        self.rows_changed()

    # The last lines, which stay when the rows scroll

    @property
    def page(self) -> int:
        return max(1, super().page - self._foot)

    @property
    def _foot(self) -> int:
        """How many there are."""
        return 0 if self._cells is None else self._cells.FOOT

    def _measure(self) -> None:
        self.virtual_size = Size(1, self.row_count() + 1 + self._foot)

    def foot_cells(self, width: int) -> list[Line]:
        """The sums of the network."""
        if self._cells is None:
            return []
        return [(Cell(" "), *line) for line in self._cells.foot(width - 1)]

    def repaint(self) -> None:
        super().repaint()
        foot = self._foot
        if self.size.height > 1 + foot and self.foot_cells(self.room) != self._shown_foot:
            self.refresh(Region(0, self.size.height - foot, self.room, foot))

    def render_line(self, y: int) -> Strip:
        place = y - self.size.height + self._foot
        if y and place >= 0:
            self._shown_foot = self.foot_cells(self.room)
            return paint(self, self._shown_foot[place], self.room)
        return super().render_line(y)

    def on_click(self, event: events.Click) -> None:
        if event.y >= self.size.height - self._foot:
            event.prevent_default()

    def action_differing(self) -> None:
        self._only_differing = not self._only_differing
        self._lay_out(self.path or "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "differing" or self._beside is not None

    # Rows

    def header_cells(self, width: int) -> Line:
        cells = [Cell(" ", "header")]
        if self._cells is not None:
            widths, gap = self._fit(self._cells, width - 1)
            for name, columns in widths.items():
                cells += [Cell(self._cells.heading(name, columns), "header"), Cell(" " * gap, "header")]
        return tuple(cells)

    def row_cells(self, index: int, width: int) -> Line:
        row, of = self.rows[index], self._cells
        if of is None:
            return ()
        cells: list[Cell] = []
        fitted, gap = self._fit(of, width)
        widths = dict(fitted)
        if of.layer(row.node) is None and "kind" in widths:
            for name in of.WIDTHS & widths.keys():
                widths["kind"] += widths.pop(name) + gap
        for name, columns in widths.items():
            cells += (
                self._name_cells(of, row, columns, "kind" in widths)
                if name == "layer"
                else of.cells(name, columns, row.node)
            )
            cells.append(Cell(" " * gap))
        return tuple(cells[:-1])

    def _fit(self, of: StructureCells, width: int) -> tuple[Mapping[str, int], int]:
        """The columns to show and how far they stand apart: the first choice in which all names are whole."""
        widths: Mapping[str, int] = {}
        for left_out, gap in of.CHOICES if self._columns else ():
            columns = tuple(column for column in self._columns if column.name not in left_out)
            widths = fit(columns, width, gap)
            if len(widths) == len(columns) and widths["layer"] == columns[0].width:
                return widths, gap
        return widths, of.CHOICES[-1][1]

    def _name_cells(self, of: StructureCells, row: Row, columns: int, has_kind: bool) -> list[Cell]:
        node = row.node
        many = "" if has_kind else many_blocks(node)
        fold = ("▾ " if row.open else "▸ ") if node.children else "  "
        style = "dim" if not of.sums(node).params.changed else "plain" if node.layer else "strong"
        return [Cell(before_count(many, " " * _indent(row) + fold + node.label, columns), style)]


def _indent(row: Row) -> int:
    return INDENT * (row.depth - 1)
