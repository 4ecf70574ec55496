"""What was measured of cut networks, however it came about: the points of the trade-off between cost and accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tui_prune.planning.recipe import Recipe

if TYPE_CHECKING:
    from tui_prune.cost.cost import Cost

Kind = Literal["uncut", "scan", "candidate", "finalist", "live", "plan"]
Axis = Literal["macs", "params", "bytes"]
AXES: tuple[Axis, ...] = ("macs", "params", "bytes")


@dataclass(frozen=True)
class Trial:
    """A network that was measured by the task."""

    recipe: Recipe
    cost: Cost
    accuracy: float
    kind: Kind
    """A layer cut alone, a candidate of a suggestion, a finalist once it was fine-tuned, a plan of the user's
    that was measured while the keys rested, or when it was asked for."""
    name: str = ""
    """Of a plan that is kept."""
    recovered: bool = False
    """Whether it was recalibrated, reconstructed or fine-tuned before it was measured."""


def front(trials: Iterable[Trial], axis: Axis) -> tuple[Trial, ...]:
    """Those for which none costs less and is as accurate, by ascending cost."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda one: (getattr(one.cost, axis), -one.accuracy)):
        if not best or trial.accuracy > best[-1].accuracy:
            best.append(trial)
    return tuple(best)
