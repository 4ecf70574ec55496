"""Recipes in words: what one chooses, and what has changed from one to the next."""

from collections.abc import Callable, Mapping, Sized
from functools import cache
from typing import Any

from tui_prune.formatting import size
from tui_prune.planning.recipe import TARGETS, Recipe

Say = Callable[[Any, Any], str]
"""What has changed, of the values of a field before and after."""

MANY = 2
"""From more names on than this, they are counted."""


def what_changed(before: Recipe, after: Recipe, many: int = MANY) -> str:
    """The difference of two recipes in words: "ratio of layer1.0.conv1 50 %, align 8"; empty where there is none. More
    names than `many` are counted."""
    sayings = _sayings(many)
    changed = [name for name in sayings if _in_order(getattr(before, name)) != _in_order(getattr(after, name))]
    amounts = [name for name in changed if name in _AMOUNTS and _says(name, getattr(after, name))]
    if amounts:  # what says how much to cut has taken the place of what has said so before
        changed = [name for name in changed if name not in _AMOUNTS or name in amounts]
    elif len([name for name in changed if name in _AMOUNTS]) > 1:
        changed = [name for name in changed if name != "ratio"]
    return ", ".join(sayings[name](getattr(before, name), getattr(after, name)) for name in changed)


def given_way(before: Recipe, after: Recipe) -> str:
    """The targets or the threshold of a recipe that a ratio has taken the place of: "the target of 50 % MACs"; empty
    where there were none, or where others hold now."""
    if not (before.targets or before.threshold is not None) or after.targets or after.threshold is not None:
        return ""
    if before.threshold is not None:
        return f"the threshold {before.threshold:.4g}"
    sayings = _sayings(MANY)
    return "the target of " + " and ".join(sayings[name](None, getattr(before, name)) for name in before.targets)


def in_words(recipe: Recipe, columns: int | None = None) -> str:
    """All that a recipe chooses, in words; "nothing is cut" where that is nothing. Where names make it longer than so
    many columns, they are counted."""
    words = what_changed(Recipe(), recipe) or "nothing is cut"
    return words if columns is None or len(words) <= columns else what_changed(Recipe(), recipe, 0)


def _in_order(value: Any) -> Any:
    """Of a table also the order of its entries counts: a later glob wins."""
    return list(value.items()) if isinstance(value, Mapping) else value


def _says(name: str, value: Any) -> bool:
    return bool(value) if name == "ratio" else value is not None


def _share(value: float) -> str:
    return f"{100 * value:.4g} %"


def _target(what: str, said: Callable[[Any], str] = _share) -> Say:
    return lambda before, after: f"no target of {what}" if after is None else f"{what} to {said(after)}"


def _table(what: str, said: Callable[[Any], str], many: int) -> Say:
    """Of a table by layer: what is new in it, or gone."""

    def say(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
        new = {name: value for name, value in after.items() if name not in before or before[name] != value}
        gone = [name for name in before if name not in after]
        words = []
        if len(new) <= many:
            words += [f"{what} of {name} {said(value)}" for name, value in new.items()]
        elif len(set(new.values())) == 1:
            words.append(f"{what} of {_counted(new)} {said(next(iter(new.values())))}")
        else:
            words.append(f"{what}s of {_counted(new)}")
        if gone:
            words.append(f"no {what} of {_names(gone, many)}")
        return ", ".join(words) or f"{what}s in another order"

    return say


def _list(new: str, gone: str, many: int) -> Say:
    """Of a list of layers: which are new in it, or gone."""

    def say(before: tuple[str, ...], after: tuple[str, ...]) -> str:
        added = [name for name in after if name not in before]
        removed = [name for name in before if name not in after]
        words = [f"{verb} {_names(names, many)}" for verb, names in ((new, added), (gone, removed)) if names]
        return ", ".join(words) or f"{new} in another order"

    return say


def _names(names: list[str], many: int) -> str:
    return " and ".join(names) if len(names) <= many else _counted(names)


def _counted(names: Sized) -> str:
    return "1 layer" if len(names) == 1 else f"{len(names)} layers"


@cache
def _sayings(many: int) -> dict[str, Say]:
    """What has changed of each field, in the order in which it is said."""
    return {
        "ratio": lambda before, after: f"global ratio {_share(after)}",
        "threshold": lambda before, after: "no threshold" if after is None else f"threshold {after:.4g}",
        "target_macs": _target("MACs"),
        "target_params": _target("parameters"),
        "target_bytes": _target("bytes", size),
        "target_latency": _target("latency"),
        "layers": _table("ratio", _share, many),
        "align": lambda before, after: f"align {after}",
        "layer_align": _table("alignment", str, many),
        "align_rounding": lambda before, after: f"rounded {'to the nearest' if after == 'nearest' else after}",
        "min_channels": lambda before, after: f"at least {after} channel{'s' if after > 1 else ''} each",
        "max_ratio": lambda before, after: f"at most {_share(after)} of a layer",
        "criterion": lambda before, after: f"criterion {after}",
        "combine": lambda before, after: f"scores combined: {after}",
        "normalise": lambda before, after: f"scores normalised: {after}",
        "scope": lambda before, after: "ranked all together" if after == "global" else "ranked layer by layer",
        "lock": _list("lock", "unlock", many),
        "unlock": _list("lift the lock of", "put back the lock of", many),
        "residual": lambda before, after: f"residual streams {'stay' if after == 'keep' else 'may be cut'}",
        "grouped": lambda before, after: f"grouped layers cut: {after}",
        "heads": lambda before, after: f"attention heads cut: {after}",
        "seed": lambda before, after: f"seed {after}",
    }


_AMOUNTS = ("ratio", "threshold", *TARGETS)
