"""Ratios of layers that meet a goal: the same for all, by one ranking of all channels, by what a scan has shown."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tui_prune.cost.cost import Cost, CostModel
from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph, Group
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.search.curves import ErrorCurve, ErrorCurves, units
from tui_prune.search.sensitivity import Planning, Point, Sensitivity

_WORDS = {"macs": "MACs", "params": "parameters"}


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

    def left_in_words(self, before: Cost, after: Cost) -> str:
        """What is left of each."""
        return " and ".join(
            f"{100 * getattr(after, name) / (getattr(before, name) or 1):.3g} % of the {_WORDS[name]}"
            for name in self.shares
        )


STEP = 0.02
"""Ratios by a scan are multiples of it."""
LARGEST_RATIO = 0.98
PRECISION = 2e-3
"""Of the one ratio that is looked for."""
EVENNESS = 1e-3
"""How much of the largest damage it counts to cut one layer far and others not at all, where the scan shows nothing."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """What a name of the recipe's table cuts, at each level."""

    name: str
    channels: np.ndarray
    ratios: tuple[float, ...]
    """0 and then those at which less stays than before."""
    kept: tuple[np.ndarray, ...]
    """For each ratio, which of the channels stay."""


class Allocation:
    """Recipes that differ from one in the ratios of layers, and meet a goal."""

    def __init__(self, graph: Graph, recipe: Recipe, planning: Planning, goal: Goal) -> None:
        """`recipe` has no ratios of its own and is local.

        Raises `UsageError` where the goal can't be met, `TuiPruneError` when its criterion can't score the channels.
        """
        self._graph, self._recipe, self._planning, self._goal = graph, recipe, planning, goal
        self._costs = CostModel(graph)
        self._before = self._costs.measure(np.ones(graph.classes.channels, bool))[0]
        count = int(LARGEST_RATIO / STEP + 1e-9)
        ratios = [round(STEP * number, 4) for number in range(1, count + 1)]
        self._plans = [planning(graph, recipe.changed(ratio=ratio)) for ratio in ratios]
        if goal.excess(self._plans[-1].before, self._plans[-1].after):
            raise _unreachable(goal, self._plans[-1])
        found = (self._unit(name, groups, ratios) for name, groups in units(graph.groups).items())
        self._units = [unit for unit in found if len(unit.ratios) > 1]

    def uniform(self) -> list[Recipe]:
        """The smallest ratio for all layers that meets the goal; nothing where none does."""

        def same(ratio: float) -> Recipe:
            return self._recipe.changed(layers={unit.name: ratio for unit in self._units})

        return self._smallest(same)

    def ranked(self, normalise: str) -> list[Recipe]:
        """What the smallest ratio of one ranking of all channels keeps that meets the goal, as ratios of the layers.
        `normalise` is the recipe's field, for that ranking."""
        ranking = self._recipe.changed(scope="global", normalise=normalise)

        def as_layers(ratio: float) -> Recipe:
            keep = self._planning(self._graph, ranking.changed(ratio=ratio)).keep
            shares = {unit.name: 1 - keep[unit.channels].mean() for unit in self._units}
            return self._recipe.changed(layers={name: _up(share) for name, share in shares.items() if share})

        return self._smallest(as_layers)

    def scanned(self, found: Sensitivity, drop_weight: float, change_weight: float) -> Recipe:
        """The ratios that do the least damage by a scan, in which the drop of the score and the change of the outputs
        count so much, each as a share of the largest of the scan. Layers that it doesn't know stay whole.

        Raises `UsageError` where the goal can't be met.
        """
        curves = {curve.layer: curve.points for curve in found.curves if curve.points}
        chosen = [unit for unit in self._units if unit.name in curves]
        damage = _Damage(found, drop_weight, change_weight)
        damages = [damage.at_levels(unit, curves[unit.name]) for unit in chosen]
        levels = self._greedy(chosen, damages)
        table = {unit.name: unit.ratios[level] for unit, level in zip(chosen, levels, strict=True) if level}
        return self._recipe.changed(layers=table)

    def curved(self, found: ErrorCurves) -> Recipe:
        """The ratios that leave the least error in sum, by curves that one pass has shown. Layers without a curve stay
        whole, unless the goal can't be met so: then they are taken for as sensitive as the most sensitive other.

        Raises `UsageError` where the goal can't be met.
        """
        curves = {curve.layer: curve for curve in found.curves}
        chosen = [unit for unit in self._units if unit.name in curves]
        damages = [_errors_at(unit, curves[unit.name]) for unit in chosen]
        try:
            levels = self._greedy(chosen, damages)
        except UsageError:
            worst = max((float(errors[-1]) for errors in damages), default=1.0)
            others = [unit for unit in self._units if unit.name not in curves]
            chosen += others
            damages += [worst * np.array([1 - kept.mean() for kept in unit.kept]) ** 2 for unit in others]
            levels = self._greedy(chosen, damages)
        table = {unit.name: unit.ratios[level] for unit, level in zip(chosen, levels, strict=True) if level}
        return self._filled(self._recipe.changed(layers=table))

    def largest_units(self, most: int) -> list[str]:
        """The names that ratios can be given to, by how much of what the goal is about goes when half of each goes
        alone, the most first."""
        saved = []
        whole = [0] * len(self._units)
        uncut = self._excess(self._units, whole)
        for number, unit in enumerate(self._units):
            level = int(np.searchsorted(unit.ratios, 0.5).clip(1, len(unit.ratios) - 1))
            saved.append(uncut - self._excess(self._units, [*whole[:number], level, *whole[number + 1 :]]))
        order = np.argsort(-np.array(saved), kind="stable")
        return [self._units[number].name for number in order[:most]]

    def shifted(self, recipe: Recipe, name: str, factor: float) -> Recipe | None:
        """A recipe of this allocation with so many times as many channels of one unit, and of all others as many times
        as then meets the goal; None where nothing does, or nothing changes."""
        kept = {unit.name: 1 - recipe.layers.get(unit.name, 0.0) for unit in self._units}
        own = min(1.0, kept[name] * factor)
        if own == kept[name]:
            return None

        def scaled(scale: float) -> Recipe:
            wanted = {unit: own if unit == name else min(1.0, share * scale) for unit, share in kept.items()}
            layers = {unit: min(round(1 - share, 6), LARGEST_RATIO) for unit, share in wanted.items() if share < 1}
            return self._recipe.changed(layers=layers)

        low, high, found = 0.0, max(1.0, 1 / factor) * 1.25, None
        while high - low > PRECISION:
            middle = (low + high) / 2
            candidate = scaled(middle)
            plan = self._planning(self._graph, candidate)
            if self._goal.excess(plan.before, plan.after):
                high = middle
            else:
                low, found = middle, candidate
        return None if found is None else self._filled(found)

    def _filled(self, recipe: Recipe) -> Recipe:
        """The recipe with one step more of each unit that the goal has room for, the narrowest first."""
        step = self._recipe.align if isinstance(self._recipe.align, int) else 1
        for unit in sorted(self._units, key=lambda unit: -recipe.layers.get(unit.name, 0.0)):
            if unit.name in recipe.layers:
                ratio = _up(max(0.0, recipe.layers[unit.name] - step / len(unit.channels)))
                layers = {**recipe.layers, unit.name: ratio}
                wider = self._recipe.changed(layers={name: own for name, own in layers.items() if own})
                plan = self._planning(self._graph, wider)
                if not self._goal.excess(plan.before, plan.after):
                    recipe = wider
        return recipe

    def _smallest(self, make: Callable[[float], Recipe]) -> list[Recipe]:
        low, high = 0.0, 1.0
        found: list[Recipe] = []
        while high - low > PRECISION:
            middle = round((low + high) / 2, 4)
            recipe = make(middle)
            plan = self._planning(self._graph, recipe)
            if self._goal.excess(plan.before, plan.after):
                low = middle
            else:
                high, found = middle, [recipe]
        return [self._filled(recipe) for recipe in found]

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

    def _excess(self, chosen: Sequence[_Unit], levels: Sequence[int]) -> float:
        keep = np.ones(self._graph.classes.channels, bool)
        for unit, level in zip(chosen, levels, strict=True):
            keep[unit.channels] = unit.kept[level]
        return self._goal.excess(self._before, self._costs.measure(keep)[0])

    def _greedy(self, chosen: Sequence[_Unit], damages: Sequence[np.ndarray]) -> list[int]:
        """Take the step that costs the least damage for what it saves until the goal is met.

        What a step saves only shrinks as other layers get narrower, so a step that is still the best after its saving
        was worked out anew is the best of all.
        """
        levels = [0] * len(chosen)
        excess = self._excess(chosen, levels)
        heap = [(0.0, index) for index in range(len(chosen))]
        while excess and heap:
            _, index = heapq.heappop(heap)
            level = levels[index]
            further = [*levels[:index], level + 1, *levels[index + 1 :]]
            left = self._excess(chosen, further)
            saved = excess - left
            price = float(damages[index][level + 1] - damages[index][level]) / saved if saved > 0 else np.inf
            if heap and price > heap[0][0] * (1 + 1e-9):
                heapq.heappush(heap, (price, index))
                if not np.isfinite(heap[0][0]):
                    break
                continue
            levels, excess = further, left
            if level + 2 < len(chosen[index].ratios):
                heapq.heappush(heap, (0.0, index))
        if excess:
            raise _unreachable(self._goal, self._plans[-1])
        return self._given_back(chosen, levels, damages)

    def _given_back(self, chosen: Sequence[_Unit], levels: list[int], damages: Sequence[np.ndarray]) -> list[int]:
        """Undo the most harmful steps that the goal doesn't need."""
        while True:
            steps = [(damages[n][level] - damages[n][level - 1], n) for n, level in enumerate(levels) if level]
            for _, n in sorted(steps, reverse=True):
                wider = [*levels[:n], levels[n] - 1, *levels[n + 1 :]]
                if not self._excess(chosen, wider):
                    levels = wider
                    break
            else:
                return levels


def _errors_at(unit: _Unit, curve: ErrorCurve) -> np.ndarray:
    """The error that is left at each level of a unit: convex, and a little of it even where there is none."""
    shares = np.array([1 - kept.mean() for kept in unit.kept])
    ratios = [0.0, *(point.ratio for point in curve.points)]
    values = np.interp(shares, ratios, [0.0, *(point.left for point in curve.points)])
    largest = max((point.left for point in curve.points), default=0.0)
    even = EVENNESS * max(largest, 1e-6) * shares / (1 - np.minimum(shares, 0.99))
    return _convex(shares, np.maximum.accumulate(values) + even)


class _Damage:
    """What a scan predicts of a layer's ratios."""

    def __init__(self, found: Sensitivity, drop_weight: float, change_weight: float) -> None:
        self._reference = found.reference
        points = [point for curve in found.curves for point in curve.points]
        self._drop = drop_weight / (max((self._dropped(point) for point in points), default=0.0) or 1.0)
        self._change = change_weight / (max((point.change for point in points), default=0.0) or 1.0)

    def at_levels(self, unit: _Unit, points: Sequence[Point]) -> np.ndarray:
        """The predicted damage at each level: convex, and a little of it even where the scan shows none."""
        ratios = np.array([0.0, *(point.ratio for point in points)])
        values = np.maximum.accumulate([0.0, *map(self._of, points)])
        shares = np.array([1 - kept.mean() for kept in unit.kept])
        even = EVENNESS * shares / (1 - np.minimum(shares, 0.99))
        return _convex(shares, _extended(ratios, values, shares) + even)

    def _of(self, point: Point) -> float:
        return self._drop * self._dropped(point) + self._change * point.change

    def _dropped(self, point: Point) -> float:
        return max(0.0, self._reference - point.score)


def _unreachable(goal: Goal, last: Plan) -> UsageError:
    """What to say where even the plan that cuts the most doesn't meet the goal."""
    return UsageError(
        f"The target of {goal.in_words()} can't be reached: with all cut that may be, "
        f"{goal.left_in_words(last.before, last.after)} are left. "
        "Lift locks, lower the alignment, or allow more."
    )


def _up(share: float) -> float:
    """A share in few digits, so that no channel is lost to rounding."""
    return min(math.ceil(float(share) * 1e6 - 1e-6) / 1e6, 0.999999)


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
