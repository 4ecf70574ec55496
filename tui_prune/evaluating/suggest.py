"""From a sensitivity scan to a recipe: each layer's ratio by what it can bear, within a target."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tui_prune.channels.graph import Graph, Group
from tui_prune.errors import UsageError
from tui_prune.evaluating.sensitivity import Curve, Planning, Point, Sensitivity, units
from tui_prune.measuring.cost import Cost, CostModel
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent

STEP = 0.02
"""Ratios of a suggestion are multiples of it."""
LARGEST_RATIO = 0.98
PRECISION = 2e-3
"""Of the ratio for all layers that suggestions are compared with."""
EVENNESS = 1e-3
"""How much of the largest damage it counts to cut one layer far and others not at all, where the scan shows nothing."""

_WORDS = {"macs": "MACs", "params": "parameters"}

Measure = Callable[[Plan, Progress], tuple[float, float] | None]


@dataclass(frozen=True)
class Goal:
    """The share of what the network needs that may be left, by a field of `Cost`: "macs", "params"."""

    shares: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.shares:
            raise UsageError("Say what the suggested network may need: a share of the MACs or of the parameters.")
        for name, share in self.shares.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
                raise UsageError(f"The target of {_WORDS[name]} must be a share above 0 and up to 1; it is {share!r}.")

    def excess(self, before: Cost, after: Cost) -> float:
        """By which share of their limits the costs lie above them, in sum; 0: the goal is met."""
        return sum(
            max(0.0, getattr(after, name) / (share * getattr(before, name) or 1) - 1)
            for name, share in self.shares.items()
        )

    def in_words(self) -> str:
        """What is asked for."""
        return " and ".join(f"{100 * share:.3g} % of the {_WORDS[name]}" for name, share in self.shares.items())


def suggest(
    found: Sensitivity,
    graph: Graph,
    recipe: Recipe,
    planning: Planning,
    goal: Goal,
    *,
    measure: Measure | None = None,
    progress: Progress = silent,
) -> Recipe:
    """A recipe whose plan meets the goal with the least damage that the scan predicts, under the recipe's alignments,
    locks and criterion; its own ratios are replaced.

    With `measure` (score and change of a plan's network) the allocations by different readings of the scan, the same
    ratio everywhere and one ranking of all channels are measured as well, and the best of them is taken.

    Raises `UsageError` where the goal can't be met.
    """
    recipe = recipe.changed(ratio=0.0, layers={}, scope="local")
    progress("suggest", 0.0)
    allocation = _Allocation(found, graph, recipe, planning, goal)
    candidates = [allocation.recipe(*weights) for weights in _READINGS]
    if measure is None:
        return candidates[0]
    candidates += [*allocation.uniform(), *allocation.ranked()]
    best: tuple[tuple[float, float], Recipe] | None = None
    tried: set[bytes] = set()
    for number, candidate in enumerate(candidates):
        plan = planning(graph, candidate)
        if plan.keep.tobytes() in tried:
            continue
        tried.add(plan.keep.tobytes())
        here = part(progress, number / len(candidates), (number + 1) / len(candidates))
        measured = measure(plan, here)
        if measured is not None and (best is None or (measured[0], -measured[1]) > best[0]):
            best = (measured[0], -measured[1]), candidate
    progress("suggest", 1.0)
    return candidates[0] if best is None else best[1]


_READINGS = ((1.0, 1.0), (0.0, 1.0), (1.0, 0.1))
"""How much the drop of the score and the change of the outputs count, each as a share of the largest in the scan."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """What a name of the recipe's table cuts, at each level."""

    name: str
    channels: np.ndarray
    ratios: tuple[float, ...]
    """0 and then those at which less stays than before."""
    kept: tuple[np.ndarray, ...]
    """For each ratio, which of the channels stay."""


class _Allocation:
    """Ratios for all units that meet a goal."""

    def __init__(self, found: Sensitivity, graph: Graph, recipe: Recipe, planning: Planning, goal: Goal) -> None:
        self._found, self._graph, self._recipe, self._planning, self._goal = found, graph, recipe, planning, goal
        self._costs = CostModel(graph)
        self._before = self._costs.measure(np.ones(graph.classes.channels, bool))[0]
        count = int(LARGEST_RATIO / STEP + 1e-9)
        ratios = [round(STEP * number, 4) for number in range(1, count + 1)]
        self._plans = [planning(graph, recipe.changed(ratio=ratio)) for ratio in ratios]
        curves = {curve.layer: curve for curve in found.curves if curve.points}
        self._curves: dict[str, Curve] = {}
        self._units: list[_Unit] = []
        for name, groups in units(graph.groups).items():
            unit = self._unit(name, groups, ratios)
            if name in curves and len(unit.ratios) > 1:
                self._units.append(unit)
                self._curves[name] = curves[name]

    def recipe(self, drop_weight: float, change_weight: float) -> Recipe:
        """The ratios that do the least damage."""
        damages = [self._damage(unit, drop_weight, change_weight) for unit in self._units]
        levels = self._greedy(damages)
        return self._as_recipe(levels)

    def uniform(self) -> list[Recipe]:
        """The smallest ratio for all layers that meets the goal; nothing where none does."""

        def same(ratio: float) -> Recipe:
            return self._recipe.changed(layers={unit.name: ratio for unit in self._units})

        return self._smallest(same)

    def ranked(self) -> list[Recipe]:
        """What the smallest ratio of one ranking of all channels keeps that meets the goal, as ratios of the layers."""

        def as_layers(ratio: float) -> Recipe:
            keep = self._planning(self._graph, self._recipe.changed(ratio=ratio, scope="global")).keep
            shares = {unit.name: 1 - keep[unit.channels].mean() for unit in self._units}
            return self._recipe.changed(
                layers={name: round(float(share), 6) for name, share in shares.items() if share}
            )

        return self._smallest(as_layers)

    def _smallest(self, make: Callable[[float], Recipe]) -> list[Recipe]:
        low, high = 0.0, 1.0
        found: list[Recipe] = []
        while high - low > PRECISION:
            middle = round((low + high) / 2, 4)
            recipe = make(middle)
            if self._excess_of(self._planning(self._graph, recipe)):
                low = middle
            else:
                high, found = middle, [recipe]
        return found

    def _excess_of(self, plan: Plan) -> float:
        return self._goal.excess(plan.before, plan.after)

    def _unit(self, name: str, groups: Sequence[Group], ratios: Sequence[float]) -> _Unit:
        channels = np.concatenate([group.channels for group in groups])
        own: list[float] = [0.0]
        kept = [np.ones(len(channels), bool)]
        for ratio, plan in zip(ratios, self._plans, strict=True):
            mask = plan.keep[channels]
            if mask.sum() < kept[-1].sum():
                own.append(ratio)
                kept.append(mask)
        return _Unit(name, channels, tuple(own), tuple(kept))

    def _keep(self, levels: Sequence[int]) -> np.ndarray:
        keep = np.ones(self._graph.classes.channels, bool)
        for unit, level in zip(self._units, levels, strict=True):
            keep[unit.channels] = unit.kept[level]
        return keep

    def _excess(self, levels: Sequence[int]) -> float:
        return self._goal.excess(self._before, self._costs.measure(self._keep(levels))[0])

    def _damage(self, unit: _Unit, drop_weight: float, change_weight: float) -> np.ndarray:
        """The predicted damage at each level: convex, and a little of it even where the scan shows none."""
        points = [point for curve in self._found.curves for point in curve.points]
        drops = [max(0.0, self._found.reference - point.score) for point in points]
        most_drop, most_change = max(drops) or 1.0, max(point.change for point in points) or 1.0

        def damage(point: Point) -> float:
            drop = max(0.0, self._found.reference - point.score) / most_drop
            return drop_weight * drop + change_weight * point.change / most_change

        own = self._curves[unit.name].points
        ratios = np.array([0.0, *(point.ratio for point in own)])
        values = np.maximum.accumulate([0.0, *map(damage, own)])
        shares = np.array([1 - kept.mean() for kept in unit.kept])
        even = EVENNESS * shares / (1 - np.minimum(shares, 0.99))
        return _convex(shares, _extended(ratios, values, shares) + even)

    def _greedy(self, damages: Sequence[np.ndarray]) -> list[int]:
        """Take the step that costs the least damage for what it saves until the goal is met.

        What a step saves only shrinks as other layers get narrower, so a step that is still the best after its saving
        was worked out anew is the best of all.
        """
        levels = [0] * len(self._units)
        excess = self._excess(levels)
        heap = [(0.0, index) for index, unit in enumerate(self._units) if len(unit.ratios) > 1]
        while excess and heap:
            _, index = heapq.heappop(heap)
            level = levels[index]
            further = [*levels[:index], level + 1, *levels[index + 1 :]]
            left = self._excess(further)
            saved = excess - left
            price = float(damages[index][level + 1] - damages[index][level]) / saved if saved > 0 else np.inf
            if heap and price > heap[0][0] * (1 + 1e-9):
                heapq.heappush(heap, (price, index))
                if not np.isfinite(heap[0][0]):
                    break
                continue
            levels, excess = further, left
            if level + 2 < len(self._units[index].ratios):
                heapq.heappush(heap, (0.0, index))
        if excess:
            raise self._unreachable()
        return self._given_back(levels, damages)

    def _given_back(self, levels: list[int], damages: Sequence[np.ndarray]) -> list[int]:
        """Undo the most harmful steps that the goal doesn't need."""
        while True:
            steps = [(damages[n][level] - damages[n][level - 1], n) for n, level in enumerate(levels) if level]
            for _, n in sorted(steps, reverse=True):
                wider = [*levels[:n], levels[n] - 1, *levels[n + 1 :]]
                if not self._excess(wider):
                    levels = wider
                    break
            else:
                return levels

    def _as_recipe(self, levels: Sequence[int]) -> Recipe:
        table = {unit.name: unit.ratios[level] for unit, level in zip(self._units, levels, strict=True) if level}
        return self._recipe.changed(layers=table)

    def _unreachable(self) -> UsageError:
        last = self._plans[-1]
        left = " and ".join(
            f"{100 * getattr(last.after, name) / (getattr(last.before, name) or 1):.3g} % of the {_WORDS[name]}"
            for name in self._goal.shares
        )
        return UsageError(
            f"The target of {self._goal.in_words()} can't be reached: with all cut that may be, {left} are left. "
            "Lift locks, lower the alignment, or allow more."
        )


def _extended(ratios: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values between the points, where damage grows by factors rather than by sums, and beyond the last, where they
    grow at twice the slope that leads to it."""
    found = np.exp(np.interp(wanted, ratios, np.log(values + EVENNESS))) - EVENNESS
    if len(ratios) > 1:
        slope = (values[-1] - values[-2]) / max(ratios[-1] - ratios[-2], 1e-9)
        beyond = wanted > ratios[-1]
        found[beyond] = values[-1] + 2 * max(slope, values[-1]) * (wanted[beyond] - ratios[-1])
    return found


def _convex(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The largest convex function that lies nowhere above the values."""
    hull: list[int] = []
    for n in range(len(places)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (values[b] - values[a]) * (places[n] - places[a]) < (values[n] - values[a]) * (places[b] - places[a]):
                break
            hull.pop()
        hull.append(n)
    return np.interp(places, places[hull], values[hull])
