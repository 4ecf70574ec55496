"""Sizes that a module's own code keeps (`self.hidden_dim`, `head_dim`), set with the cut."""

from math import isclose
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.graph.graph import Graph
from tui_prune.graph.record import GROUP_NORM, TraceRecord
from tui_prune.loading.places import number_at, set_number
from tui_prune.surgery.surgery import CutTensors


def apply_repairs(module: nn.Module, graph: Graph, tensors: CutTensors) -> tuple[Edit, ...]:
    """Set the kept numbers that are known to be sizes, in the proportion of their axes; gives what was changed."""
    edits = []
    sizes = {(axis.tensor, axis.dim): axis.size for axis in graph.record.axes if axis.groups == 1}
    for repair in graph.findings.repairs:
        before = sizes[repair.tensor, repair.dim]
        after = tensors.kept[repair.tensor, repair.dim, False].size
        part = module.get_submodule(repair.module)
        value = int(number_at(part, repair.attribute, repair.path))
        if after != before and value * after % before == 0:
            edits.append(Edit(repair.module, repair.attribute, value * after // before, repair.path))
            set_number(part, repair.attribute, repair.path, edits[-1].value)
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
            if 0 in shape and getattr(part, attribute, None) == shape[0][0] != shape[0][1]:
                edits.append(Edit(name, attribute, shape[0][1]))
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


class Rescaled(NamedTuple):
    """Places along a dimension of a tensor, which are multiplied with a number."""

    tensor: str
    dim: int
    places: Tensor
    factor: float

    def apply(self, tensor: Tensor) -> None:
        """Scale a tensor in place."""
        places = self.places.to(tensor.device)
        tensor.index_copy_(self.dim, places, tensor.index_select(self.dim, places) * self.factor)


@torch.no_grad()
def keep_scalings(module: nn.Module, original: TraceRecord, cut: TraceRecord) -> tuple[Rescaled, ...]:
    """Where the code scales by what it computes from a size (a query by the root of its head's), the smaller size
    would change the numbers: the rows of the layer that puts those values out are scaled back. Returns what was
    scaled."""
    if len(original.scalings) != len(cut.scalings):
        return ()
    changed = [
        (before.factor / after.factor, after.slots)
        for before, after in zip(original.scalings, cut.scalings, strict=True)
        if not isclose(before.factor, after.factor, rel_tol=1e-6)
    ]
    tensors = dict(module.named_parameters(remove_duplicate=False)) if changed else {}
    done = []
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
                    done.append(Rescaled(name, dim, torch.from_numpy(rows), factor))
                    done[-1].apply(tensors[name].data)
    return tuple(done)
