"""The tree of modules as it is shown: only what holds channels, chains of single children in one row."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


class LayerLike(Protocol):
    """What the outline wants to know about a layer; a `LayerPlan` is one."""

    name: str
    producer: bool


@dataclass(frozen=True)
class Node:
    """A row of the tree: a module with what is below it."""

    path: str
    """Its name in the model; "" is the model itself."""
    label: str
    class_name: str
    layer: bool
    """Whether it is a layer of its own (it may have others below it all the same)."""
    children: tuple["Node", ...] = ()
    layers: tuple[str, ...] = ()
    """The layers in it, itself included, in order of execution."""

    @property
    def pattern(self) -> str:
        """The name under which a recipe speaks of it: a layer's own, or one that all the layers in it match."""
        return self.path if self.layer else f"{glob.escape(self.path)}.*"


@dataclass(frozen=True)
class Row:
    """A node and how deep it stands."""

    node: Node
    depth: int
    open: bool


def outline(
    title: str, modules: Iterable[tuple[str, str]], layers: Sequence[LayerLike], *, everything: bool = False
) -> Node:
    """The tree of the modules (name and class name) that hold layers; `everything` counts norms and the like too."""
    classes = dict(modules)
    shown = [layer.name for layer in layers if everything or layer.producer]
    below: dict[str, list[str]] = {}
    names: dict[str, None] = {}
    for layer in shown:
        parts = layer.split(".")
        for depth in range(1, len(parts) + 1):
            names.setdefault(".".join(parts[:depth]))
        for depth in range(len(parts) + 1):
            below.setdefault(".".join(parts[:depth]), []).append(layer)
    # As the model registers them; a name that it doesn't (a parameter used bare) comes last.
    place = {name: index for index, name in enumerate(classes)}
    children: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: place.get(name, len(place))):
        children.setdefault(name.rpartition(".")[0], []).append(name)
    layer_names = set(shown)

    def node(name: str, label: str) -> Node:
        inner = children.get(name, [])
        if name and name not in layer_names and len(inner) == 1:
            return node(inner[0], f"{label}.{inner[0].rpartition('.')[2]}")
        made = tuple(node(child, child.rpartition(".")[2]) for child in inner)
        return Node(name, label, classes.get(name, ""), name in layer_names, made, tuple(below.get(name, ())))

    return node("", title)


def rows(root: Node, folded: frozenset[str] = frozenset(), needle: str = "") -> tuple[Row, ...]:
    """The rows to show. During a search nothing is folded, and a row shows if it or one below it matches."""
    found: list[Row] = []
    needle = needle.casefold()

    def walk(node: Node, depth: int) -> bool:
        place = len(found)
        is_open = bool(node.children) and (bool(needle) or node.path not in folded)
        found.append(Row(node, depth, is_open))
        hit = not needle or (node.path != "" and needle in node.path.casefold())
        if is_open:
            hits = [walk(child, depth + 1) for child in node.children]
            hit = any(hits) or hit
        if not hit and node.path:
            del found[place:]
        return hit

    walk(root, 0)
    return tuple(found)
