"""Cutting: every axis to its kept slots, in a copy of the module; the original keeps its weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tui_prune.graph.graph import Graph
from tui_prune.graph.record import Axis, TraceRecord, owner_of
from tui_prune.loading.kept import axis_name


class UnevenCut(Exception):
    """A plan leaves unequal groups of a grouped convolution. `slots`: those of its weight."""

    def __init__(self, tensor: str, slots: np.ndarray) -> None:
        super().__init__(f"{tensor} would be left with unequal groups")
        self.slots = slots


@dataclass(eq=False)
class CutTensors:
    """The tensors of a cut network by name, and for each axis the slots of the original that stay, in order."""

    tensors: dict[str, Tensor]
    kept: dict[tuple[str, int, bool], np.ndarray]
    """By tensor, dimension, and whether it is a grouped weight's per-group axis (then: groups, slots of one)."""


def cut_tensors(tensors: Mapping[str, Tensor], graph: Graph, keep: np.ndarray) -> CutTensors:
    """Cut parameters and buffers, by name, to the channels that stay (bool, one per channel of the graph).

    All tensors are new; those that lose nothing are copies.
    """
    record, channel = graph.record, graph.classes.channel
    found = CutTensors({}, {})
    for name, tensor in tensors.items():
        cut = tensor.detach()
        axes = record.axes_of(name)
        per_group = next((axis for axis in axes if axis.groups > 1), None)
        masks = {axis: keep[channel[axis.first : axis.first + axis.size]] for axis in axes}
        for axis, mask in masks.items():
            if axis.groups > 1 or (per_group is not None and axis.dim in (0, per_group.dim)):
                continue
            stays = mask.nonzero()[0]
            found.kept[name, axis.dim, False] = stays + axis.first
            if len(stays) < axis.size:
                cut = cut.index_select(axis.dim, torch.from_numpy(stays).to(cut.device))
        if per_group is not None:
            cut = _cut_grouped(cut, name, per_group, masks, found)
        found.tensors[name] = cut.clone() if cut.data_ptr() == tensor.data_ptr() else cut
    for axis in record.axes:
        if axis.tensor not in record.shapes:  # of heads: no tensor has it
            found.kept[axis.tensor, axis.dim, False] = axis.slots[keep[channel[axis.slots]]]
    return found


def group_counts(record: TraceRecord, tensors: CutTensors) -> dict[str, int]:
    """How many groups are left of each grouped convolution, by the name of its module."""
    return {
        owner_of(name): len(kept)
        for (first, _, per_group), kept in tensors.kept.items()
        if per_group
        for name in record.names_of(first)
    }


def _cut_grouped(
    weight: Tensor, name: str, per_group: Axis, masks: dict[Axis, np.ndarray], found: CutTensors
) -> Tensor:
    """Cut a grouped weight (groups * rows, columns, ...): rows by their own slots, columns group by group."""
    groups = per_group.groups
    rows = next((axis for axis in masks if axis.dim == 0 and axis.groups == 1), None)
    columns: np.ndarray = masks[per_group].reshape(groups, -1)
    row_mask: np.ndarray = masks[rows].reshape(groups, -1) if rows is not None else np.ones((groups, 1), bool)
    alive = np.asarray(row_mask.any(axis=1) & columns.any(axis=1))
    if rows is not None:
        found.kept[name, 0, False] = rows.slots[(row_mask & alive[:, None]).reshape(-1)]
    slots = per_group.slots.reshape(groups, -1)
    stays = np.flatnonzero(alive)
    if len(np.unique(columns[stays].sum(1))) != 1 or len(np.unique(row_mask[stays].sum(1))) != 1:
        raise UnevenCut(name, np.concatenate([axis.slots for axis in masks]))
    found.kept[name, per_group.dim, True] = slots[stays][columns[stays]].reshape(len(stays), -1)
    if row_mask.all() and columns.all():
        return weight
    if columns[stays].all():
        return weight.index_select(0, _index((row_mask & alive[:, None]).reshape(-1), weight))
    # Evenly many rows and columns stay in each group, so both can be picked by tables of one row a group.
    row_table = np.nonzero(row_mask[stays])[1].reshape(len(stays), -1, 1)
    column_table = np.nonzero(columns[stays])[1].reshape(len(stays), 1, -1)
    parts = weight.reshape(groups, row_mask.shape[1], *weight.shape[1:])
    picked = parts[stays[:, None, None], row_table, column_table]
    return picked.reshape(-1, *picked.shape[2:])


def _index(mask: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask)).to(like.device)


def kept_positions(graph: Graph, cut: CutTensors) -> dict[str, Tensor]:
    """By axis, in the order of the cut tensors: shape (kept,), or (groups, kept of one) for a grouped weight's
    per-group axis. Axes that lose nothing and keep their order are left out."""
    found: dict[str, Tensor] = {}
    for axis in (axis for name in graph.record.shapes for axis in graph.record.axes_of(name)):
        slots = cut.kept.get((axis.tensor, axis.dim, axis.groups > 1))
        if slots is None:
            continue
        positions = torch.from_numpy(slots - axis.first)
        if axis.groups > 1:
            positions = positions % (axis.size // axis.groups)
            whole = torch.arange(axis.size // axis.groups).expand(len(positions), -1)
        else:
            whole = torch.arange(axis.size)
        if positions.shape != whole.shape or bool((positions != whole).any()):
            found[axis_name(axis.tensor, axis.dim)] = positions
    return found
