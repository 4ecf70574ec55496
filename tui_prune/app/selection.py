"""What a key that changes layers speaks of: the row under the cursor, all that are marked, or the network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_prune.app.outline import Node


@dataclass(frozen=True)
class Selection:
    """Some nodes of the tree; without any it is the whole network."""

    nodes: tuple["Node", ...] = ()
    marked: int = 0
    """How many layers are marked; 0: it is the row under the cursor."""

    def __bool__(self) -> bool:
        return bool(self.nodes)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The names under which a recipe speaks of it."""
        return tuple(pattern for node in self.nodes for pattern in node.patterns)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer for node in self.nodes for layer in ((node.path,) if node.layer else node.layers))

    @property
    def layer(self) -> str | None:
        """The layer, where it is a single one."""
        return self.nodes[0].path if len(self.nodes) == 1 and self.nodes[0].layer else None

    @property
    def name(self) -> str:
        """What a question calls it."""
        if self.marked:
            return f"{self.marked} marked layers" if self.marked > 1 else "1 marked layer"
        return self.layer or " and ".join(f"all in {node.path}" for node in self.nodes)


NETWORK = Selection()


def at(node: "Node | None") -> Selection:
    """The row under the cursor; the top row is the network."""
    return Selection((node,)) if node is not None and node.path else NETWORK


def all_marked(root: "Node", marked: frozenset[str], counts: Callable[[str], bool]) -> Selection:
    """The marked layers as few nodes: a module where all layers in it are marked. `counts` says of a layer whether
    it has to be for that, as one that only follows others hasn't."""
    found: list[Node] = []

    def look(node: "Node") -> None:
        inside = markable(node, counts)
        if marked.isdisjoint(inside):
            return
        if node.path and marked.issuperset(inside):
            found.append(node)
            return
        if node.layer and node.path in marked:
            found.append(replace(node, children=(), layers=(node.path,)))
        for child in node.children:
            look(child)

    look(root)
    return Selection(tuple(found), len(marked))


def markable(node: "Node", counts: Callable[[str], bool]) -> tuple[str, ...]:
    """The layers that are marked with a node."""
    return tuple(filter(counts, node.layers)) or node.layers
