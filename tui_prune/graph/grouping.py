"""Builds the channel graph from a trace's record, and chooses how grouped layers and attention heads are taken."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from tui_prune.graph.classes import (
    atoms,
    classes,
    has_choice,
    in_heads,
    taken_whole,
    whole_heads,
    with_their_own,
)
from tui_prune.graph.findings import Findings
from tui_prune.graph.graph import Gone, Graph, Group
from tui_prune.graph.groups import are_uneven, distinct, graph_of
from tui_prune.graph.record import (
    GROUP_NORM,
    TraceRecord,
    slot_numbers,
)
from tui_prune.graph.units import Units


def rebuilt(graph: Graph, findings: Findings | None = None, units: Units | None = None) -> Graph:
    """The graph of the same trace with other findings, or in other units; findings of attention hold only for the way
    in which its heads were taken."""
    units = graph.units if units is None else units
    findings = graph.findings if findings is None else findings
    if units.heads != graph.units.heads:
        findings = _without_heads(graph, findings)
    return with_gone(build_graph(graph.record, units, findings), graph.gone)


def with_gone(graph: Graph, gone: Gone | None) -> Graph:
    """The graph of a network without residual branches, with their layers among the others."""
    if gone is None:
        return graph
    places = {one.place: one.layer for one in gone.layers}
    others = iter(graph.layers)
    count = len(places) + len(graph.layers)
    layers = tuple(places[n] if n in places else next(others) for n in range(count))
    return replace(graph, layers=layers, gone=gone)


def _without_heads(graph: Graph, findings: Findings) -> Findings:
    """The findings that don't concern attention."""
    inside = in_heads(graph.record, graph.classes.atom)
    axes = {(axis.tensor, axis.dim): axis for axis in graph.record.axes if axis.groups == 1}
    return replace(
        findings,
        locks=tuple((slots, lock) for slots, lock in findings.locks if not inside[slots].any()),
        links=(),
        repairs=tuple(one for one in findings.repairs if not inside[axes[one.tensor, one.dim].slots].any()),
    )


def build_graph(record: TraceRecord, units: Units = Units(), findings: Findings | None = None) -> Graph:  # noqa: B008
    """The graph of a record, with what trials have shown of the model.

    `units` says how grouped convolutions, group norms and attention heads are taken. With "auto", what can't be cut in
    one way is taken in the other where that frees channels.
    """
    findings = findings or Findings()
    atom = atoms(record, fixed_sizes=findings.fixed_sizes)
    graph = _with_heads_chosen(record, atom, units, findings)
    if any(are_uneven(group.families) and not group.flows for group in graph.groups):
        graph = graph_of(record, graph.classes, units, findings, solving=True)
    return graph


def _with_heads_chosen(record: TraceRecord, atom: np.ndarray, units: Units, findings: Findings) -> Graph:
    graph = _with_groups_chosen(record, atom, units, findings, whole_heads(record, units.heads))
    if units.heads != "auto":
        return graph
    stuck = frozenset(i for i, rows in enumerate(record.head_rows) if _is_stuck(graph, rows.rows))
    if stuck:
        other = _with_groups_chosen(record, atom, units, findings, with_their_own(record, atom, stuck))
        graph = other if _free_slots(other) > _free_slots(graph) else graph
    return graph


def _with_groups_chosen(
    record: TraceRecord, atom: np.ndarray, units: Units, findings: Findings, heads: frozenset[int]
) -> Graph:
    """The graph with the heads that are taken whole, and the better way for each grouped convolution and norm."""
    grouped = units.grouped
    graph = graph_of(record, classes(record, atom, taken_whole(record, atom, grouped), heads), units, findings)
    if grouped != "auto":
        return graph
    stuck = frozenset(
        i for i, one in enumerate(record.grouped) if has_choice(one) and _is_stuck(graph, one.inputs, one.outputs)
    )
    for turned in (stuck & graph.classes.whole, stuck - graph.classes.whole, _overlapping_norms(graph)):
        if turned:
            other = graph_of(record, classes(record, atom, graph.classes.whole ^ turned, heads), units, findings)
            if _free_slots(other) > _free_slots(graph):
                graph = other
    return graph


def _overlapping_norms(graph: Graph) -> frozenset[int]:
    """The norms of which whole groups go, on streams where their groups overlap those of another norm: evenly many of
    each may be the finer step."""
    touched: dict[int, list[int]] = {}
    overlapping = {group.index for group in graph.groups if GROUP_NORM in group.blocks}
    for i in graph.classes.whole:
        one = graph.record.grouped[i]
        if has_choice(one) and one.kind == GROUP_NORM:
            channels = np.unique(graph.classes.channel[slot_numbers([one.inputs])])
            touched[i] = distinct(graph.group_of_channel[channels])
            if len(channels) < len(one.inputs):
                overlapping.update(touched[i])
    return frozenset(i for i, groups in touched.items() if overlapping.intersection(groups))


def _is_stuck(graph: Graph, *sides: Tensor) -> bool:
    """Whether nothing on some side of a grouped convolution or norm, or of the heads of an attention, can be cut."""
    channels = np.unique(graph.classes.channel[slot_numbers(sides)])
    groups = [group for group in graph.groups if np.isin(group.channels, channels).any()]
    return any(_cuttable(group) == 0 for group in groups)


def _cuttable(group: Group) -> int:
    """How many of a group's channels are free and not the only one of their cell."""
    return sum(int((~group.locked[cell]).sum()) for cell in group.cells if len(cell) > 1)


def _free_slots(graph: Graph) -> int:
    """How many outputs of all layers could be cut."""
    return sum(sum(group.producer_widths) * _cuttable(group) // len(group.channels) for group in graph.groups)
