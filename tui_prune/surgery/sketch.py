"""What a plan would make of a module, without any numbers: quick enough to look at while ratios are tried."""

from torch import nn

from tui_prune.planning.plan import Plan
from tui_prune.surgery.building import build_cut
from tui_prune.surgery.copying import named_tensors


def sketch(plan: Plan) -> nn.Module:
    """The module that a plan leads to, on the meta device: its shapes and sizes are right, it has no values.

    It isn't proved: where the network's own code can't follow the plan, the real cut keeps more. The model of the plan
    stays as it is. Raises `UnevenCut` where a grouped convolution would be left with unequal groups.
    """
    model = plan.graph.model
    tensors = named_tensors(model, plan.graph.record)
    without_values = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    return build_cut(model, without_values, plan).module
