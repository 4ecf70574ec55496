"""Error curves: how wrong a network gets as one group is cut, at every width, without cutting it.

They follow from one pass of the uncut network over calibration data (`recovery.moments`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tui_prune.graph.graph import Graph, Group
from tui_prune.planning.criteria.moments import Moments, errors_by_level
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.widths import Draft, Scores

MOST_LEVELS = 128
"""Of wider layers not every width is worked out, but so many, evenly spread."""


@dataclass(frozen=True)
class ErrorPoint:
    """What becomes of the layers that read a group when it alone is cut."""

    ratio: float
    """Share of its channels that has gone."""
    kept: int
    """Outputs of the group's first layer that are left."""
    cut: float
    """Squared error over the square of the network's outputs, to first order; or that of the layers that read the
    group, in sum (`ErrorCurves.of_outputs`)."""
    left: float
    """The same once these layers are refitted to the channels that are left (`tui_prune.reconstruct`)."""


@dataclass(frozen=True)
class ErrorCurve:
    """A group at every width that it can have."""

    layer: str
    """The layer by which a recipe gives the group its ratio."""
    layers: tuple[str, ...]
    """All layers that lose channels together."""
    width: int
    """Outputs of the first of them, uncut."""
    points: tuple[ErrorPoint, ...]
    """By ascending ratio."""

    def at(self, ratio: float) -> ErrorPoint | None:
        """The last point that is cut no further than this; None: there is none."""
        return next((point for point in reversed(self.points) if point.ratio <= ratio + 1e-9), None)


@dataclass(frozen=True)
class ErrorCurves:
    """The curves of all groups whose readers could be watched."""

    criterion: str
    """By which the channels go."""
    of_outputs: bool
    """Whether errors are those of the network's outputs; else of the layers that read the group, since no gradients
    tell what the outputs make of these."""
    curves: tuple[ErrorCurve, ...]
    """In the order of execution."""

    def left(self, ratios: Mapping[str, float]) -> float:
        """The errors that are left with these ratios of layers, in sum."""
        points = [curve.at(ratios.get(curve.layer, 0.0)) for curve in self.curves]
        return sum(point.left for point in points if point is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def error_curves(graph: Graph, recipe: Recipe, scores: Scores, moments: Mapping[str, Moments]) -> ErrorCurves:
    """The error that is left in the layers behind each group, at every width of the group.

    Channels go by the recipe's criterion, whose `scores` these are; what it locks isn't cut. Its ratios and alignments
    don't count. Raises `UsageError` for a lock that can't be lifted.
    """
    draft = Draft(graph, uncut(recipe), scores, 1)
    ratios = draft.ratios()[1:]
    if len(ratios) > MOST_LEVELS:
        ratios = ratios[np.linspace(0, len(ratios) - 1, MOST_LEVELS).round().astype(int)]
    goes = np.full(graph.classes.channels, len(ratios))
    """For each channel, the first of the ratios at which it is gone."""
    for number, ratio in reversed(list(enumerate(ratios))):
        goes[~draft.keep(float(ratio)).mask] = number
    named = units(graph.groups)
    found = []
    for name, groups in sorted(named.items(), key=lambda item: item[1][0].index):
        curve = _curve(graph, name, groups, goes, len(ratios), moments)
        if curve is not None:
            found.append(curve)
    of_outputs = bool(moments) and all(one.of_outputs for one in moments.values())
    return ErrorCurves(recipe.criterion, of_outputs, tuple(found))


def _curve(
    graph: Graph,
    name: str,
    groups: Sequence[Group],
    goes: np.ndarray,
    count: int,
    moments: Mapping[str, Moments],
) -> ErrorCurve | None:
    channels = np.concatenate([group.channels for group in groups])
    levels = np.unique(goes[channels])
    levels = levels[levels < count]
    if not len(levels):
        return None
    own = np.full(graph.classes.channels, len(levels))
    own[channels] = np.where(goes[channels] < count, np.searchsorted(levels, goes[channels]), len(levels))
    left, cut, read = np.zeros(len(levels)), np.zeros(len(levels)), False
    for one in readers(graph, channels, moments):
        errors = errors_by_level(one, own[graph.classes.channel[one.slots]], len(levels))
        left, cut, read = left + errors[0], cut + errors[1], True
    if not read:
        return None
    layer = graph.layer(groups[0].layers[0])
    outputs = channels if layer is None or not len(layer.outputs) else layer.outputs
    points = tuple(
        ErrorPoint(
            ratio=round(float((own[channels] <= level).mean()), 6),
            kept=int((own[outputs] > level).sum()),
            cut=float(cut[level]),
            left=float(left[level]),
        )
        for level in range(len(levels))
    )
    layers = tuple(dict.fromkeys(each for group in groups for each in group.layers))
    return ErrorCurve(name, layers, groups[0].width, points)


def readers(graph: Graph, channels: np.ndarray, moments: Mapping[str, Moments]) -> Iterable[Moments]:
    """The moments of the layers that read any of these channels."""
    mine = np.zeros(graph.classes.channels, bool)
    mine[channels] = True
    return (one for one in moments.values() if mine[graph.classes.channel[one.slots]].any())


def uncut(recipe: Recipe) -> Recipe:
    """A recipe's criterion, locks and the like, without any ratio and alignment."""
    return recipe.changed(ratio=0.0, layers={}, scope="local", align=1, layer_align={})


def units(groups: Sequence[Group]) -> dict[str, tuple[Group, ...]]:
    """The groups by a layer name that gives them a ratio: one each, or all that no name tells apart.

    In this order they can stand in a recipe: where a later name means a group of an earlier one, too, it wins there.
    """
    names = {group.index: _names(group) for group in groups}
    meant: dict[str, list[Group]] = {}
    for group in groups:
        for name in names[group.index]:
            meant.setdefault(name, []).append(group)
    alone = {group.index: next((n for n in names[group.index] if len(meant[n]) == 1), None) for group in groups}
    together: dict[str, tuple[Group, ...]] = {}
    for group in groups:
        if alone[group.index] is None:
            together[group.name] = tuple(other for other in meant[group.name] if alone[other.index] is None)
    return together | {own: (group,) for group in groups if (own := alone[group.index]) is not None}


def _names(group: Group) -> tuple[str, ...]:
    """All names that mean a group in a recipe's table of ratios."""
    return tuple(dict.fromkeys((*group.layers, *group.followers)))
