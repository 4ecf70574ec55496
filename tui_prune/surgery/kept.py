"""The positions that stay on each axis that a cut has changed."""

import torch
from torch import Tensor

from tui_prune.graph.graph import Graph
from tui_prune.loading.kept import axis_name
from tui_prune.surgery.surgery import CutTensors


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
