"""The tree of modules as it is shown: only what holds channels, chains of single children in one row, and repeated
blocks under a row that stands for all of them."""

import glob
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tui_prune.app.repeats import Block, globs, runs, span


class LayerLike(Protocol):
    """What the outline wants to know about a layer; a `LayerPlan` is one."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def producer(self) -> bool: ...

    @property
    def before(self) -> int: ...


@dataclass(frozen=True)
class Node:
    """A row of the tree: a module with what is below it, or repeated blocks."""

    path: str
    """Its name in the model; "" is the model itself. Of repeated blocks "layer3.1…5", which no module has."""
    label: str
    class_name: str
    layer: bool
    """Whether it is a layer of its own (it may have others below it all the same)."""
    children: tuple["Node", ...] = ()
    layers: tuple[str, ...] = ()
    """The layers in it, itself included, in order of execution."""
    globs: tuple[str, ...] = ()
    """Of repeated blocks, what means all the layers in them and no others."""

    @property
    def repeated(self) -> bool:
        """Whether it stands for several blocks of one structure: its children."""
        return bool(self.globs)

    @property
    def parts(self) -> tuple["Node", ...]:
        """The modules that it is made of: itself, or the repeated blocks."""
        return self.children if self.repeated else (self,)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Their names in the model."""
        return tuple(part.path for part in self.parts)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The names under which a recipe speaks of it: a layer's own, or what all the layers in it match."""
        return self.globs or ((self.path,) if self.layer else (f"{glob.escape(self.path)}.*",))

    @property
    def place(self) -> str:
        """The module to look at: of repeated blocks the first."""
        return self.parts[0].path


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
    shown = {layer.name: layer for layer in layers if everything or layer.producer}
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
    numbers: dict[Hashable, int] = {}
    shapes: dict[str, int] = {}

    def node(name: str, label: str) -> Node:
        inner = children.get(name, [])
        if name and name not in shown and len(inner) == 1:
            return node(inner[0], f"{label}.{inner[0].rpartition('.')[2]}")
        made = tuple(node(child, child.rpartition(".")[2]) for child in inner)
        layer = shown.get(name)
        shape = (
            classes.get(name),
            label.partition(".")[2],
            layer and (layer.kind, layer.before),
            *((child.label.partition(".")[0], shapes[child.path]) for child in made),
        )
        shapes[name] = numbers.setdefault(shape, len(numbers))
        return Node(name, label, classes.get(name, ""), name in shown, joined(name, made), tuple(below.get(name, ())))

    def joined(name: str, siblings: tuple[Node, ...]) -> tuple[Node, ...]:
        """Siblings with those that repeat each other under one node."""
        start = f"{name}." if name else ""
        blocks = [
            Block(one.label, classes.get(start + one.label.partition(".")[0], ""), shapes[one.path])
            if one.children
            else Block(one.label, "", None)
            for one in siblings
        ]
        made = list(siblings)
        labels = [one.label for one in siblings]
        for run in reversed(runs(blocks)):
            label = span(labels[run][0], labels[run][-1])
            inside = tuple(layer for one in siblings[run] for layer in one.layers)
            meant = globs(start, labels[run], labels)
            made[run] = [Node(start + label, label, blocks[run.start].class_name, False, siblings[run], inside, meant)]
        return tuple(made)

    return node("", title)


def walk(root: Node, above: tuple[str, ...] = ()) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """Every node in the order of the rows, with the paths of those above it, the nearest last."""
    yield root, above
    for child in root.children:
        yield from walk(child, (*above, root.path))


def rows(root: Node, folded: frozenset[str] = frozenset(), needle: str = "") -> tuple[Row, ...]:
    """The rows to show. During a search nothing is folded, and a row shows if it or one below it matches."""
    found: list[Row] = []
    needle = needle.casefold()

    def show(node: Node, depth: int) -> bool:
        place = len(found)
        is_open = bool(node.children) and (bool(needle) or node.path not in folded)
        found.append(Row(node, depth, is_open))
        hit = not needle or is_hit(node, needle)
        if is_open:
            hits = [show(child, depth + 1) for child in node.children]
            hit = any(hits) or hit
        if not hit and node.path:
            del found[place:]
        return hit

    show(root, 0)
    return tuple(found)


def is_hit(node: Node, needle: str) -> bool:
    """Whether a module's name has these letters in it; the network and repeated blocks have none of their own."""
    return bool(node.path) and not node.repeated and needle.casefold() in node.path.casefold()


def hidden_layers(row: Row) -> tuple[str, ...]:
    """The layers that a row stands for: its own, and those of a module that is folded."""
    if row.node.children and not row.open:
        return row.node.layers
    return (row.node.path,) if row.node.layer else ()
