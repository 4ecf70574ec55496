"""All there is to look at in one layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from torch import Tensor, nn

from tui_prune.graph.graph import Group
from tui_prune.graph.record import Axis, owner_of
from tui_prune.planning.plan import LayerPlan, Plan


@dataclass(frozen=True, eq=False)
class LayerDetails:
    """All there is to look at in one layer, as a plan has it."""

    layer: LayerPlan
    weights: Tensor | None
    """Shape (outputs, inputs of each, kernel height, kernel width); a view wherever torch can give one."""
    outputs_kept: np.ndarray
    """Bool, one per output of `weights`."""
    inputs_kept: np.ndarray
    """Bool, one per input of `weights`; a grouped convolution, whose groups read different ones, has them all."""
    scores: np.ndarray | None
    """One per channel of its group, by the recipe's criterion."""
    scored: str
    """In words, by what, and how the scores of several layers are combined."""
    kept: np.ndarray | None
    """Bool, in the order of `scores`."""
    group: Group | None


def layer_details(
    model: nn.Module, plan: Plan, name: str, scores: Sequence[np.ndarray | None], scored: str
) -> LayerDetails:
    """What there is to see of a layer of the plan; `scores` are those of all groups, `scored` says of this one's by
    what. Raises `KeyError`."""
    layer, group = plan.layer(name), plan.graph.group_of(name)
    weights, outputs, inputs = _weights(model, plan, name)
    return LayerDetails(
        layer,
        weights,
        outputs,
        inputs,
        None if group is None else scores[group.index],
        scored,
        None if group is None else plan.keep[group.channels],
        group,
    )


def _weights(model: nn.Module, plan: Plan, name: str) -> tuple[Tensor | None, np.ndarray, np.ndarray]:
    """A layer's weights, outputs first, and which outputs and inputs stay."""
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    weight: Tensor | None
    if module is None:
        weight = model.get_parameter(name)
    else:
        found = (getattr(module, attribute, None) for attribute in ("weight", "in_proj_weight"))
        weight = next((value for value in found if isinstance(value, Tensor)), None)
    if weight is None:
        return None, np.ones(0, bool), np.ones(0, bool)
    weight = weight.detach()
    axes = _axes(plan, name, weight)
    output = next((axis for axis in axes if axis in plan.graph.record.producers), None)
    output = output or next((axis for axis in axes if axis.dim == 0 and axis.groups == 1), None)
    if output is not None and output.groups > 1:
        # A transposed grouped weight, (in, out / groups, ...): outputs lie along groups and dimension 1.
        weight = weight.unflatten(0, (output.groups, -1)).transpose(1, 2).flatten(0, 1)
        axes = [output]
    elif output is not None:
        weight = weight.movedim(output.dim, 0)
    sizes = (*weight.shape, 1, 1)[: max(2, weight.dim())]
    height, width = prod(sizes[2:-1]), prod(sizes[-1:]) if len(sizes) > 2 else 1
    shaped = weight.reshape(sizes[0], sizes[1], height, width)
    other = next((axis for axis in axes if axis is not output and axis.dim in (0, 1) and axis.groups == 1), None)
    if plan.graph.gone is not None and plan.graph.gone.branch_of(name) is not None:
        return shaped, np.zeros(shaped.shape[0], bool), np.zeros(shaped.shape[1], bool)
    return shaped, _kept(plan, output, shaped.shape[0]), _kept(plan, other, shaped.shape[1])


def _axes(plan: Plan, name: str, weight: Tensor) -> list[Axis]:
    """The axes of a layer's weight, or of the tensor that it is computed from."""
    record = plan.graph.record
    for tensor, shape in record.shapes.items():
        names = record.names_of(tensor)
        if shape == tuple(weight.shape) and any(owner_of(one) == name for one in names):
            return record.axes_of(tensor)
    return []


def _kept(plan: Plan, axis: Axis | None, count: int) -> np.ndarray:
    """Which positions of an axis stay; all of them where it has no channels."""
    if axis is None or axis.size != count:
        return np.ones(count, bool)
    return plan.keep[plan.graph.classes.channel[axis.slots]]
