"""One recipe after the other, on a grid: what each leaves of the network, and what the task says of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.planning.recipe import Recipe

MOST_POINTS = 10_000


@dataclass(frozen=True)
class SweptPoint:
    """A recipe of a sweep, and what came out."""

    criterion: str
    ratio: float
    macs: float | None = None
    """Share that is left; None where the recipe can't be carried out."""
    params: float | None = None
    score: float | None = None
    """What the task's `evaluate` says of the cut network, recalibrated where the task has calibration data."""
    failure: str = ""
    """Why there is no network of this recipe."""
    best: bool = False
    """No other point has as few MACs and a score as good."""


@dataclass(frozen=True)
class Sweep:
    """The points of a sweep, in the order of the grid."""

    baseline: float
    """What the task says of the network as it is."""
    points: tuple[SweptPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def grid(recipe: Recipe, criteria: Sequence[str], ratios: Sequence[float]) -> list[Recipe]:
    """A recipe with each criterion and each ratio. Raises `UsageError` for one that isn't known."""
    return [recipe.changed(criterion=name, ratio=ratio) for name, ratio in itertools.product(criteria, ratios)]


def parse_ratios(text: str) -> tuple[float, ...]:
    """Ratios as "0.2:0.8:0.1" (both ends belong to them) or "0.3,0.5". Raises `UsageError`."""
    try:
        if ":" not in text:
            found = tuple(float(part) for part in text.split(","))
        else:
            first, last, step = (float(part) for part in text.split(":"))
            if not (0 < step < math.inf) or not (0 <= last - first <= step * MOST_POINTS):
                raise ValueError
            count = int((last - first) / step + 1e-9) + 1
            found = tuple(round(first + number * step, 10) for number in range(count))
    except ValueError:
        raise UsageError(f'--ratios takes "0.2:0.8:0.1" (first, last, step) or "0.3,0.5"; it was {text!r}.') from None
    if not all(0 <= ratio < 1 for ratio in found):
        raise UsageError(f"Ratios lie between 0 and 1; they were {text!r}.")
    return found


def with_trade_off(sweep: Sweep) -> Sweep:
    """The sweep with its best points marked: those that no other point beats in both MACs and score."""
    return replace(sweep, points=tuple(replace(one, best=_unbeaten(one, sweep.points)) for one in sweep.points))


def trade_off(points: Sequence[SweptPoint]) -> Iterator[SweptPoint]:
    """The best points, the largest network first."""
    return iter(sorted((one for one in points if one.best), key=lambda one: -(one.macs or 0.0)))


def point_of(recipe: Recipe, found: Mapping[str, Any]) -> SweptPoint:
    """The point of a recipe, from what a worker gave."""
    return SweptPoint(recipe.criterion, recipe.ratio, **found)


def _unbeaten(point: SweptPoint, others: Sequence[SweptPoint]) -> bool:
    if point.macs is None or point.score is None:
        return False
    for other in others:
        if other.macs is None or other.score is None or other is point:
            continue
        as_good = other.macs <= point.macs and other.score >= point.score
        if as_good and (other.macs, other.score) != (point.macs, point.score):
            return False
    return True
