"""The Structure tab: every layer before and after, in columns."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, left, right, tail
from tui_prune.app.columns import Column, fit
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.layer_tree import width_cells
from tui_prune.app.widgets.row_list import RowList
from tui_prune.wording import count, share, size

if TYPE_CHECKING:
    from tui_prune.planning.plan import LayerPlan, Plan

FIGURE = 5
"""Columns of a figure such as 14.6k; of bytes it takes two more."""
CUT = 4
CHOICES = (
    (frozenset(), 2),
    (frozenset({"bytes"}), 2),
    (frozenset({"bytes"}), 1),
    (frozenset({"bytes", "kind"}), 2),
    (frozenset({"bytes", "kind"}), 1),
)
"""Which columns are left out and how far the others stand apart, from the widest to the narrowest."""


class StructureTable(RowList):
    """One row a layer: width, parameters, MACs and bytes before and after, and the share that is cut."""

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("enter", "choose", "In the tree", id="table.choose", tooltip="Go to the layer in the tree", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plans: tuple[LayerPlan, ...] = ()
        self._places: dict[str, int] = {}
        self._columns: tuple[Column, ...] = ()
        self._digits = 1

    @property
    def layer(self) -> str | None:
        """The layer under the cursor."""
        return self.plans[self.cursor].name if self.plans else None

    def show(self, plan: "Plan", names: tuple[str, ...]) -> None:
        """Show these layers of a plan, other layers than before."""
        layer = self.layer
        self._take(plan, names)
        self._digits = max((len(str(layer.before)) for layer in self.plans), default=1)
        self._columns = (
            Column("layer", max((cell_len(layer.name) for layer in self.plans), default=5), rank=0, least=12),
            Column("kind", max((len(layer.kind) for layer in self.plans), default=4), rank=5),
            Column("width", 2 * self._digits + 3, rank=1),
            Column("params", 2 * FIGURE + 3, rank=2),
            Column("MACs", 2 * FIGURE + 3, rank=3),
            Column("bytes", 2 * FIGURE + 7, rank=6),
            Column("cut", CUT, rank=4),
        )
        self.rows_changed()
        if layer:
            self.follow(layer)

    def show_plan(self, plan: "Plan") -> None:
        """Show what another plan makes of the same layers."""
        self._take(plan, tuple(self._places))
        self.repaint()

    def follow(self, layer: str) -> None:
        """Put the cursor on a layer without saying that the user did."""
        if layer in self._places:
            self.show_cursor(self._places[layer])

    def _take(self, plan: "Plan", names: tuple[str, ...]) -> None:
        wanted = set(names)
        self.plans = tuple(layer for layer in plan.layers if layer.name in wanted)
        self._places = {layer.name: index for index, layer in enumerate(self.plans)}

    # Rows

    def row_count(self) -> int:
        return len(self.plans)

    def header_cells(self, width: int) -> Line:
        cells = [Cell(" ", "header")]
        widths, gap = self._fit(width - 1)
        for name, columns in widths.items():
            align = right if name == "cut" else left
            indent = {"width": self._digits - 1, "params": 0, "MACs": 1}.get(name, 0)
            said = align(" " * max(0, min(indent, columns - len(name))) + name, columns)
            cells += [Cell(said, "header"), Cell(" " * gap, "header")]
        return tuple(cells)

    def row_cells(self, index: int, width: int) -> Line:
        layer = self.plans[index]
        cells: list[Cell] = []
        widths, gap = self._fit(width)
        for name, columns in widths.items():
            cells += self._column(name, columns, layer)
            cells.append(Cell(" " * gap))
        return tuple(cells[:-1])

    def _fit(self, width: int) -> tuple[Mapping[str, int], int]:
        """The columns to show and how far they stand apart: the first choice in which all names are whole."""
        widths: Mapping[str, int] = {}
        for left_out, gap in CHOICES if self._columns else ():
            columns = tuple(column for column in self._columns if column.name not in left_out)
            widths = fit(columns, width, gap)
            if len(widths) == len(columns) and widths["layer"] == columns[0].width:
                return widths, gap
        return widths, CHOICES[-1][1]

    def _column(self, name: str, columns: int, layer: "LayerPlan") -> list[Cell]:
        changed = layer.params.before != layer.params.after
        if name == "layer":
            return [Cell(tail(layer.name, columns), "plain" if changed else "dim")]
        if name == "kind":
            return [Cell(left(layer.kind, columns), "dim")]
        if name == "width":
            return width_cells(layer.before, layer.after, self._digits)
        if name == "params":
            return _pair(*map(count, layer.params), FIGURE)
        if name == "MACs":
            return _pair(*map(count, layer.macs), FIGURE)
        if name == "bytes":
            return _pair(*map(size, layer.bytes), FIGURE + 2)
        cut = layer.before - layer.after
        word = share(cut, layer.before) if cut else "lock" if layer.locked else "·"
        return [Cell(right(word, columns), "changed" if cut else "dim")]

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self))


def _pair(before: str, after: str, columns: int) -> list[Cell]:
    if before == after:
        return [Cell(right(before, columns) + " " * (columns + 3), "dim")]
    return [Cell(right(before, columns) + " → ", "dim"), Cell(right(after, columns), "changed")]
