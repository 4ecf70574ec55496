"""Sizes that a module's own code keeps as attributes (`self.hidden_dim`, `head_dim`): found, and set with the cut."""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import isclose

import numpy as np
import torch
from torch import nn

from tui_prune.channels.findings import Repair
from tui_prune.channels.graph import Graph
from tui_prune.channels.record import GROUP_NORM, Axis, TraceRecord
from tui_prune.cutting.attributes import keeps_own_sizes
from tui_prune.cutting.surgery import CutTensors
from tui_prune.opening.edits import EDITABLE
from tui_prune.opening.opened import Edit
from tui_prune.planning.plan import Plan

SIZES = EDITABLE - {"groups", "heads", "n_heads", "num_groups", "num_heads", "scale"}
"""Attributes that may hold a size. How many heads or groups there are doesn't change: all keep an equal share."""


def find_repairs(plan: Plan, modules: Sequence[str]) -> tuple[Repair, ...]:
    """Attributes that hold the size of something that a plan cuts, in the innermost of the failing modules that has
    any, and in all others of its class; those that are known already are left out."""
    model = plan.graph.model
    for name in modules:
        if keeps_own_sizes(model.get_submodule(name)):
            continue
        kind = type(model.get_submodule(name))
        found = tuple(
            repair
            for other, part in model.named_modules()
            if type(part) is kind
            for repair in _repairs_of(plan, other, part)
        )
        if found:  # those of modules around it were tried for another failure, and would be guesses here
            return tuple(repair for repair in found if repair not in plan.graph.findings.repairs)
    return ()


def _repairs_of(plan: Plan, name: str, module: nn.Module) -> Iterator[Repair]:
    """An attribute may be the length of one of the module's own axes, or the size of the cells on it (one head)."""
    prefix = f"{name}." if name else ""
    axes = [
        axis
        for axis in plan.graph.record.axes
        if axis.tensor.startswith(prefix) and axis.groups == 1 and not _kept(plan, axis).all()
    ]
    for attribute in sorted(SIZES & vars(module).keys()):
        value = vars(module)[attribute]
        size = max(value, default=0) if _is_shape(value) else value
        if type(size) is not int or size < 2:
            continue
        whole = (a for a in axes if a.size == size)
        cells = (a for a in axes if size in _cell_sizes(plan, a))
        axis = next(chain(cells, whole) if "head" in attribute else chain(whole, cells), None)
        if axis is not None:
            yield Repair(name, attribute, axis.tensor, axis.dim)


def _is_shape(value: object) -> bool:
    """Whether this is the shape of something that is a vector of channels: all other sizes are 1."""
    if not isinstance(value, tuple) or any(type(size) is not int for size in value):
        return False
    return sum(size != 1 for size in value) == 1


def _kept(plan: Plan, axis: Axis) -> np.ndarray:
    return plan.keep[plan.graph.classes.channel[axis.slots]]


def _cell_sizes(plan: Plan, axis: Axis) -> set[int]:
    channel = int(plan.graph.classes.channel[axis.first])
    group = next((group for group in plan.graph.groups if channel in group.channels), None)
    return {len(cell) for cell in group.cells} if group is not None and group.blocked else set()


def apply_repairs(module: nn.Module, graph: Graph, tensors: CutTensors) -> tuple[Edit, ...]:
    """Set the attributes that are known to hold sizes, in the proportion of their axes; gives what was changed."""
    edits = []
    sizes = {(axis.tensor, axis.dim): axis.size for axis in graph.record.axes if axis.groups == 1}
    for repair in graph.findings.repairs:
        before = sizes[repair.tensor, repair.dim]
        after = tensors.kept[repair.tensor, repair.dim, False].size
        part = module.get_submodule(repair.module)
        value = getattr(part, repair.attribute)
        sizes_now = value if isinstance(value, tuple) else (value,)
        if after != before and all(size == 1 or size * after % before == 0 for size in sizes_now):
            scaled = tuple(size if size == 1 else size * after // before for size in sizes_now)
            edits.append(Edit(repair.module, repair.attribute, scaled if isinstance(value, tuple) else scaled[0]))
            setattr(part, repair.attribute, edits[-1].value)
    return tuple(edits)


def apply_norm_sizes(module: nn.Module, graph: Graph, keep: np.ndarray) -> tuple[Edit, ...]:
    """Set the sizes of norms that have no tensor to read them off, and how many groups are left of group norms; gives
    what was changed."""
    edits = []
    for name, dims in graph.record.bare_norms.items():
        part, shape = module.get_submodule(name), {}
        for dim, ids in dims.items():
            slots = np.unique(ids[ids >= 0].numpy())
            shape[dim] = len(slots), int(keep[graph.classes.channel[slots]].sum())
        for attribute in ("num_features", "num_channels"):
            before, after = shape.get(0, (None, None))
            if getattr(part, attribute, None) == before != after:
                edits.append(Edit(name, attribute, after))
        whole = getattr(part, "normalized_shape", None)
        if isinstance(whole, tuple):
            sizes = tuple(shape[dim][1] if shape.get(dim, (0,))[0] == size else size for dim, size in enumerate(whole))
            if sizes != whole:
                edits.append(Edit(name, "normalized_shape", sizes))
    for norm in (grouped for grouped in graph.record.grouped if grouped.kind == GROUP_NORM):
        groups = int(keep[graph.classes.channel[norm.inputs.numpy()]].any(1).sum())
        if groups != len(norm.inputs):
            edits.append(Edit(norm.layer, "num_groups", groups))
    for edit in edits:
        setattr(module.get_submodule(edit.module), edit.attribute, edit.value)
    return tuple(edits)


@torch.no_grad()
def keep_scalings(module: nn.Module, original: TraceRecord, cut: TraceRecord) -> None:
    """Where the code scales by what it computes from a size (a query by the root of its head's), the smaller size
    would change the numbers: the rows of the layer that puts those values out are scaled back."""
    if len(original.scalings) != len(cut.scalings):
        return
    changed = [
        (before.factor / after.factor, after.slots)
        for before, after in zip(original.scalings, cut.scalings, strict=True)
        if not isclose(before.factor, after.factor, rel_tol=1e-6)
    ]
    if not changed:
        return
    tensors = dict(module.named_parameters(remove_duplicate=False))
    for factor, ids in changed:
        slots = np.unique(ids[ids >= 0].numpy())
        for axis in cut.producers:
            rows = slots[(slots >= axis.first) & (slots < axis.first + axis.size)] - axis.first
            if not len(rows) or axis.groups > 1:
                continue
            layer = axis.tensor.rpartition(".")[0]
            biases = [
                (n, 0) for n, shape in cut.shapes.items() if n.rpartition(".")[0] == layer and shape == (axis.size,)
            ]
            for name, dim in ((axis.tensor, axis.dim), *biases):
                if name in tensors:
                    tensor, index = tensors[name].data, torch.from_numpy(rows).to(tensors[name].device)
                    tensor.index_copy_(dim, index, tensor.index_select(dim, index) * factor)
