"""What the rows of the tree say of a plan: sums of modules, ties, blocks, settings of a row's own."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tui_prune.app.module_sums import Sums, module_sums
from tui_prune.planning.plan import Pair
from tui_prune.session.changes import own_alignment

if TYPE_CHECKING:
    from tui_prune.app.outline import Node
    from tui_prune.graph.graph import Graph, Group
    from tui_prune.planning.plan import LayerPlan, Plan


COLLAPSED = 1 / 32
"""A layer that keeps no more than this share of its channels carries hardly anything any more."""


def collapsed(layer: "LayerPlan") -> bool:
    """Whether next to nothing stays of a layer's channels."""
    return 0 < layer.after <= COLLAPSED * layer.before


class TreeFacts:
    """Looks things up for the rows; made anew for each plan, lazily, since most rows aren't in sight."""

    def __init__(self, plan: "Plan", lost: Mapping[str, float]) -> None:
        """`lost` is the share of the score that each scanned layer costs."""
        self.plan = plan
        self.recipe = plan.recipe
        self.lost = lost
        self.layers: dict[str, LayerPlan] = {layer.name: layer for layer in plan.layers}
        self._alignments: dict[str, int | None] = {}

    def layer(self, node: "Node") -> "LayerPlan | None":
        """The plan of a layer; None for a module."""
        return self.layers.get(node.path) if node.layer else None

    def collapsed(self, layer: "LayerPlan") -> bool:
        """Whether next to nothing stays of a layer."""
        return collapsed(layer)

    def counts(self, name: str) -> bool:
        """Whether a layer puts channels out, and doesn't only follow another one."""
        return self.layers[name].producer

    def sums(self, node: "Node") -> Sums:
        """What all layers in a module come to; of the network with what no layer accounts for."""
        if not node.path:
            before, after = self.plan.before, self.plan.after
            return Sums(params=Pair(before.params, after.params), macs=Pair(before.macs, after.macs))
        return module_sums(self.plan).of(node.paths)

    def alignment(self, name: str) -> int | None:
        """The alignment of a layer's own."""
        if name not in self._alignments:
            self._alignments[name] = own_alignment(self.plan, name)
        return self._alignments[name]

    def ratio(self, node: "Node") -> float | None:
        """The ratio that the recipe gives a module by its own name; of the network the one for all."""
        if not node.path:
            return self.plan.ratio or None
        if not self.recipe.layers:
            return None
        found = {self.recipe.layers.get(pattern) for pattern in node.patterns}
        return found.pop() if len(found) == 1 else None

    def own_ratios(self, node: "Node") -> set[float | None]:
        """The ratios that layers in a module have of their own; None stands for those that have none."""
        if not self.recipe.layers:
            return set()
        found = (self.layers[name] for name in node.layers)
        return {layer.ratio if layer.own_ratio else None for layer in found if layer.group is not None}

    def locked(self, node: "Node") -> bool:
        """Whether the user has locked a module."""
        return bool(node.path and self.recipe.lock) and set(node.patterns) <= set(self.recipe.lock)


class Ties:
    """Which layers are tied to which, and in what blocks their channels lie; the same for all plans of a graph."""

    def __init__(self, graph: "Graph", above: Mapping[str, tuple[str, ...]]) -> None:
        """`above` has, for each layer that is shown, the paths of the rows that it lies in."""
        self.graph = graph
        self._above = above
        self.tied = frozenset(name for group in graph.groups if len(group.layers) > 1 for name in group.layers)
        self._blocks = {name: word for group in graph.groups if (word := _block(group)) for name in group.layers}
        self._lit: dict[int, frozenset[str]] = {}

    def groups(self, layers: Iterable[str]) -> frozenset[int]:
        """The groups of several layers that some layers are in."""
        found = (self.graph.group_of(layer) for layer in layers if layer in self.tied)
        return frozenset(group.index for group in found if group is not None)

    def others(self, layer: str) -> tuple[str, ...]:
        """The layers that put out the same channels, itself included, as far as they are shown."""
        group = self.graph.group_of(layer)
        return () if group is None else tuple(name for name in group.layers if name in self._above)

    def lit(self, layer: str | None) -> frozenset[str]:
        """The rows to mark while the cursor is on a layer: those tied to it, and the modules that these lie in."""
        group = self.graph.group_of(layer) if layer in self.tied else None
        if layer is None or group is None:
            return frozenset()
        if group.index not in self._lit:
            found = {path for name in self.others(layer) for path in (name, *self._above[name]) if path}
            self._lit[group.index] = frozenset(found)
        return self._lit[group.index]

    def blocks(self, layer: str) -> str:
        """In a word, why a layer's channels fall into blocks; empty where they don't."""
        return self._blocks.get(layer, "")


def _block(group: "Group") -> str:
    if not group.blocked:
        return ""
    from tui_prune.graph.record import GROUP_NORM, GROUPED_CONVOLUTION, HEADS

    if HEADS in group.blocks:
        return "heads"
    return "grouped" if {GROUP_NORM, GROUPED_CONVOLUTION} & {*group.blocks} else "even parts"
