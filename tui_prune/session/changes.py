"""What a choice does to the recipe: it speaks of the network, of a layer, or of all layers in some modules.

Each is one change, and the last one wins: entries of the recipe that speak of the same layers, or of layers tied to
them, give way. Those that speak of others as well stay. Every change takes the present plan and gives a recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tui_prune.errors import UsageError
from tui_prune.formatting import share
from tui_prune.planning.criteria import DEAD_THRESHOLD
from tui_prune.planning.plan import LockedBy, Plan
from tui_prune.planning.recipe import Recipe, choose, matches, stepped
from tui_prune.session.selection import Part, Selection, a_layer

T = TypeVar("T")


def dead_only(recipe: Recipe) -> Recipe:
    """The recipe that cuts what does nothing, and no more; locks and the like stay."""
    return recipe.changed(criterion="dead", threshold=DEAD_THRESHOLD, layers={})


def tied(plan: Plan, layer: str) -> tuple[str, ...]:
    """A layer and all that put out the same channels."""
    group = plan.graph.group_of(layer)
    if group is None:
        return (layer,)
    return tuple(dict.fromkeys((layer, *group.layers, *group.followers)))


# Ratios


def that_can_be_cut(plan: Plan, where: Selection) -> Selection:
    """What a ratio can be given to: without the layers, and the modules, of which nothing can be cut.

    Raises `UsageError` with the reason where nothing is left.
    """
    stay = tuple(part for part in where.parts if any(not plan.layer(name).locked for name in part.layers))
    if where and not stay:
        why = _why_locked(plan, where.layers[0])
        raise UsageError(why if where.layer is not None else f"All of these layers are locked: {why}")
    gone = [name for part in where.parts if part not in stay for name in part.layers]
    marked = where.marked - sum(plan.layer(name).producer for name in gone) if where.marked else 0
    return replace(where, parts=stay, marked=marked)


def _why_locked(plan: Plan, name: str) -> str:
    layer, group = plan.layer(name), plan.graph.group_of(name)
    reason = layer.locked
    if layer.locked_by is LockedBy.USER:
        return f"{name} is locked (by you); L unlocks it."
    if group is not None and group.liftable:
        return f"{name} is locked ({reason}); L unlocks it."
    return f"{name} is locked: {reason}."


def ratio_of(plan: Plan, where: Selection) -> float:
    """The ratio to start from when another is asked for: the one in force, whether it was typed or follows from a
    target, a threshold or a ranking."""
    recipe = plan.recipe
    whole = plan.ratio if recipe.threshold is None else cut_share(plan)
    if not where:
        return whole
    first = where.parts[0]
    if first.patterns[0] in recipe.layers:
        return recipe.layers[first.patterns[0]]
    if not first.is_layer:
        return whole
    layer = plan.layer(first.name)
    ranked = recipe.threshold is not None or recipe.scope == "global"
    return round(1 - layer.after / layer.before, 4) if ranked and not layer.own_ratio else layer.ratio


def cut_share(plan: Plan) -> float:
    """The share of all layers' channels that a plan cuts."""
    layers = [layer for layer in plan.layers if layer.producer]
    before, after = sum(layer.before for layer in layers), sum(layer.after for layer in layers)
    return round(1 - after / before, 4) if before else 0.0


def with_ratio(plan: Plan, where: Selection, ratio: float) -> Recipe:
    """The recipe with another ratio."""
    if not where:
        return plan.recipe.changed(ratio=ratio)
    return plan.recipe.changed(layers=_with(plan, plan.recipe.layers, where, ratio))


def with_stepped_ratio(plan: Plan, where: Selection, by: float) -> Recipe:
    """The recipe with ratios raised or lowered, each from where it is. Raises `UsageError` where all is locked."""
    recipe, where = plan.recipe, that_can_be_cut(plan, where)
    if not where:
        return recipe.changed(ratio=stepped(plan.ratio, by))
    kept = _without(plan, recipe.layers, where)
    inner = {key: ratio for key, ratio in recipe.layers.items() if key not in kept and key not in where.patterns}

    def now(part: Part, pattern: str) -> float:
        if part.is_layer:
            return plan.layer(part.name).ratio
        if pattern in recipe.layers:
            return recipe.layers[pattern]
        plain = (plan.layer(name) for name in part.layers if not any(matches(key, name) for key in inner))
        return next((layer.ratio for layer in plain if layer.group is not None), plan.ratio)

    outer = {pattern: stepped(now(part, pattern), by) for part in where.parts for pattern in part.patterns}
    alone = _all_tied(plan, (part.name for part in where.parts if part.is_layer))
    inside = {key: stepped(ratio, by) for key, ratio in inner.items() if key not in alone}
    return recipe.changed(layers=kept | outer | inside)


def without_ratio(plan: Plan, where: Selection) -> Recipe:
    """The recipe without own ratios, so that the global one applies again; of the whole network, that is set to
    nothing.

    Raises `UsageError` where the ratio comes from a name that speaks of other layers as well.
    """
    recipe = plan.recipe
    if not where:
        return recipe.changed(ratio=0.0)
    kept = _without(plan, recipe.layers, where)
    if kept == recipe.layers:
        _complain_of_wider(plan, where)
    return recipe.changed(layers=kept)


def _complain_of_wider(plan: Plan, where: Selection) -> None:
    for name in where.layers:
        key = next((key for key in reversed([*plan.recipe.layers]) if matches(key, name)), None)
        if key is not None and plan.layer(name).own_ratio:
            raise UsageError(f"{name} has its ratio from {key}: clear it there, or give it one of its own.")


# Alignments


def alignment_of(plan: Plan, where: Selection) -> int | str:
    """The alignment to start from when another is asked for."""
    recipe = plan.recipe
    if not where:
        return recipe.align
    first = where.parts[0]
    own = own_alignment(plan, first.name) if first.is_layer else recipe.layer_align.get(first.patterns[0])
    return recipe.align if own is None else own


def with_alignment(plan: Plan, where: Selection, align: int | str) -> Recipe:
    """The recipe with another alignment ("auto", of the network: what suits this device)."""
    if not where:
        return plan.recipe.changed(align=align)
    return plan.recipe.changed(layer_align=_with(plan, plan.recipe.layer_align, where, align))


def own_alignment(plan: Plan, layer: str) -> int | None:
    """The alignment that a layer, or one tied to it, has of its own."""
    table, group = plan.recipe.layer_align, plan.graph.group_of(layer)
    if not table or group is None:
        return None
    found = choose(table, (*group.layers, *group.followers), group.own_layers)
    return None if found is None else found[1]


# Locks


def with_lock_toggled(plan: Plan, where: Selection) -> Recipe:
    """The recipe with layers locked, or unlocked where all are locked. Of a single layer it takes a lock of the user's
    off, or lifts that of a model output.

    Raises `UsageError` with the reason when the lock of a single layer can't be lifted.
    """
    if where.layer is not None:
        return _with_layer_toggled(plan, where.layer)
    locked = all(_is_locked(plan.recipe, name) for name in where.layers)
    return _with_lock(plan, plan.recipe, where, not locked)


def lifted_output(plan: Plan, where: Selection) -> str | None:
    """The layer whose lock as a model output `with_lock_toggled` would lift; None where it does something else."""
    if where.layer is None:
        return None
    try:
        lifted = set(_with_layer_toggled(plan, where.layer).unlock) - set(plan.recipe.unlock)
    except UsageError:
        return None
    return next(iter(lifted), None)


def _with_layer_toggled(plan: Plan, layer: str) -> Recipe:
    names, recipe = tied(plan, layer), plan.recipe
    own = [key for key in recipe.lock if any(matches(key, name) for name in names)]
    if own:
        return _with_lock(plan, recipe, Selection((a_layer(layer),)), False)
    lifted = [key for key in recipe.unlock if any(matches(key, name) for name in names)]
    if lifted:
        return recipe.changed(unlock=tuple(key for key in recipe.unlock if key not in lifted))
    group = plan.graph.group_of(layer)
    if group is None:
        raise UsageError(f"{layer} puts out no channels that could be cut or locked.")
    if not group.fully_locked:
        return recipe.changed(lock=(*recipe.lock, group.name))
    if not group.liftable:
        lock = next((lock for lock in group.locks if not lock.is_output), group.locks[0])
        place = f" ({lock.where})" if lock.where else ""
        raise UsageError(f"{layer} can't be unlocked: {lock.words}{place}.")
    return recipe.changed(unlock=(*recipe.unlock, group.name))


def _is_locked(recipe: Recipe, layer: str) -> bool:
    return any(matches(key, layer) for key in recipe.lock)


def _with_lock(plan: Plan, recipe: Recipe, where: Selection, lock: bool) -> Recipe:
    """The recipe with locks of the user's on these layers, or without any on them; other layers keep theirs."""
    if lock:
        free = [part for part in where.parts if not all(_is_locked(recipe, name) for name in part.layers)]
        more = [pattern for part in free for pattern in part.patterns if pattern not in recipe.lock]
        return recipe.changed(lock=(*recipe.lock, *more))
    names = _all_tied(plan, where.layers)
    gone = [key for key in recipe.lock if any(matches(key, name) for name in names)]
    others = [layer.name for layer in plan.layers if layer.producer and layer.name not in names]
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


def setting_of(plan: Plan, where: Selection) -> Setting:
    """What is chosen for a layer, or for all in a module. Raises `UsageError` where these differ."""

    def setting(name: str) -> Setting:
        layer = plan.layer(name)
        locked = any(_is_locked(plan.recipe, other) for other in tied(plan, name))
        return Setting(layer.ratio if layer.own_ratio else None, own_alignment(plan, name), locked)

    found = {setting(name) for name in where.layers}
    if len(found) != 1:
        name = " and ".join(part.name for part in where.parts)
        raise UsageError(f"The layers in {name} have different settings: copy that of one of them.")
    return found.pop()


def with_setting(plan: Plan, where: Selection, setting: Setting) -> Recipe:
    """The recipe with the same chosen for other layers."""
    recipe = plan.recipe
    layers, aligns = _without(plan, recipe.layers, where), _without(plan, recipe.layer_align, where)
    if setting.ratio is not None:
        layers |= dict.fromkeys(where.patterns, setting.ratio)
    if setting.align is not None:
        aligns |= dict.fromkeys(where.patterns, setting.align)
    return _with_lock(plan, recipe.changed(layers=layers, layer_align=aligns), where, setting.locked)


# Tables of a recipe


def _with(plan: Plan, table: Mapping[str, T], where: Selection, value: T) -> dict[str, T]:
    """A table with entries at its end, where they win over the globs before them."""
    return {**_without(plan, table, where), **dict.fromkeys(where.patterns, value)}


def _without(plan: Plan, table: Mapping[str, Any], where: Selection) -> dict[str, Any]:
    """A table without what speaks of these layers, or of layers tied to them, and of no others."""
    names = _all_tied(plan, where.layers)
    known = {layer.name for layer in plan.layers if layer.producer}

    def stays(key: str) -> bool:
        if key in names or key in where.patterns:
            return False
        if key in known:
            return True
        meant = [name for name in known if matches(key, name)]
        return not meant or not names.issuperset(meant)

    return {key: value for key, value in table.items() if stays(key)}


def _all_tied(plan: Plan, layers: Iterable[str]) -> set[str]:
    """Layers and all that put out the same channels."""
    found: set[str] = set()
    for layer in layers:
        if layer not in found:
            found.update(tied(plan, layer))
    return found
