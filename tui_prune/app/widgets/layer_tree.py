"""The left half: the tree of modules, one row for each, with what the plan makes of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.reactive import var

from tui_prune.app.cells import Cell, Line, left, right
from tui_prune.app.columns import Column, fit
from tui_prune.app.outline import Node, Row, rows
from tui_prune.app.widgets.row_list import RowList
from tui_prune.planning.recipe import Recipe
from tui_prune.wording import share

if TYPE_CHECKING:
    from tui_prune.planning.plan import LayerPlan, Plan

BAR = 8
"""Cells of the bar for the share kept; each is drawn in halves."""
STATE = 8
"""Columns of "own 60 %"; where there are no more than 6 it is "*60 %"."""
INDENTS = (2, 1)
"""Columns by which each level is set in: the wider where nothing else suffers from it."""


class LayerTree(RowList):
    """Modules that hold channels, with kind, width before and after, share kept, ratio and marks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "screen.other_half", "details", id="tree.half", tooltip="To the details of the layer"),
        Binding("left,h", "fold", "Fold", id="tree.fold", tooltip="Fold, or go to the module above", show=False),
        Binding("right", "unfold", "Unfold", id="tree.unfold", tooltip="Unfold, or go to the first inside", show=False),
        Binding("space", "toggle", "Fold or unfold", id="tree.toggle", tooltip="Fold or unfold", show=False),
        Binding("enter", "choose", "Details", id="tree.choose", tooltip="Go to the details of the layer", show=False),
    ]

    rows: var[tuple[Row, ...]] = var(())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._root: Node | None = None
        self._folded: frozenset[str] = frozenset()
        self._needle = ""
        self._plans: Mapping[str, LayerPlan] = {}
        self._tied: frozenset[str] = frozenset()
        self._totals: dict[str, tuple[int, int]] = {}
        self._layouts: tuple[tuple[Column, ...], ...] = ()
        self._digits = 1
        self._recipe = Recipe()

    # What it shows

    @property
    def node(self) -> Node | None:
        """The node under the cursor."""
        return self.rows[self.cursor].node if self.rows else None

    def show(self, root: Node, plan: "Plan") -> None:
        """Show another tree of modules, and what the plan makes of it."""
        self._root = root
        self._take(plan)
        widest = max(plan.layers, key=lambda layer: layer.before, default=None)
        digits = len(str(widest.before)) if widest else 1
        self._digits = digits
        kinds = [len(layer.kind) for layer in plan.layers if layer.name in set(root.layers)]
        self._layouts = tuple(
            (
                Column(
                    "name", max(cell_len(row.node.label) + indent * row.depth + 2 for row in rows(root)), 0, least=12
                ),
                Column("kind", max([4, *kinds]), rank=4, least=8),
                Column("width", 2 * digits + 3, rank=1),
                Column("bar", BAR, rank=5, least=4),
                Column("state", STATE, rank=2, least=STATE - 2),
                Column("tied", 1, rank=3),
            )
            for indent in INDENTS
        )
        self._lay_out(keep=self.node.path if self.rows else "")

    def show_plan(self, plan: "Plan") -> None:
        """Show what another plan makes of the same modules."""
        self._take(plan)
        self.repaint()

    def search(self, needle: str) -> int:
        """Show only what has `needle` in its name; how many layers that are."""
        if needle.strip() != self._needle:
            self._needle = needle.strip()
            self._lay_out(keep=self.node.path if self.node else "")
        if self._needle and self.node and self._needle.casefold() not in self.node.path.casefold():
            first = next((i for i, row in enumerate(self.rows) if self._hit(row.node)), 0)
            self.show_cursor(first)
            self.post_message(self.Moved(self))
        return sum(1 for row in self.rows if row.node.layer and self._hit(row.node))

    def reveal(self, path: str) -> None:
        """Put the cursor on a module, unfolding what hides it, without saying that the user did."""
        above = {path[:place] for place, letter in enumerate(path) if letter == "."} | {""}
        if above & self._folded:
            self._folded -= above
            self._lay_out(keep=path)
        for index, row in enumerate(self.rows):
            if row.node.path == path:
                self.show_cursor(index)

    @property
    def folded(self) -> frozenset[str]:
        """The modules that are folded."""
        return self._folded

    def go_to(self, path: str, folded: frozenset[str]) -> None:
        """Fold these modules and move to another, unfolding what hides it."""
        self._folded = folded
        self._lay_out(keep=path)
        self.reveal(path)
        self.post_message(self.Moved(self))

    def step_layer(self, by: int) -> None:
        """Move to the next layer below (1) or above (-1) that isn't folded away."""
        places = [index for index, row in enumerate(self.rows) if row.node.layer and (index - self.cursor) * by > 0]
        if places:
            self._go(min(places) if by > 0 else max(places))

    def _take(self, plan: "Plan") -> None:
        self._plans = {layer.name: layer for layer in plan.layers}
        self._tied = frozenset(name for group in plan.graph.groups if len(group.layers) > 1 for name in group.layers)
        self._recipe = plan.recipe
        self._totals = {}
        for layer in plan.layers:
            parts = layer.name.split(".")
            for depth in range(len(parts) + 1):
                path = ".".join(parts[:depth])
                before, after = self._totals.get(path, (0, 0))
                self._totals[path] = (before + layer.params.before, after + layer.params.after)

    def _lay_out(self, keep: str) -> None:
        if self._root is None:
            return
        self.rows = rows(self._root, self._folded, self._needle)
        places = {row.node.path: index for index, row in enumerate(self.rows)}
        while keep and keep not in places:
            keep = keep.rpartition(".")[0]
        self.cursor = places.get(keep, 0)
        self.rows_changed()

    def _hit(self, node: Node) -> bool:
        return bool(node.path) and self._needle.casefold() in node.path.casefold()

    # Rows

    def row_count(self) -> int:
        return len(self.rows)

    def header_cells(self, width: int) -> Line:
        widths, _ = self._fit(width - 1)
        words = {"name": "layer", "kind": "kind", "width": "width", "bar": "kept", "state": "ratio", "tied": ""}
        cells = [Cell(" ", "header")]
        for name, columns in widths.items():
            align = right if name == "state" else left
            cells.append(Cell(align(words[name], columns) + " ", "header"))
        return tuple(cells)

    def row_cells(self, index: int, width: int) -> Line:
        row = self.rows[index]
        layer = self._plans.get(row.node.path) if row.node.layer else None
        fitted, indent = self._fit(width)
        widths = dict(fitted)
        if layer is None and "kind" in widths:  # a module has no width: the name of its class may take that room
            widths["kind"] += widths.pop("width") + 1
        cells: list[Cell] = []
        for name, columns in widths.items():
            cells += self._column(name, columns, row, layer, indent)
            cells.append(Cell(" "))
        return tuple(cells[:-1])

    def _fit(self, width: int) -> tuple[Mapping[str, int], int]:
        """The columns that there is room for, and how far a level is set in."""
        choice: tuple[Mapping[str, int], int] = ({}, INDENTS[0])
        for indent, columns in zip(INDENTS, self._layouts, strict=False):
            widths = fit(columns, width)
            choice = widths, indent
            if len(widths) == len(columns) and widths["name"] == columns[0].width:
                break
        return choice

    def _column(self, name: str, columns: int, row: Row, layer: "LayerPlan | None", indent: int) -> list[Cell]:
        if name == "name":
            fold = ("▾ " if row.open else "▸ ") if row.node.children else "  "
            style = "plain" if row.node.layer else "strong"
            return [Cell(left(" " * (indent * row.depth) + fold + row.node.label, columns), style)]
        if name == "kind":
            return [Cell(left(layer.kind if layer else row.node.class_name, columns), "dim")]
        if name == "bar":
            before, after = (layer.before, layer.after) if layer else self._totals.get(row.node.path, (0, 0))
            return kept_bar(before, after, columns)
        if layer is None:
            said = self._module_state(row.node, columns) if name == "state" else ""
            return [Cell(right(said, columns))]
        if name == "width":
            return width_cells(layer.before, layer.after, self._digits)
        if name == "state":
            return [
                Cell(right(self._state(layer, columns), columns), "plain" if layer.own_ratio or layer.locked else "dim")
            ]
        return [Cell("=" if row.node.path in self._tied else " ", "dim")]

    def _state(self, layer: "LayerPlan", columns: int) -> str:
        """The ratio that applies to a layer; where all channels are ranked together there is none of its own."""
        if layer.locked:
            return "locked"
        if layer.own_ratio:
            return _own(layer.ratio, columns)
        return share(layer.ratio, 1) if layer.ratio and self._recipe.scope == "local" else ""

    def _module_state(self, node: Node, columns: int) -> str:
        """The ratio of a module's own, or of the whole network."""
        if not node.path:
            return share(self._recipe.ratio, 1) if self._recipe.ratio else ""
        if node.pattern in self._recipe.lock:
            return "locked"
        ratio = self._recipe.layers.get(node.pattern)
        return "" if ratio is None else _own(ratio, columns)

    # Keys

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self))

    def action_fold(self) -> None:
        row = self.rows[self.cursor]
        if row.open and not self._needle:
            self._set_folded(row.node.path, folded=True)
            return
        for index in range(self.cursor - 1, -1, -1):
            if self.rows[index].depth < row.depth:
                self._go(index)
                return

    def action_unfold(self) -> None:
        row = self.rows[self.cursor]
        if row.open:
            self._go(self.cursor + 1)
        elif row.node.children:
            self._set_folded(row.node.path, folded=False)

    def action_toggle(self) -> None:
        row = self.rows[self.cursor]
        if row.node.children and not self._needle:
            self._set_folded(row.node.path, folded=row.open)

    def _set_folded(self, path: str, *, folded: bool) -> None:
        self._folded = self._folded | {path} if folded else self._folded - {path}
        self._lay_out(keep=path)


def width_cells(before: int, after: int, digits: int) -> list[Cell]:
    """ "192 →  96", or "192" and blanks when nothing changes; figures stand below figures."""
    if before == after:
        return [Cell(f"{before:>{digits}}" + " " * (digits + 3), "dim")]
    return [Cell(f"{before:>{digits}} → ", "dim"), Cell(f"{after:>{digits}}", "changed")]


def kept_bar(before: int, after: int, columns: int) -> list[Cell]:
    """How much of something stays: a heavy line for that, a dotted one for the rest."""
    halves = round(2 * columns * after / before) if before else 0
    if before and after < before:
        halves = min(max(halves, 1), 2 * columns - 1)
    heavy = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return [Cell(heavy, "changed" if after < before else "dim"), Cell("╌" * (columns - len(heavy)), "dim")]


def _own(ratio: float, columns: int) -> str:
    return ("own " if columns >= STATE else "*") + share(ratio, 1)
