"""Recipes in words: what one chooses, and what has changed from one to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

from tui_prune.planning.fields import FIELDS, MANY, Field
from tui_prune.planning.recipe import AMOUNTS, Recipe, says_amount


def what_changed(before: Recipe, after: Recipe, many: int = MANY, fields: Sequence[Field] = FIELDS) -> str:
    """The difference of two recipes in words: "ratio of layer1.0.conv1 50 %, align 8"; empty where there is none. More
    names than `many` are counted."""
    sayings = {field.name: field.say for field in fields}
    changed = [name for name in sayings if _in_order(getattr(before, name)) != _in_order(getattr(after, name))]
    amounts = [name for name in changed if name in _AMOUNTS and says_amount(name, getattr(after, name))]
    if amounts:  # what says how much to cut has taken the place of what has said so before
        changed = [name for name in changed if name not in _AMOUNTS or name in amounts]
    elif len([name for name in changed if name in _AMOUNTS]) > 1:
        changed = [name for name in changed if name != "ratio"]
    return ", ".join(sayings[name](getattr(before, name), getattr(after, name), many) for name in changed)


def given_way(before: Recipe, after: Recipe) -> str:
    """The targets or the threshold of a recipe that a ratio has taken the place of: "the target of 50 % MACs"; empty
    where there were none, or where others hold now."""
    if not (before.targets or before.threshold is not None) or after.targets or after.threshold is not None:
        return ""
    if before.threshold is not None:
        return f"the threshold {before.threshold:.4g}"
    sayings = {field.name: field.say for field in FIELDS}
    return "the target of " + " and ".join(sayings[name](None, getattr(before, name), MANY) for name in before.targets)


def in_words(recipe: Recipe, columns: int | None = None) -> str:
    """All that a recipe chooses, in words; "nothing is cut" where that is nothing. Where names make it longer than so
    many columns, they are counted."""
    words = what_changed(Recipe(), recipe) or "nothing is cut"
    return words if columns is None or len(words) <= columns else what_changed(Recipe(), recipe, 0)


def _in_order(value: Any) -> Any:
    """Of a table also the order of its entries counts: a later glob wins."""
    return list(value.items()) if isinstance(value, Mapping) else value


_AMOUNTS = frozenset(name for row in AMOUNTS for name in row)
