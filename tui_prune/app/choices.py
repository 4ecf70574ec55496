"""What a key does to the recipe: it speaks of the network, of a layer, of all layers in a module, or of all marked.

Each is one change, and the last one wins: entries of the recipe that speak of the same layers, or of layers tied to
them, give way. Those that speak of others as well stay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tui_prune.errors import UsageError
from tui_prune.planning.recipe import Recipe, choose, matches, stepped
from tui_prune.wording import share

if TYPE_CHECKING:
    from tui_prune.app.outline import Node
    from tui_prune.app.selection import Selection
    from tui_prune.planning.plan import Plan
    from tui_prune.session import Session

T = TypeVar("T")


# Ratios


def that_can_be_cut(session: "Session", target: "Selection") -> "Selection":
    """What a ratio can be given to: without the layers, and the modules, of which nothing can be cut.

    Raises `UsageError` with the reason where nothing is left.
    """
    plan = session.plan

    def free(node: "Node") -> bool:
        return any(not plan.layer(name).locked for name in ((node.path,) if node.layer else node.layers))

    stay = tuple(node for node in target.nodes if free(node))
    if target and not stay:
        why = _why_locked(plan, target.layers[0])
        raise UsageError(why if target.layer is not None else f"All of these layers are locked: {why}")
    gone = [name for node in target.nodes if node not in stay for name in ((node.path,) if node.layer else node.layers)]
    marked = target.marked - sum(plan.layer(name).producer for name in gone) if target.marked else 0
    return replace(target, nodes=stay, marked=marked)


def _why_locked(plan: "Plan", name: str) -> str:
    reason, group = plan.layer(name).locked, plan.graph.group_of(name)
    if reason == "locked by you":
        return f"{name} is locked (by you); l unlocks it."
    if group is not None and group.liftable:
        return f"{name} is locked ({reason}); l unlocks it."
    return f"{name} is locked: {reason}."


def ratio_of(session: "Session", target: "Selection") -> float:
    """The ratio to start from when another is asked for."""
    if not target:
        return session.recipe.ratio
    first = target.nodes[0]
    if first.patterns[0] in session.recipe.layers:
        return session.recipe.layers[first.patterns[0]]
    return session.plan.layer(first.path).ratio if first.layer else session.recipe.ratio


def with_ratio(session: "Session", target: "Selection", ratio: float) -> Recipe:
    """The recipe with another ratio."""
    if not target:
        return session.recipe.changed(ratio=ratio)
    return session.recipe.changed(layers=_with(session, session.recipe.layers, target, ratio))


def step_ratio(session: "Session", target: "Selection", by: float) -> "Plan":
    """Raise or lower ratios, each from where it is. Raises `UsageError` where all is locked."""
    recipe, plan, target = session.recipe, session.plan, that_can_be_cut(session, target)
    if not target:
        return session.apply(recipe.changed(ratio=stepped(plan.ratio, by)))
    kept = _without(session, recipe.layers, target)
    inner = {key: ratio for key, ratio in recipe.layers.items() if key not in kept and key not in target.patterns}

    def now(node: "Node", pattern: str) -> float:
        if node.layer:
            return plan.layer(node.path).ratio
        if pattern in recipe.layers:
            return recipe.layers[pattern]
        plain = (plan.layer(name) for name in node.layers if not any(matches(key, name) for key in inner))
        return next((layer.ratio for layer in plain if layer.group is not None), plan.ratio)

    outer = {pattern: stepped(now(node, pattern), by) for node in target.nodes for pattern in node.patterns}
    alone = _tied(session, (node.path for node in target.nodes if node.layer))
    inside = {key: stepped(ratio, by) for key, ratio in inner.items() if key not in alone}
    return session.apply(recipe.changed(layers=kept | outer | inside))


def clear_ratio(session: "Session", target: "Selection") -> "Plan":
    """Take own ratios away, so that the global one applies again; of the whole network, that is set to nothing.

    Raises `UsageError` where the ratio comes from a name that speaks of other layers as well.
    """
    recipe = session.recipe
    if not target:
        return session.apply(recipe.changed(ratio=0.0))
    kept = _without(session, recipe.layers, target)
    if kept == recipe.layers:
        _complain_of_wider(session, target)
    return session.apply(recipe.changed(layers=kept))


def _complain_of_wider(session: "Session", target: "Selection") -> None:
    for name in target.layers:
        key = next((key for key in reversed(session.recipe.layers) if matches(key, name)), None)
        if key is not None and session.plan.layer(name).own_ratio:
            raise UsageError(f"{name} has its ratio from {key}: clear it there, or give it one of its own.")


# Alignments


def alignment_of(session: "Session", target: "Selection") -> int | str:
    """The alignment to start from when another is asked for."""
    recipe = session.recipe
    if not target:
        return recipe.align
    first = target.nodes[0]
    own = own_alignment(session.plan, first.path) if first.layer else recipe.layer_align.get(first.patterns[0])
    return recipe.align if own is None else own


def with_alignment(session: "Session", target: "Selection", align: int | str) -> Recipe:
    """The recipe with another alignment."""
    if not target:
        return session.recipe.changed(align=align)
    return session.recipe.changed(layer_align=_with(session, session.recipe.layer_align, target, align))


def own_alignment(plan: "Plan", layer: str) -> int | None:
    """The alignment that a layer, or one tied to it, has of its own."""
    table, group = plan.recipe.layer_align, plan.graph.group_of(layer)
    if not table or group is None:
        return None
    followers = tuple(member.layer for member in group.members if member.role == "follower")
    found = choose(table, (*group.layers, *followers), group.own_layers)
    return None if found is None else found[1]


# Locks


def toggle_lock(session: "Session", target: "Selection") -> "Plan":
    """Lock layers, or unlock them where all are locked.

    Raises `UsageError` with the reason when the lock of a single layer can't be lifted.
    """
    if target.layer is not None:
        return session.toggle_lock(target.layer)
    locked = all(_is_locked(session.recipe, name) for name in target.layers)
    return session.apply(_with_lock(session, session.recipe, target, not locked))


def _is_locked(recipe: Recipe, layer: str) -> bool:
    return any(matches(key, layer) for key in recipe.lock)


def _with_lock(session: "Session", recipe: Recipe, target: "Selection", lock: bool) -> Recipe:
    """The recipe with locks of the user's on these layers, or without any on them; other layers keep theirs."""
    if lock:
        free = [node for node in target.nodes if not all(_is_locked(recipe, name) for name in node.layers)]
        more = [pattern for node in free for pattern in node.patterns if pattern not in recipe.lock]
        return recipe.changed(lock=(*recipe.lock, *more))
    tied = _tied(session, target.layers)
    gone = [key for key in recipe.lock if any(matches(key, name) for name in tied)]
    others = [layer.name for layer in session.plan.layers if layer.producer and layer.name not in tied]
    stay = [name for name in others if any(matches(key, name) for key in gone)]
    return recipe.changed(lock=tuple(dict.fromkeys([*(key for key in recipe.lock if key not in gone), *stay])))


# Copy and paste


@dataclass(frozen=True)
class Setting:
    """What is chosen for a layer alone; None: nothing."""

    ratio: float | None
    align: int | None
    locked: bool

    @property
    def words(self) -> str:
        ratio = f"own {share(self.ratio, 1)}" if self.ratio is not None else "no ratio of its own"
        align = [f"align {self.align}"] if self.align is not None else []
        return ", ".join([ratio, *align, *(["locked"] if self.locked else [])])


def setting_of(session: "Session", node: "Node") -> Setting:
    """What is chosen for a layer, or for all in a module. Raises `UsageError` where these differ."""
    plan, recipe = session.plan, session.recipe

    def setting(name: str) -> Setting:
        layer = plan.layer(name)
        locked = any(_is_locked(recipe, tied) for tied in session.tied(name))
        return Setting(layer.ratio if layer.own_ratio else None, own_alignment(plan, name), locked)

    found = {setting(name) for name in ([node.path] if node.layer else node.layers)}
    if len(found) != 1:
        raise UsageError(f"The layers in {node.path} have different settings: copy that of one of them.")
    return found.pop()


def paste(session: "Session", target: "Selection", setting: Setting) -> "Plan":
    """Choose the same for other layers."""
    recipe = session.recipe
    layers, aligns = _without(session, recipe.layers, target), _without(session, recipe.layer_align, target)
    if setting.ratio is not None:
        layers |= dict.fromkeys(target.patterns, setting.ratio)
    if setting.align is not None:
        aligns |= dict.fromkeys(target.patterns, setting.align)
    changed = recipe.changed(layers=layers, layer_align=aligns)
    return session.apply(_with_lock(session, changed, target, setting.locked))


# Tables of a recipe


def _with(session: "Session", table: Mapping[str, T], target: "Selection", value: T) -> dict[str, T]:
    """A table with entries at its end, where they win over the globs before them."""
    return {**_without(session, table, target), **dict.fromkeys(target.patterns, value)}


def _without(session: "Session", table: Mapping[str, Any], target: "Selection") -> dict[str, Any]:
    """A table without what speaks of these layers, or of layers tied to them, and of no others."""
    tied = _tied(session, target.layers)
    known = {layer.name for layer in session.plan.layers if layer.producer}

    def stays(key: str) -> bool:
        if key in tied or key in target.patterns:
            return False
        if key in known:
            return True
        meant = [name for name in known if matches(key, name)]
        return not meant or not tied.issuperset(meant)

    return {key: value for key, value in table.items() if stays(key)}


def _tied(session: "Session", layers: Iterable[str]) -> set[str]:
    """Layers and all that put out the same channels."""
    found: set[str] = set()
    for layer in layers:
        if layer not in found:
            found.update(session.tied(layer))
    return found
