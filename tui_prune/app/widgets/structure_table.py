"""The Structure tab: every layer before and after, in columns, under the modules that hold them, and the sums."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip

from tui_prune.app.cells import Cell, Line, left, paint, right
from tui_prune.app.columns import Column, Part, compose, fit
from tui_prune.app.outline import Node, Row, rows
from tui_prune.app.tree_cells import before_count, many_blocks, width_cells
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.folding_list import FoldingList
from tui_prune.planning.plan import Pair
from tui_prune.wording import count, share, size

if TYPE_CHECKING:
    from tui_prune.planning.plan import LayerPlan, Plan

FIGURE = 5
"""Columns of a figure such as 14.6k; of bytes it takes two more."""
CUT = 4
INDENT = 1
CHOICES = (
    (frozenset(), 2),
    (frozenset({"inputs"}), 2),
    (frozenset({"inputs", "bytes"}), 2),
    (frozenset({"inputs", "bytes"}), 1),
    (frozenset({"inputs", "bytes", "kind"}), 2),
    (frozenset({"inputs", "bytes", "kind"}), 1),
)
"""Which columns are left out and how far the others stand apart, from the widest to the narrowest."""


NONE = Pair(0, 0)


@dataclass(frozen=True)
class Sums:
    """What all layers in a module come to."""

    channels: Pair = NONE
    """Outputs of the layers that put out channels of their own."""
    params: Pair = NONE
    macs: Pair = NONE
    bytes: Pair = NONE

    @classmethod
    def of(cls, layer: "LayerPlan") -> "Sums":
        """Those of one layer."""
        own = Pair(layer.before, layer.after) if layer.producer else NONE
        return cls(own, layer.params, layer.macs, layer.bytes)

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(
            _added(self.channels, other.channels),
            _added(self.params, other.params),
            _added(self.macs, other.macs),
            _added(self.bytes, other.bytes),
        )


class StructureTable(FoldingList):
    """One row a layer: width, parameters, MACs and bytes before and after, and the share of its channels that is cut.
    Above it those of its modules, with the sums. The last line has the sums of the network and doesn't scroll.

    What changes has an arrow between before and after; what doesn't is one number.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("left,h", "fold", "Fold", id="table.fold", tooltip="Fold, or go to the module above", show=False),
        Binding(
            "right", "unfold", "Unfold", id="table.unfold", tooltip="Unfold, or go to the first inside", show=False
        ),
        Binding("space", "toggle", "Fold or unfold", id="table.toggle", tooltip="Fold or unfold", show=False),
        Binding("enter", "choose", "In the tree", id="table.choose", tooltip="Go to this row in the tree", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: tuple[Row, ...] = ()
        self._root: Node | None = None
        self._folded: frozenset[str] = frozenset()
        self._plan: Plan | None = None
        self._layers: Mapping[str, LayerPlan] = {}
        self._sums: dict[str, Sums] = {}
        self._places: dict[str, int] = {}
        self._columns: tuple[Column, ...] = ()
        self._digits = 1
        self._shown_footer: Line = ()

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
        layers = [self._layers[name] for name in root.layers]
        self._digits = max((len(str(layer.before)) for layer in layers), default=1)
        named = [_indent(row) + 2 + cell_len(row.node.label) for row in rows(root)]
        self._columns = (
            Column("layer", max(named, default=5), rank=0, least=12),
            Column("kind", max((len(layer.kind) for layer in layers), default=4), rank=5),
            Column("inputs", 2 * self._digits + 3, rank=7),
            Column("width", 2 * self._digits + 3, rank=1),
            Column("params", 2 * FIGURE + 3, rank=2),
            Column("MACs", 2 * FIGURE + 3, rank=3),
            Column("bytes", 2 * FIGURE + 7, rank=6),
            Column("cut", CUT, rank=4),
        )
        self._lay_out(path or "")

    def show_plan(self, plan: "Plan") -> None:
        """Show what another plan makes of the same layers."""
        self._take(plan)
        self.repaint()

    def follow(self, path: str) -> None:
        """Put the cursor on a layer or a module, or on what it is folded into, without saying that the user did."""
        while path and path not in self._places:
            path = path.rpartition(".")[0]
        self.show_cursor(self._places.get(path, 0))

    def _take(self, plan: "Plan") -> None:
        self._plan = plan
        self._layers = {layer.name: layer for layer in plan.layers}
        self._sums = {}
        for layer in plan.layers:
            of = Sums.of(layer)
            for place, letter in enumerate(f"{layer.name}."):
                if letter == ".":
                    path = layer.name[:place]
                    self._sums[path] = self._sums.get(path, Sums()).plus(of)

    def _sum_of(self, node: Node) -> Sums:
        """What the layers in a module, or in repeated blocks, come to."""
        sums = [self._sums.get(part.path, Sums()) for part in node.parts]
        return sums[0] if len(sums) == 1 else functools.reduce(Sums.plus, sums)

    def _lay_out(self, keep: str) -> None:
        if self._root is None:
            return
        self.rows = rows(self._root, self._folded)[1:]  # the last line is what the root's would be
        self._places = {}
        for index, row in enumerate(self.rows):
            self._places[row.node.path] = index
            if row.node.repeated and not row.open:
                self._places.update(dict.fromkeys((part.path for part in row.node.parts), index))
        self.follow(keep)
        self.rows_changed()

    # The last line, which stays when the rows scroll

    @property
    def page(self) -> int:
        return max(1, super().page - 1)

    def _measure(self) -> None:
        self.virtual_size = Size(1, self.row_count() + 2)

    def footer_cells(self, width: int) -> Line:
        """The sums of the network."""
        if self._plan is None:
            return ()
        before, after = self._plan.before, self._plan.after
        parts = [
            Part(3, ((Cell("all", "strong"),),)),
            _sum(0, "params", Pair(before.params, after.params), count),
            _sum(1, "MACs", Pair(before.macs, after.macs), count),
            _sum(2, "bytes", Pair(before.bytes, after.bytes), size),
        ]
        return (Cell(" "), *compose(parts, width - 1, gap=2))

    def repaint(self) -> None:
        super().repaint()
        if self.size.height > 2 and self.footer_cells(self.room) != self._shown_footer:
            self.refresh(Region(0, self.size.height - 1, self.room, 1))

    def render_line(self, y: int) -> Strip:
        if y and y == self.size.height - 1:
            self._shown_footer = self.footer_cells(self.room)
            return paint(self, self._shown_footer, self.room)
        return super().render_line(y)

    def on_click(self, event: events.Click) -> None:
        if event.y == self.size.height - 1:
            event.prevent_default()

    # Rows

    def header_cells(self, width: int) -> Line:
        cells = [Cell(" ", "header")]
        widths, gap = self._fit(width - 1)
        for name, columns in widths.items():
            align = right if name == "cut" else left
            indent = {"inputs": self._digits - 1, "width": self._digits - 1, "params": 0, "MACs": 1}.get(name, 0)
            said = align(" " * max(0, min(indent, columns - len(name))) + name, columns)
            cells += [Cell(said, "header"), Cell(" " * gap, "header")]
        return tuple(cells)

    def row_cells(self, index: int, width: int) -> Line:
        row = self.rows[index]
        cells: list[Cell] = []
        fitted, gap = self._fit(width)
        widths = dict(fitted)
        layer = self._layers.get(row.node.path) if row.node.layer else None
        if layer is None:  # a module has no width: the name of its class may take that room
            for name in ("inputs", "width"):
                if "kind" in widths and name in widths:
                    widths["kind"] += widths.pop(name) + gap
        for name, columns in widths.items():
            cells += (
                self._name_cells(row, columns, "kind" in widths)
                if name == "layer"
                else self._column(name, columns, row.node, layer)
            )
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

    def _name_cells(self, row: Row, columns: int, has_kind: bool) -> list[Cell]:
        node = row.node
        many = "" if has_kind else many_blocks(node)
        fold = ("▾ " if row.open else "▸ ") if node.children else "  "
        changed = self._sum_of(node).params.changed
        style = "dim" if not changed else "plain" if node.layer else "strong"
        return [Cell(before_count(many, " " * _indent(row) + fold + node.label, columns), style)]

    def _column(self, name: str, columns: int, node: Node, layer: "LayerPlan | None") -> list[Cell]:
        of = self._sum_of(node) if layer is None else layer
        if name == "kind":
            if layer is not None:
                return [Cell(left(layer.kind, columns), "dim")]
            return [Cell(before_count(many_blocks(node), node.class_name, columns), "dim")]
        if name == "params":
            return _pair(of.params, count, FIGURE)
        if name == "MACs":
            return _pair(of.macs, count, FIGURE)
        if name == "bytes":
            return _pair(of.bytes, size, FIGURE + 2)
        if layer is None and name != "cut":
            return [Cell(" " * columns)]
        if layer is None:
            return _cut(self._sum_of(node).channels, "·", columns)
        if name == "inputs":
            return width_cells(layer.in_before, layer.in_after, self._digits)
        if name == "width":
            return width_cells(layer.before, layer.after, self._digits)
        return _cut(Pair(layer.before, layer.after), "lock" if layer.locked else "·", columns)


def _indent(row: Row) -> int:
    return INDENT * (row.depth - 1)


def _added(one: Pair, other: Pair) -> Pair:
    return Pair(one.before + other.before, one.after + other.after)


def _pair(figures: Pair, words: Callable[[float], str], columns: int) -> list[Cell]:
    if not figures.changed:
        return [Cell(right(words(figures.before), columns) + " " * (columns + 3), "dim")]
    return [
        Cell(right(words(figures.before), columns) + " → ", "dim"),
        Cell(right(words(figures.after), columns), "changed"),
    ]


def _cut(channels: Pair, without: str, columns: int) -> list[Cell]:
    cut = channels.before - channels.after
    return [Cell(right(share(cut, channels.before) if cut else without, columns), "changed" if cut else "dim")]


def _sum(rank: int, name: str, figures: Pair, words: Callable[[float], str]) -> Part:
    """A sum of the network, from its longest form to its shortest."""
    start = Cell(f"{name} ", "dim")
    if not figures.changed:
        plain = Cell(words(figures.before))
        return Part(rank, ((start, plain), (plain,)))
    change = (Cell(f"{words(figures.before)} → ", "dim"), Cell(words(figures.after), "changed"))
    of = Cell(f" {share(figures.after, figures.before)}")
    return Part(rank, ((start, *change, of), (*change, of), change))
