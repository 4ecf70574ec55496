"""A row of the tree in cells: which columns there is room for, and what stands in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui_prune.app.cells import Cell, Line, left, right, tail
from tui_prune.app.columns import Column, fit
from tui_prune.app.orders import ORDERS, SENSITIVITY, TREE
from tui_prune.app.outline import Node, Row, rows
from tui_prune.app.rails import LIT
from tui_prune.formatting import count, share
from tui_prune.planning.plan import Pair

if TYPE_CHECKING:
    from tui_prune.app.tree_facts import Ties, TreeFacts
    from tui_prune.planning.plan import LayerPlan

BAR, BAR_BESIDE_WORDS, LEAST_BAR = 32, 16, 6
"""Cells of the bar for a layer's share of the MACs: at the most, where marks are words, and at the least."""
NEARLY_ALL = 0.8
KEPT, SLIVER = "▇", "▖"
"""What is kept of a bar: not quite a row high, so that rows stand apart; and what is less than half a cell long."""
CUT = {"cut-some": "░", "cut-much": "▒", "cut-most": "▓", "error": "▓"}
"""What is cut of it, by its style: the more, the darker, without a colour too."""
STATE = 8
"""Columns of "own 60 %"; where there are no more than 6 it is "*60 %"."""
SIGNS = 3
"""Columns of the marks as signs."""
WORDS = 26
"""The most columns of the marks in words."""
CHOICES = (
    (frozenset[str](), 2, True),
    (frozenset[str](), 2, False),
    (frozenset[str](), 1, False),
    (frozenset({"kind"}), 1, False),
    (frozenset({"bar"}), 1, False),
    (frozenset({"kind", "bar"}), 1, False),
)
"""Which columns are left out, how far each level is set in, and whether marks are words: the widest first."""
TIED, ALIGNED, BLOCKS = "=", "≡", "#"
ALL, SOME = "●", "○"
"""Before a row: it is marked; some layers in it are."""


@dataclass(frozen=True)
class Layout:
    """Columns, how far a level is set in, and whether marks are words."""

    columns: tuple[Column, ...]
    indent: int
    words: bool


@dataclass(frozen=True)
class RowLook:
    """What a row shows of what the user does in the tree."""

    mark: str = ""
    """`ALL` or `SOME` where layers are marked."""
    lit: bool = False
    """Whether a layer in it is tied to the one under the cursor."""
    rail: str = ""
    """The rails before it."""
    railed: bool = False
    """Whether all that its layer is tied to is joined by these."""


class TreeCells:
    """Writes the rows of one tree in one order."""

    def __init__(self, root: Node, facts: "TreeFacts", ties: "Ties", order: str = TREE) -> None:
        self.root, self.facts, self.ties, self.order = root, facts, ties, order
        self.rails = 0
        """The columns of the rails."""
        every = rows(root)
        layers = [layer for row in every if (layer := facts.layer(row.node)) is not None]
        self._digits = max((len(str(layer.before)) for layer in layers), default=1)
        kinds = max([4, *(len(layer.kind) for layer in layers)])
        heading = len(ORDERS[order].figure)
        self._whole = self._cost(root).before
        self._most = max((self._cost(row.node).before for row in every if not self._is_all(row.node)), default=0)
        words = min(WORDS, max((len(self._words(layer, False)) for layer in layers), default=0) + len(" align 16"))
        self._layouts = tuple(
            Layout(
                tuple(
                    column
                    for column in (
                        Column("name", self._widest(every, indent), 0, least=12),
                        Column("kind", kinds, rank=5, least=8),
                        Column("width", 2 * self._digits + 3, rank=1),
                        Column("bar", BAR, rank=6, least=LEAST_BAR),
                        Column("figure", max(6, heading), rank=4),
                        Column("state", STATE, rank=2, least=STATE - 2),
                        Column("marks", words if in_words else SIGNS, rank=3),
                    )
                    if column.name not in left_out
                ),
                indent,
                in_words,
            )
            for left_out, indent, in_words in CHOICES
        )

    def _widest(self, every: tuple[Row, ...], indent: int) -> int:
        """The columns of the longest name; nothing is folded in `every`."""
        if self.order != TREE:
            names = [cell_len(row.node.path) + 2 for row in every if row.node.layer]
            return max(len(f"layer {self._order}"), *names) if names else 0
        return max((cell_len(row.node.label) + indent * row.depth + 2 for row in every), default=0)

    @property
    def _order(self) -> str:
        return ORDERS[self.order].words

    def heading(self, width: int) -> Line:
        """The names of the columns."""
        layout, widths = self._fit(width)
        words = {
            "name": "layer",
            "kind": "kind",
            "width": "width",
            "bar": "params" if self.order == "params" else "MACs",
            "figure": ORDERS[self.order].figure,
            "state": "ratio",
            "marks": "marks" if layout.words else "",
        }
        if self.order != TREE:
            said = f"layer {self._order}"
            words["name"] = said if len(said) <= widths.get("name", 0) else self._order
        cells = [Cell(" " * (1 + self.rails), "header")]
        for name, columns in widths.items():
            align = right if name in ("state", "figure") else left
            cells.append(Cell(align(words[name], columns) + " ", "header"))
        return tuple(cells)

    def column_at(self, x: int, width: int) -> str:
        """The column whose name is at this place of the heading; empty where none is."""
        _, widths = self._fit(width)
        first, *cells = self.heading(width)
        start = cell_len(first.text)
        for name, cell in zip(widths, cells, strict=True):
            end = start + cell_len(cell.text)
            if start <= x < end:
                return name
            start = end
        return ""

    def line(self, row: Row, look: RowLook, width: int) -> Line:
        """A row."""
        layer = self.facts.layer(row.node)
        layout, fitted = self._fit(width)
        widths = dict(fitted)
        if layer is None and "kind" in widths:  # a module has no width: the name of its class may take that room
            widths["kind"] += widths.pop("width") + 1
        cells: list[Cell] = self._rail(look)
        for name, columns in widths.items():
            cells += self._column(name, columns, row, layer, look, layout, "kind" in widths)
            cells.append(Cell(" "))
        return tuple(cells[:-1])

    def _fit(self, width: int) -> tuple[Layout, Mapping[str, int]]:
        """The columns of the first choice in which all names are whole; in words, if all columns are."""
        for layout in self._layouts:
            widths = fit(layout.columns, width - self.rails)
            whole = {"bar", *(column.name for column in layout.columns if widths.get(column.name) == column.width)}
            whole &= widths.keys()
            fits = "name" in whole
            if layout.words:
                fits = len(whole) == len(widths) and widths.get("bar", 0) >= BAR_BESIDE_WORDS
            if len(widths) == len(layout.columns) and fits:
                break
        return layout, widths

    def _column(
        self,
        name: str,
        columns: int,
        row: Row,
        layer: "LayerPlan | None",
        look: RowLook,
        layout: Layout,
        has_kind: bool,
    ) -> list[Cell]:
        node = row.node
        if name == "name":
            return self._name(columns, row, look.mark, layout.indent, "" if has_kind else folded_away(row))
        if name == "kind":
            return [
                Cell(
                    left(layer.kind, columns) if layer else before_count(folded_away(row), node.class_name, columns),
                    "dim",
                )
            ]
        if name == "bar":
            if self._is_all(node):
                return sum_cells(*self._cost(node), columns)
            collapsed = layer is not None and self.facts.collapsed(layer)
            return cost_bar(*self._cost(node), self._most, columns, "error" if collapsed else "")
        if name == "figure":
            return [self._figure(node, layer, columns)]
        if name == "marks":
            said = self._marks(node, layer, look, layout.words)
            return [Cell(left(said, columns), "strong" if LIT in said else "dim")]
        if layer is None:
            return [Cell(right(self._module_state(row, columns) if name == "state" else "", columns))]
        if name == "width":
            return width_cells(layer.before, layer.after, self._digits, self.facts.collapsed(layer))
        style = "plain" if layer.own_ratio or layer.locked else "dim"
        return [Cell(right(self._state(layer, columns), columns), style)]

    def _name(self, columns: int, row: Row, mark: str, indent: int, count: str) -> list[Cell]:
        """Fold, mark and name. The mark has the first column, which rows below the top one leave empty."""
        style = "plain" if row.node.layer else "strong"
        if self.order != TREE:
            return [Cell(mark or " ", "mark"), Cell(" " + tail(row.node.path, max(0, columns - 2)), style)]
        fold = ("▾ " if row.open else "▸ ") if row.node.children else "  "
        said = before_count(count, " " * (indent * row.depth) + fold + row.node.label, columns)
        return [Cell(mark, "mark"), Cell(said[1:], style)] if mark and said[:1] == " " else [Cell(said, style)]

    def _figure(self, node: Node, layer: "LayerPlan | None", columns: int) -> Cell:
        """A share, in per cent."""
        value: float | None
        changed = False
        if self.order == SENSITIVITY:
            value = self.facts.lost.get(node.path)
        elif self.order == "cut":
            value = 1 - layer.after / layer.before if layer is not None and layer.before else None
            changed = bool(value)
        else:
            sums = self.facts.sums(node) if layer is None else layer
            part = sums.params if self.order == "params" else sums.macs
            total = self.facts.plan.before.params if self.order == "params" else self.facts.plan.before.macs
            ranked = self.order != TREE
            value = (part.before if ranked else part.after) / total if total else None
            changed = part.changed and not ranked
        return Cell(right(percent(value), columns), "changed" if changed else "dim")

    def _cost(self, node: Node) -> Pair:
        """What a row's bar is as long as: its MACs, or its parameters in their order."""
        layer = self.facts.layer(node)
        sums = self.facts.sums(node) if layer is None else layer
        return sums.params if self.order == "params" else sums.macs

    def _is_all(self, node: Node) -> bool:
        """Whether a row stands for nearly the whole network: its bar would make all others short."""
        return not node.path or (bool(node.children) and self._cost(node).before > NEARLY_ALL * self._whole)

    def _rail(self, look: RowLook) -> list[Cell]:
        """The rails before a row; the stroke to a row that is tied to the one under the cursor is a mark."""
        if not self.rails:
            return []
        rail = look.rail or " " * self.rails
        if look.lit and look.railed:
            return [Cell(rail[:-1], "dim"), Cell(LIT, "strong")]
        return [Cell(rail, "dim")]

    def _marks(self, node: Node, layer: "LayerPlan | None", look: RowLook, in_words: bool) -> str:
        lit = look.lit and not look.railed
        if layer is None:
            return LIT if lit else ""
        if in_words:
            return self._words(layer, lit, look.railed)
        tied = LIT if lit else TIED if layer.name in self.ties.tied and not look.railed else " "
        aligned = ALIGNED if self.facts.alignment(layer.name) is not None else " "
        return tied + aligned + (BLOCKS if self.ties.blocks(layer.name) else " ")

    def _words(self, layer: "LayerPlan", lit: bool, railed: bool = False) -> str:
        align, blocks = self.facts.alignment(layer.name), self.ties.blocks(layer.name)
        said = [f"{LIT if lit else TIED} tied"] if layer.name in self.ties.tied and not railed else []
        said += [f"align {align}"] if align is not None else []
        return " ".join([*said, *([blocks] if blocks else [])])

    def _state(self, layer: "LayerPlan", columns: int) -> str:
        """The ratio that applies to a layer; where all channels are ranked together there is none of its own."""
        if layer.locked:
            return "locked"
        if layer.own_ratio:
            return _own(layer.ratio, columns)
        return share(layer.ratio, 1) if layer.ratio and self.facts.recipe.scope == "local" else ""

    def _module_state(self, row: Row, columns: int) -> str:
        """The ratio of a module's own, or of the whole network; of a folded one what its layers have of their own."""
        node = row.node
        if self.facts.locked(node):
            return "locked"
        ratio = self.facts.ratio(node)
        if ratio is not None:
            return _own(ratio, columns) if node.path else share(ratio, 1)
        if row.open:
            return ""
        inside = self.facts.own_ratios(node)
        said = _own(next(iter(inside)) or 0.0, columns) if len(inside) == 1 and None not in inside else "own …"
        return "" if inside <= {None} else said


def many_blocks(node: Node) -> str:
    """How many blocks a row of repeated ones stands for."""
    return f" ×{len(node.children)}" if node.repeated else ""


def folded_away(row: Row) -> str:
    """How much a row stands for that has no rows of its own."""
    hidden = f" ({len(row.node.layers)})" if row.node.children and not row.open else ""
    return many_blocks(row.node) or hidden


def before_count(count: str, text: str, columns: int) -> str:
    """A text with a count after it, of which the count stays whole."""
    return left(left(text, max(0, min(cell_len(text), columns - cell_len(count)))) + count, columns)


def percent(value: float | None) -> str:
    """A share in per cent, to one digit; a dot for none."""
    if value is None:
        return "·"
    return "<0.1" if 0 < value < 0.0005 else f"{100 * value:.1f}"


def width_cells(before: int, after: int, digits: int, collapsed: bool = False) -> list[Cell]:
    """ "192 →  96", or "192" and blanks when nothing changes; figures stand below figures."""
    if before == after:
        return [Cell(f"{before:>{digits}}" + " " * (digits + 3), "dim")]
    return [Cell(f"{before:>{digits}} → ", "dim"), Cell(f"{after:>{digits}}", "error" if collapsed else "changed")]


def cut_style(before: float, after: float) -> str:
    """The style of what is cut: the stronger the more it is."""
    share = 1 - after / before if before else 0.0
    return "cut-some" if share < 1 / 3 else "cut-much" if share < 2 / 3 else "cut-most"


def cost_bar(before: float, after: float, most: float, columns: int, style: str = "") -> list[Cell]:
    """A bar as long as a part of the largest one: solid for what is kept, hatched for what is cut.

    What is kept has a cell at the least, and so has what is cut where the bar is longer than one.
    """
    if not before or not most:
        return [Cell(" " * columns)]
    length = min(max(round(columns * before / most), 1), columns)
    solid = min(max(round(columns * after / most), 1), length - int(after < before and length > 1)) if after else 0
    sliver = solid == length == 1 and columns * before / most < 1 / 2
    style = style or cut_style(before, after)
    cells = [Cell(SLIVER if sliver else KEPT * solid, "kept"), Cell(CUT[style] * (length - solid), style)]
    return [*(cell for cell in cells if cell.text), Cell(" " * (columns - length))]


def sum_cells(before: float, after: float, columns: int) -> list[Cell]:
    """What all layers come to, in place of a bar: "4.09G → 2.03G", or its end where there is no more room."""
    if before == after:
        return [Cell(left(count(before), columns), "dim")]
    first = f"{count(before)} → "
    first = first if cell_len(first) + len(count(after)) <= columns else ""
    return [Cell(first, "dim"), Cell(left(count(after), columns - cell_len(first)), "changed")]


def _own(ratio: float, columns: int) -> str:
    return ("own " if columns >= STATE else "*") + share(ratio, 1)
