"""What a key that changes layers speaks of: the row under the cursor, all that are marked, or the network."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_prune.session.selection import NETWORK, Part, Selection, a_layer

if TYPE_CHECKING:
    from tui_prune.app.outline import Node


def at(node: "Node | None") -> Selection:
    """The row under the cursor; the top row is the network."""
    return Selection((_part(node),)) if node is not None and node.path else NETWORK


def all_marked(root: "Node", marked: frozenset[str], counts: Callable[[str], bool]) -> Selection:
    """The marked layers as few parts: a module where all layers in it are marked. `counts` says of a layer whether
    it has to be for that, as one that only follows others hasn't."""
    found: list[Part] = []

    def look(node: "Node") -> None:
        inside = markable(node, counts)
        if marked.isdisjoint(inside):
            return
        if node.path and marked.issuperset(inside):
            found.append(_part(node))
            return
        if node.layer and node.path in marked:
            found.append(a_layer(node.path))
        for child in node.children:
            look(child)

    look(root)
    return Selection(tuple(found), len(marked))


def markable(node: "Node", counts: Callable[[str], bool]) -> tuple[str, ...]:
    """The layers that are marked with a node."""
    return tuple(filter(counts, node.layers)) or node.layers


def _part(node: "Node") -> Part:
    return a_layer(node.path) if node.layer else Part(node.path, node.patterns, node.layers, False)
