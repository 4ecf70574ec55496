"""What a plan would make of a module, without any numbers: quick enough to look at while ratios are tried."""

from torch import nn

from tui_prune.channels.trace import evaluating
from tui_prune.cutting.attributes import apply_edits
from tui_prune.cutting.copying import named_tensors, with_tensors
from tui_prune.cutting.repairs import apply_norm_sizes, apply_repairs
from tui_prune.cutting.surgery import cut_tensors, group_counts
from tui_prune.planning.plan import Plan


def sketch(plan: Plan) -> nn.Module:
    """The module that a plan leads to, on the meta device: its shapes and sizes are right, it has no values.

    It isn't proved: where the network's own code can't follow the plan, the real cut keeps more. The model of the plan
    stays as it is. Raises `UnevenCut` where a grouped convolution would be left with unequal groups.
    """
    graph = plan.graph
    model = graph.model
    without_values = {name: tensor.detach().to("meta") for name, tensor in named_tensors(model, graph.record).items()}
    tensors = cut_tensors(without_values, graph, plan.keep)
    module = with_tensors(model, tensors.tensors, graph.record)
    with evaluating(module):
        apply_edits(module, group_counts(graph.record, tensors))
        apply_repairs(module, graph, tensors)
        apply_norm_sizes(module, graph, plan.keep)
    return module
