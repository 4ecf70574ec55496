"""Uneven groups: at which other widths does the model's own code deal their channels out, and how?

Halves of 58 channels that are shuffled and halved again don't fall into equal cells, so no rule says how many channels
of each cell stay at another width. The code itself does: run at that width, its trace shows through which axes the
channel at each place runs. As many originals that run through the same axes are to be had, and in that order.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from tui_prune.graph.cells import signature_cells
from tui_prune.graph.classes import atoms, axis_signatures
from tui_prune.graph.findings import Flow
from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.grouping import rebuilt
from tui_prune.graph.record import GROUPED_CONVOLUTION, Axis, LockKind, owner_of
from tui_prune.graph.trace import RetraceFailed, retrace
from tui_prune.planning.recipe import Recipe
from tui_prune.surgery.attributes import apply_edits
from tui_prune.surgery.copying import named_tensors, with_tensors

LEVELS = 16
"""An uneven group is tried at so many shares of its width, and at as many multiples of 8."""

Widths = Callable[[int], Iterable[int]]


def usual_widths(width: int) -> list[int]:
    """Widths for somebody who may ask for any: steps of a sixteenth, and multiples of 8."""
    step = max(8, width // 8 // LEVELS * 8)
    return sorted({*(round(width * level / LEVELS) for level in range(1, LEVELS)), *range(step, width, step)})


def widths_for(recipe: Recipe) -> Widths:
    """The widths that a recipe may ask for."""
    if not recipe.fixed_widths:
        return usual_widths
    aligns = {align for align in (recipe.align, *recipe.layer_align.values()) if isinstance(align, int)}  # not "auto"

    def near(width: int) -> list[int]:
        wanted = _wanted(recipe, width)
        return [*wanted, *(n // align * align + more for n in wanted for align in aligns for more in (0, align))]

    return near


def _wanted(recipe: Recipe, width: int) -> list[int]:
    ratios = {ratio for ratio in (recipe.ratio, *recipe.layers.values()) if ratio}
    return [width - int(width * ratio + 1e-9) for ratio in ratios]


def flows_for(graph: Graph, inputs: tuple[Any, ...], kwargs: dict[str, Any], recipe: Recipe) -> Graph:
    """The graph with the widths that a recipe asks for, where its uneven groups can have them, and the nearest one
    where they can't."""
    graph = find_flows(graph, inputs, kwargs, widths_for(recipe))
    if not recipe.fixed_widths:
        return graph

    def by_distance(width: int) -> list[int]:
        wanted = _wanted(recipe, width)
        return sorted(usual_widths(width), key=lambda n: min((abs(n - own) for own in wanted), default=0))

    return find_flows(graph, inputs, kwargs, by_distance, enough=1)


def find_flows(
    graph: Graph,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    widths: Widths = usual_widths,
    *,
    enough: int | None = None,
) -> Graph:
    """The graph with the widths that its uneven groups can have, instead of their locks: with `enough` of them where
    that is given."""
    uneven = [group for group in graph.groups if _is_uneven(group, graph)]
    found: dict[int, list[Flow]] = {group.index: [] for group in uneven}
    tried = {group.index: _possible_widths(graph, group, widths(group.width)) for group in uneven}
    for step in range(max(map(len, tried.values()), default=0)):
        left = {index: own for index, own in tried.items() if enough is None or len(found[index]) < enough}
        together = {index: own[step] for index, own in left.items() if step < len(own)}
        if not together:
            break
        for index, flow in _try_widths(graph, together, inputs, kwargs).items():
            found[index].append(flow)
    flows = tuple(
        (_first_slot(graph, group), (*found[group.index], _whole(graph, group)))
        for group in uneven
        if found[group.index]
    )
    if not flows:
        return graph
    return rebuilt(graph, replace(graph.findings, flows=(*graph.findings.flows, *flows)))


def _is_uneven(group: Group, graph: Graph) -> bool:
    """Whether unequal blocks are all that locks a group, each of whose channels is one position of the data."""
    atoms_of_channels = np.unique(graph.classes.atom[np.isin(graph.classes.channel, group.channels)])
    return (
        bool(group.locks)
        and GROUPED_CONVOLUTION not in group.blocks
        and all(lock.kind is LockKind.UNEVEN for lock in group.locks)
        and len(atoms_of_channels) == len(group.channels)
    )


def _first_slot(graph: Graph, group: Group) -> int:
    members = set(group.channels.tolist())
    return next(a.first for a in graph.record.producers if int(graph.classes.channel[a.first]) in members)


def _sizes(graph: Graph, group: Group) -> dict[Axis, np.ndarray]:
    """For each axis that the group lies on, the places on it."""
    inside = np.zeros(graph.classes.channels, bool)
    inside[group.channels] = True
    places = {axis: np.flatnonzero(inside[graph.classes.channel[axis.slots]]) for axis in graph.record.axes}
    return {axis: own for axis, own in places.items() if len(own)}


def _possible_widths(graph: Graph, group: Group, widths: Iterable[int]) -> list[int]:
    """The widths, each once and in their order, of which every axis can have its share; rounded to such a one."""
    counts = [len(places) for places in _sizes(graph, group).values()]
    step = group.width // int(np.gcd.reduce([group.width, *counts]))
    rounded = dict.fromkeys(round(width / step) * step for width in widths)
    return [width for width in rounded if 0 < width < group.width]


def _whole(graph: Graph, group: Group) -> Flow:
    cells = signature_cells(graph.classes.signatures, group.channels)
    return Flow(group.width, tuple(len(cell) for cell in cells))


def _try_widths(
    graph: Graph, widths: dict[int, int], inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[int, Flow]:
    """The flows of groups at these widths, tried together; a group whose code can't have its width is left out."""
    kept: dict[Axis, np.ndarray] = {}
    for index, width in widths.items():
        group = graph.groups[index]
        for axis, places in _sizes(graph, group).items():
            mask = kept.setdefault(axis, np.ones(axis.size, bool))
            mask[places[len(places) * width // group.width :]] = False
    tensors = {}
    for name, tensor in named_tensors(graph.model, graph.record).items():
        cut = tensor.detach()
        for axis in graph.record.axes_of(name):
            if axis in kept and axis.groups == 1:
                cut = cut[(slice(None),) * axis.dim + (np.flatnonzero(kept[axis]),)]
        tensors[name] = cut
    module = with_tensors(graph.model, tensors, graph.record)
    depthwise = {
        owner_of(name): int(mask.sum())
        for axis, mask in kept.items()
        if axis.groups == axis.size
        for name in graph.record.names_of(axis.tensor)
    }
    apply_edits(module, depthwise)
    try:
        record = retrace(module, graph.record, inputs, kwargs)
    except RetraceFailed:  # This width isn't one that the code can have; that is the answer.
        return {}
    names = {(axis.tensor, axis.dim, axis.groups > 1): n for n, axis in enumerate(graph.record.axes)}
    if any((axis.tensor, axis.dim, axis.groups > 1) not in names for axis in record.axes):
        return {}
    theirs = axis_signatures(record.axes, atoms(record, graph.record, graph.findings.fixed_sizes))
    numbers = [names[axis.tensor, axis.dim, axis.groups > 1] for axis in record.axes]
    dealt = Counter(tuple(sorted(numbers[n] for n in signature)) for signature in theirs.values())
    ours = graph.classes.signatures
    found = {}
    for index, width in widths.items():
        group = graph.groups[index]
        cells = signature_cells(graph.classes.signatures, group.channels)
        counts = tuple(dealt.get(ours[int(group.channels[cell[0]])], 0) for cell in cells)
        complete = sum(counts) * group.width == width * len(group.channels)
        if complete and all(count <= len(cell) for count, cell in zip(counts, cells, strict=True)):
            found[index] = Flow(width, counts)
    return found
