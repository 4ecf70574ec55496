"""What a key does to the recipe when the cursor is on a module that holds several layers: it speaks of all of them.

A single layer is the session's own business, since layers that are tied to it have a say.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from tui_prune.planning.recipe import Recipe

if TYPE_CHECKING:
    from tui_prune.app.outline import Node
    from tui_prune.planning.plan import Plan
    from tui_prune.session import Session

T = TypeVar("T")

LARGEST_RATIO = 0.99


def with_ratio(recipe: Recipe, node: "Node | None", ratio: float) -> Recipe:
    """The recipe with a ratio for a node's layers; None speaks of the whole network."""
    if node is None:
        return recipe.changed(ratio=ratio)
    return recipe.changed(layers=_last(recipe.layers, node.pattern, ratio))


def with_alignment(recipe: Recipe, node: "Node | None", align: int) -> Recipe:
    """The recipe with an alignment for a node's layers; None speaks of the whole network."""
    if node is None:
        return recipe.changed(align=align)
    return recipe.changed(layer_align=_last(recipe.layer_align, node.pattern, align))


def set_ratio(session: "Session", node: "Node | None", ratio: float) -> "Plan":
    """Choose a ratio."""
    if node is None or node.layer:
        return session.set_ratio(ratio, node.path if node else None)
    return session.apply(with_ratio(session.recipe, node, ratio))


def step_ratio(session: "Session", node: "Node | None", by: float) -> "Plan":
    """Raise or lower a ratio."""
    if node is None or node.layer:
        return session.step_ratio(by, node.path if node else None)
    now = session.recipe.layers.get(node.pattern, session.recipe.ratio)
    return set_ratio(session, node, round(min(max(now + by, 0.0), LARGEST_RATIO), 4))


def clear_ratio(session: "Session", node: "Node | None") -> "Plan":
    """Take own ratios away, so that the global one applies again; of the whole network, that is set to nothing."""
    if node is None:
        return session.set_ratio(0.0)
    if node.layer:
        return session.clear_ratio(node.path)
    inside = {node.pattern, *node.layers}
    kept = {name: ratio for name, ratio in session.recipe.layers.items() if name not in inside}
    return session.apply(session.recipe.changed(layers=kept))


def set_alignment(session: "Session", node: "Node | None", align: int) -> "Plan":
    """Choose an alignment."""
    if node is None or node.layer:
        return session.set_alignment(align, node.path if node else None)
    return session.apply(with_alignment(session.recipe, node, align))


def toggle_lock(session: "Session", node: "Node") -> "Plan":
    """Lock a node's layers, or unlock them."""
    if node.layer:
        return session.toggle_lock(node.path)
    lock, name = session.recipe.lock, node.pattern
    changed = tuple(key for key in lock if key != name) if name in lock else (*lock, name)
    return session.apply(session.recipe.changed(lock=changed))


def _last(table: Mapping[str, T], name: str, value: T) -> dict[str, T]:
    """A table with an entry at its end, where it wins over the globs before it."""
    return {**{key: old for key, old in table.items() if key != name}, name: value}
