"""Targets: the largest network that needs no more of something than was asked, found from plans alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from tui_prune.channels.graph import Graph
from tui_prune.errors import UsageError
from tui_prune.planning.plan import LayerPlan, Plan, Reached
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.widths import Draft
from tui_prune.wording import share, size

Spent = Mapping[str, float]
"""By the recipe's fields ("target_macs"): what a network needs of each."""

NAMED = 3
"""So many layers that stand in the way are named."""

_WORDS = {"target_macs": "MACs", "target_params": "parameters", "target_bytes": "bytes", "target_latency": "latency"}


@dataclass(frozen=True)
class Goal:
    """A target in numbers."""

    target: str
    limit: float
    before: float


def goals_of(recipe: Recipe, whole: Spent) -> tuple[Goal, ...]:
    """The targets of a recipe for a network that needs `whole` as it is."""
    limits = {
        name: getattr(recipe, name) if name == "target_bytes" else getattr(recipe, name) * whole[name]
        for name in recipe.targets
    }
    return tuple(Goal(name, limit, whole[name]) for name, limit in limits.items())


def largest_network(draft: Draft, spent: Callable[[np.ndarray], Spent], goals: Sequence[Goal]) -> float | None:
    """The smallest ratio whose plan meets all goals, in as few digits as tell it from the next; None: no ratio does.

    A larger ratio keeps no channel that a smaller one cuts, so what a plan needs never rises with it, and halving the
    list of all ratios that differ finds the first that fits.
    """
    ratios = draft.ratios()

    def fits(place: int) -> bool:
        needs = spent(draft.keep(float(ratios[place])).keep)
        return all(needs[goal.target] <= goal.limit * (1 + 1e-12) for goal in goals)

    low, high = 0, len(ratios) - 1
    if fits(low):
        return 0.0
    if not fits(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return _shortest(float(ratios[high]), float(ratios[high + 1]) if high + 1 < len(ratios) else 1.0)


def found_in_words(recipe: Recipe, ratio: float, reached: Sequence[Reached]) -> str:
    """What a target has led to."""
    parts = []
    for one in reached:
        predicted = " predicted" if one.target == "target_latency" else ""
        parts.append(f"{_amount(one, one.after)}{predicted} (at most {_amount(one, one.limit)})")
    whose = "of all channels together" if recipe.scope == "global" else "of each layer"
    cut = f"a cut of {100 * ratio:.6g} % {whose}" if ratio else "nothing more needs to go"
    return f"Found for the target: {cut}. Left: {', '.join(parts)}."


def unreachable(last: Plan, goals: Sequence[Goal], spent: Spent, seconds: Mapping[str, float]) -> UsageError:
    """What to say when cutting all that may be cut isn't enough: how far that goes, and what stands in the way.

    `last` is the plan that cuts the most and `spent` what it needs, `seconds` the latency of its layers.
    """
    goal = max(goals, key=lambda goal: spent[goal.target] / goal.limit if goal.limit else 0.0)
    after = {layer.name: _needed(layer, goal.target, seconds) for layer in last.layers}
    largest = sorted(last.layers, key=lambda layer: -after[layer.name])[:NAMED]
    group_of_channel = np.full(last.graph.classes.channels, -1)
    for group in last.graph.groups:
        group_of_channel[group.channels] = group.index
    named = [
        f"{layer.name} ({share(after[layer.name], goal.before)}: {_obstacle(layer, last, group_of_channel)})"
        for layer in largest
        if after[layer.name] > 0
    ]
    return UsageError(
        f"The target of {_amount(goal, goal.limit)} can't be reached: with all cut that may be, "
        f"{_amount(goal, spent[goal.target])} are left. Most of it is in {', '.join(named)}."
    )


def _shortest(low: float, high: float) -> float:
    """The number with the fewest decimals from `low` up to, but not including, `high`."""
    for digits in range(1, 9):
        value = ceil(low * 10**digits - 1e-9) / 10**digits
        if value < high - 1e-9:
            return value
    return low


def _amount(goal: Goal | Reached, value: float) -> str:
    if goal.target == "target_bytes":
        return size(value)
    return f"{100 * value / (goal.before or 1):.3g} % of the {_WORDS[goal.target]}"


def _needed(layer: LayerPlan, target: str, seconds: Mapping[str, float]) -> float:
    if target == "target_latency":
        return seconds.get(layer.name, 0.0)
    return {"target_macs": layer.macs, "target_params": layer.params, "target_bytes": layer.bytes}[target].after


def _obstacle(layer: LayerPlan, plan: Plan, group_of_channel: np.ndarray) -> str:
    """Why a layer is no smaller: what holds its own channels, or else those that it reads."""
    own = _held(layer)
    if own is not None:
        return own
    layers = {other.name: other for other in plan.layers}
    for name in _feeding(plan.graph, layer.name, group_of_channel):
        held = _held(layers[name]) if name in layers else None
        if held is not None:
            return f"reads {name}, {held}"
    return f"{layer.after} of {layer.before} channels are left"


def _held(layer: LayerPlan) -> str | None:
    if layer.locked:
        return layer.locked
    if layer.own_ratio:
        return f"its own ratio is {100 * layer.ratio:.3g} %"
    return layer.note or None


def _feeding(graph: Graph, name: str, group_of_channel: np.ndarray) -> list[str]:
    """The groups whose channels a layer reads."""
    layer = graph.layer(name)
    if layer is None or not len(layer.inputs):
        return []
    return [graph.groups[n].name for n in np.unique(group_of_channel[layer.inputs]) if n >= 0]
