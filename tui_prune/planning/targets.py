"""Targets: the largest network that needs no more of something than was asked, found from plans alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from tui_prune.errors import UsageError
from tui_prune.formatting import share, size
from tui_prune.graph.graph import Graph, Group
from tui_prune.planning.plan import LayerPlan, Plan, Reached
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.widths import Draft, Kept

Spent = Mapping[str, float]
"""By the recipe's fields ("target_macs"): what a network needs of each."""

NAMED = 3
"""So many layers that stand in the way are named."""

TARGET_WORDS = {
    "target_macs": "MACs",
    "target_params": "parameters",
    "target_bytes": "bytes",
    "target_latency": "latency",
}


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


@dataclass(frozen=True, eq=False)
class Found:
    """The network that meets all goals."""

    ratio: float
    """The smallest at which they are met, in as few digits as tell it from the next."""
    kept: Kept
    wider: int
    """So many groups are one step wider than the ratio would have them, since the goals allow it."""


def largest_network(draft: Draft, spent: Callable[[np.ndarray], Spent], goals: Sequence[Goal]) -> Found | None:
    """The largest network that meets all goals; None: no ratio meets them.

    A larger ratio keeps no channel that a smaller one cuts, so what a plan needs never rises with it, and halving the
    list of all ratios that differ finds the first that fits. Between it and the one before, which doesn't fit, many
    groups may differ by a step; as many of them as can be stay at the wider one, those first whose step would cost the
    most important channels.
    """
    ratios = draft.ratios()

    def fits(kept: Kept) -> bool:
        needs = spent(kept.mask)
        return all(needs[goal.target] <= goal.limit * (1 + 1e-12) for goal in goals)

    low, high = 0, len(ratios) - 1
    if fits(whole := draft.keep(0.0)):
        return Found(0.0, whole, 0)
    if not fits(draft.keep(float(ratios[high]))):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(draft.keep(float(ratios[middle]))) else (middle, high)
    ratio = _shortest(float(ratios[high]), float(ratios[high + 1]) if high + 1 < len(ratios) else 1.0)
    fitting, larger = draft.keep(ratio), draft.keep(float(ratios[low]))
    wider = _by_importance(draft, fitting, larger)
    low, high = 0, len(wider)
    while high - low > 1:
        middle = (low + high) // 2
        enough = fits(fitting.with_groups(larger, wider[:middle]))
        low, high = (middle, high) if enough else (low, middle)
    return Found(ratio, fitting.with_groups(larger, wider[:low]), low)


def _by_importance(draft: Draft, fitting: Kept, larger: Kept) -> list[Group]:
    """The groups that differ, by the mean score of the channels in between beside that of the whole group, the highest
    first."""
    found = []
    for group, scores in zip(draft.graph.groups, draft.scores, strict=True):
        between = larger.mask[group.channels] & ~fitting.mask[group.channels]
        if scores is not None and between.any():
            found.append((-float(scores[between].mean()) / (float(np.abs(scores).mean()) or 1.0), group.index))
    return [draft.graph.groups[index] for _, index in sorted(found)]


def found_in_words(recipe: Recipe, found: Found, reached: Sequence[Reached]) -> str:
    """What a target has led to."""
    parts = []
    for one in reached:
        predicted = " predicted" if one.target == "target_latency" else ""
        parts.append(f"{_amount(one, one.after)}{predicted} (at most {_amount(one, one.limit)})")
    whose = "of all channels together" if recipe.scope == "global" else "of each layer"
    cut = f"a cut of {100 * found.ratio:.6g} % {whose}" if found.ratio else "nothing more needs to go"
    if found.wider:
        cut += f", {found.wider} of them a step wider"
    return f"Found for the target: {cut}. Left: {', '.join(parts)}."


def unreachable(last: Plan, goals: Sequence[Goal], spent: Spent, seconds: Mapping[str, float]) -> UsageError:
    """What to say when cutting all that may be cut isn't enough: how far that goes, and what stands in the way.

    `last` is the plan that cuts the most and `spent` what it needs, `seconds` the latency of its layers.
    """
    goal = max(goals, key=lambda goal: spent[goal.target] / goal.limit if goal.limit else 0.0)
    after = {layer.name: _needed(layer, goal.target, seconds) for layer in last.layers}
    largest = sorted(last.layers, key=lambda layer: -after[layer.name])[:NAMED]
    named = [
        f"{layer.name} ({share(after[layer.name], goal.before)}: {_obstacle(layer, last)})"
        for layer in largest
        if after[layer.name] > 0
    ]
    left = spent[goal.target]
    beside = left - sum(after.values()) if goal.target == "target_latency" else 0.0
    most = "Most of it is in"
    if beside > left / 2:
        most = f"{share(beside, goal.before)} go to other operators and to starting them; of the rest most is in"
    return UsageError(
        f"The target of {_amount(goal, goal.limit)} can't be reached: with all cut that may be, "
        f"{_amount(goal, left)} are left. {most} {', '.join(named)}."
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
    return f"{100 * value / (goal.before or 1):.3g} % of the {TARGET_WORDS[goal.target]}"


def _needed(layer: LayerPlan, target: str, seconds: Mapping[str, float]) -> float:
    if target == "target_latency":
        return seconds.get(layer.name, 0.0)
    return {"target_macs": layer.macs, "target_params": layer.params, "target_bytes": layer.bytes}[target].after


def _obstacle(layer: LayerPlan, plan: Plan) -> str:
    """Why a layer is no smaller: what holds its own channels, or else those that it reads."""
    own = _held(layer)
    if own is not None:
        return own
    layers = {other.name: other for other in plan.layers}
    for name in _feeding(plan.graph, layer.name):
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


def _feeding(graph: Graph, name: str) -> list[str]:
    """The groups whose channels a layer reads."""
    layer = graph.layer(name)
    if layer is None or not len(layer.inputs):
        return []
    return [graph.groups[n].name for n in np.unique(graph.group_of_channel[layer.inputs]) if n >= 0]
