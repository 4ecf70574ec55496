"""The module that a plan leads to, with the sizes that its parts keep; nothing of it is proved yet."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.graph.trace import evaluating
from tui_prune.planning.plan import Plan
from tui_prune.surgery.attributes import apply_edits
from tui_prune.surgery.copying import with_tensors
from tui_prune.surgery.repairs import apply_norm_sizes, apply_repairs
from tui_prune.surgery.surgery import CutTensors, cut_tensors, group_counts


class Built(NamedTuple):
    """A copy of the model that holds less, and what was done to make it."""

    module: nn.Module
    tensors: CutTensors
    groups: dict[str, int]
    """How many groups are left of each grouped convolution."""
    edits: tuple[Edit, ...]


def build_cut(model: nn.Module, values: Mapping[str, Tensor], plan: Plan) -> Built:
    """A copy of the module with `values`, by the names of its tensors, in place of its own, cut by the plan.

    Raises `UnevenCut` where a grouped convolution would be left with unequal groups.
    """
    graph = plan.graph
    tensors = cut_tensors(values, graph, plan.keep)
    module = with_tensors(model, tensors.tensors, graph.record)
    groups = group_counts(graph.record, tensors)
    with evaluating(module):
        edits = (
            *apply_edits(module, groups),
            *apply_repairs(module, graph, tensors),
            *apply_norm_sizes(module, graph, plan.keep),
        )
    return Built(module, tensors, groups, edits)
