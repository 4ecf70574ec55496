"""What the Structure tab says of each layer and module: before and after the cut, or by two plans beside each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui_prune.app.cells import Cell, Line, left, right, shortened
from tui_prune.app.columns import Column, Part, compose
from tui_prune.app.module_sums import NONE, Sums, module_sums
from tui_prune.app.tree_cells import before_count, many_blocks, width_cells
from tui_prune.formatting import count, share, size
from tui_prune.planning.plan import Pair
from tui_prune.report.two_plans import PRESENT, Beside, differing, signed

if TYPE_CHECKING:
    from tui_prune.app.outline import Node
    from tui_prune.planning.plan import LayerPlan, Plan

FIGURE = 5
"""Columns of a figure such as 14.6k; of bytes it takes two more."""
CUT = 4
BY = 5
"""Columns of a difference of channels: "−1408", "+13k"."""
LONGEST_NAME = 12
"""Columns of a plan's name over its widths."""

Choices = tuple[tuple[frozenset[str], int], ...]
"""Which columns are left out and how far the others stand apart, from the widest to the narrowest."""
Measured = Callable[["Plan"], tuple[str, ...]]
"""What was measured of a plan's network, in words."""


class StructureCells:
    """Of one plan: width, parameters, MACs and bytes before and after, and the share of the channels that is cut.

    What changes has an arrow between before and after; what doesn't is one number.
    """

    SIGN = "→"
    CHOICES: Choices = (
        (frozenset(), 2),
        (frozenset({"inputs"}), 2),
        (frozenset({"inputs", "bytes"}), 2),
        (frozenset({"inputs", "bytes"}), 1),
        (frozenset({"inputs", "bytes", "kind"}), 2),
        (frozenset({"inputs", "bytes", "kind"}), 1),
    )
    WIDTHS = frozenset({"inputs", "width"})
    """Columns in which a module has nothing, so that the name of its class may take their room."""
    FOOT = 1
    """Lines of sums below the rows."""

    def __init__(self, plan: "Plan") -> None:
        self.plan = plan
        self.layers = {layer.name: layer for layer in plan.layers}
        self.digits = max((len(str(layer.before)) for layer in plan.layers), default=1)

    def _of(self, layer: "LayerPlan") -> Sums:
        """The figures of one layer."""
        own = Pair(layer.before, layer.after) if layer.producer else NONE
        return Sums(own, layer.params, layer.macs, layer.bytes)

    def layer(self, node: "Node") -> "LayerPlan | None":
        """The plan of a layer; None for a module."""
        return self.layers.get(node.path) if node.layer else None

    def sums(self, node: "Node") -> Sums:
        """What a layer, or the layers in a module or in repeated blocks, come to."""
        layer = self.layer(node)
        return self._of(layer) if layer is not None else self._of_modules(node.paths)

    def _of_modules(self, paths: tuple[str, ...]) -> Sums:
        """The figures of all layers in some modules."""
        return module_sums(self.plan).of(paths)

    # Columns

    def columns(self, name: int, kind: int) -> tuple[Column, ...]:
        """All that there may be, given the columns of the longest name and kind."""
        return (
            Column("layer", max(name, 5), rank=0, least=12),
            Column("kind", max(kind, 4), rank=5),
            Column("inputs", 2 * self.digits + 3, rank=7),
            Column("width", 2 * self.digits + 3, rank=1),
            Column("params", 2 * FIGURE + 3, rank=2),
            Column("MACs", 2 * FIGURE + 3, rank=3),
            Column("bytes", 2 * FIGURE + 7, rank=6),
            Column("cut", CUT, rank=4),
        )

    def heading(self, name: str, columns: int) -> str:
        """The name of a column, over its figures."""
        align = right if name == "cut" else left
        indent = {"inputs": self.digits - 1, "width": self.digits - 1, "MACs": 1}.get(name, 0)
        return align(" " * max(0, min(indent, columns - len(name))) + name, columns)

    def cells(self, name: str, columns: int, node: "Node") -> list[Cell]:
        """What stands in a column."""
        of, layer = self.sums(node), self.layer(node)
        if name == "kind":
            if layer is not None:
                return [Cell(left(layer.kind, columns), "dim")]
            return [Cell(before_count(many_blocks(node), node.class_name, columns), "dim")]
        if name == "params":
            return self._pair(of.params, count, FIGURE)
        if name == "MACs":
            return self._pair(of.macs, count, FIGURE)
        if name == "bytes":
            return self._pair(of.bytes, size, FIGURE + 2)
        return self._widths(name, columns, node, layer)

    def _widths(self, name: str, columns: int, node: "Node", layer: "LayerPlan | None") -> list[Cell]:
        if layer is None:
            return _cut(self.sums(node).channels, "·", columns) if name == "cut" else [Cell(" " * columns)]
        if name == "inputs":
            return width_cells(layer.in_before, layer.in_after, self.digits)
        if name == "width":
            return width_cells(layer.before, layer.after, self.digits)
        return _cut(Pair(layer.before, layer.after), "lock" if layer.locked else "·", columns)

    def _pair(self, figures: Pair, words: Callable[[float], str], columns: int) -> list[Cell]:
        if not figures.changed:
            return [Cell(right(words(figures.before), columns) + " " * (columns + 3), "dim")]
        return [
            Cell(right(words(figures.before), columns) + f" {self.SIGN} ", "dim"),
            Cell(right(words(figures.after), columns), "changed"),
        ]

    # Below the rows

    def foot(self, width: int) -> list[Line]:
        """The lines of the network's sums."""
        before, after = self.plan.before, self.plan.after
        parts = [
            Part(3, ((Cell("all", "strong"),),)),
            _sum(0, "params", Pair(before.params, after.params), count),
            _sum(1, "MACs", Pair(before.macs, after.macs), count),
            _sum(2, "bytes", Pair(before.bytes, after.bytes), size),
        ]
        return [compose(parts, width, gap=2)]

    def differs(self, node: "Node") -> bool:
        """Whether a row is among those that differ: all are, where nothing is compared."""
        return True


class TwoPlansCells(StructureCells):
    """Of two plans: each layer's width uncut, by the other plan and by the present one, and what these differ by.

    What differs has "≠" between the other plan's and the present one's; what doesn't is one number.
    """

    SIGN = "≠"
    CHOICES: Choices = (
        (frozenset(), 2),
        (frozenset({"bytes"}), 2),
        (frozenset({"bytes"}), 1),
        (frozenset({"bytes", "kind"}), 2),
        (frozenset({"bytes", "kind"}), 1),
        (frozenset({"bytes", "kind", "MACs"}), 1),
    )
    WIDTHS = frozenset({"uncut", "beside", "now"})
    FOOT = 2

    def __init__(self, plan: "Plan", beside: Beside, measured: Measured) -> None:
        self.beside, self._measured = beside, measured
        self._others = {layer.name: layer for layer in beside.plan.layers}
        super().__init__(plan)
        differ = differing(plan, beside.plan)
        self._differ = {path for name in differ for path in modules_around(name)}
        self._said = f"{len(differ) or 'none'} of {sum(layer.producer for layer in plan.layers)} differ"

    def _of(self, layer: "LayerPlan") -> Sums:
        other = self._others[layer.name]
        return Sums(
            Pair(other.after, layer.after) if layer.producer else NONE,
            Pair(other.params.after, layer.params.after),
            Pair(other.macs.after, layer.macs.after),
            Pair(other.bytes.after, layer.bytes.after),
        )

    def _of_modules(self, paths: tuple[str, ...]) -> Sums:
        both = zip(module_sums(self.beside.plan).of(paths), module_sums(self.plan).of(paths), strict=True)
        return Sums(*(Pair(other.after, present.after) for other, present in both))

    def differs(self, node: "Node") -> bool:
        return any(part.path in self._differ for part in node.parts)

    def columns(self, name: int, kind: int) -> tuple[Column, ...]:
        named = max(self.digits, min(LONGEST_NAME, cell_len(self.beside.name)))
        return (
            Column("layer", max(name, 5), rank=0, least=12),
            Column("kind", max(kind, 4), rank=7),
            Column("uncut", max(self.digits, 5), rank=4),
            Column("beside", named, rank=1, least=max(self.digits, min(named, 6))),
            Column("now", max(self.digits, 3), rank=2),
            Column("by", max(self.digits + 1, BY), rank=3),
            Column("params", 2 * FIGURE + 3, rank=5),
            Column("MACs", 2 * FIGURE + 3, rank=6),
            Column("bytes", 2 * FIGURE + 7, rank=8),
        )

    def heading(self, name: str, columns: int) -> str:
        if name == "beside":
            return right(shortened(self.beside.name, columns), columns)
        return right(name, columns) if name in ("uncut", "now", "by") else super().heading(name, columns)

    def _widths(self, name: str, columns: int, node: "Node", layer: "LayerPlan | None") -> list[Cell]:
        if layer is None:
            channels, differs = self.sums(node).channels, self.differs(node)
        else:
            channels = Pair(self._others[layer.name].after, layer.after)
            differs = channels.changed
        if name == "by":
            more = channels.after - channels.before
            said = signed(more) if len(signed(more)) <= columns else signed(more, _thousands)
            words = said if more else "≠" if differs else "·"
            return [Cell(right(words, columns), "changed" if differs else "dim")]
        if layer is None:
            return [Cell(" " * columns)]
        width = {"uncut": layer.before, "beside": channels.before}.get(name, channels.after)
        style = "dim" if name == "uncut" or not differs else "changed" if name == "now" else "plain"
        return [Cell(right(str(width), columns), style)]

    def foot(self, width: int) -> list[Line]:
        """The other plan's sums, and below them the present one's; figures stand below figures."""
        plans = (self.beside.plan, self.plan)
        names = (shortened(self.beside.name, max(LONGEST_NAME, width // 5)), PRESENT)
        found = [(names[line], self._said if line else "", *self._measured(plan)) for line, plan in enumerate(plans)]
        lengths = [max(map(cell_len, words)) for words in zip(*found, strict=True)]
        differ = plans[0].after != plans[1].after
        lines = []
        for line, plan in enumerate(plans):
            name, said, *measured = map(left, found[line], lengths)
            style = "changed" if line and differ else "plain"
            parts = [
                Part(0, ((Cell(name, "strong"),),)),
                Part(1, (_left("params", plan.after.params, plan.before.params, style),)),
                Part(2, (_left("MACs", plan.after.macs, plan.before.macs, style),)),
                *(Part(4 + place, ((Cell(words),),)) for place, words in enumerate(measured) if words),
                Part(3, ((Cell(said),),)),
            ]
            lines.append(compose(parts, width, gap=2))
        return lines


def modules_around(name: str) -> list[str]:
    """The names of the modules that a layer lies in, and its own: "layer1", "layer1.0", "layer1.0.conv1"."""
    return [name[:place] for place, letter in enumerate(f"{name}.") if letter == "."]


def _thousands(number: float) -> str:
    return f"{number / 1000:.{1 if number < 9950 else 0}f}k"


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


def _left(name: str, now: int, uncut: int, style: str) -> Line:
    """A sum of one plan, with its share of the uncut network's."""
    return Cell(f"{name} ", "dim"), Cell(right(count(now), FIGURE), style), Cell(right(share(now, uncut), FIGURE + 1))
