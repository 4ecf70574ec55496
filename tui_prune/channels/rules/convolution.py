"""Convolutions of any dimension: plain, transposed, grouped, depthwise."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.channels.labels import Labels, collapse, compact, spread
from tui_prune.channels.record import Grouped, LayerUse
from tui_prune.channels.registry import Call, masked, rule
from tui_prune.channels.rules.shared import Kept, single, zero_cut

if TYPE_CHECKING:
    from tui_prune.channels.tracer import Tracer

_NAMES = ("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "convolution_overrideable")


@rule(*_NAMES)
def convolution(tracer: "Tracer", call: Call) -> None:
    """Input channels are tied to the weight's in-axis; the out-axis labels the output.

    The weight is (out, in / groups, ...), transposed (in, out / groups, ...). Of a grouped convolution the dimension
    that holds one group's share gets an axis of its own, over all groups: block g of the inputs feeds block g of the
    outputs, and nothing else ties them here.
    """
    x, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    transposed, groups = bool(call.arg("transposed", False)), int(call.arg("groups", 1))
    layer = _layer(tracer, weight, x)
    weight_labels = dict(tracer.labels(weight))
    first, second = single(weight_labels, 0), single(weight_labels, 1)
    for dims, label in weight_labels.items():
        if dims not in ((0,), (1,)) and tracer.leaf(weight) is None:
            tracer.lock_label(label, dims, "belongs to the size of a kernel")
    whole_only = groups > 1 and second is not None and tracer.leaf(weight) is None and _measured(tracer, second)
    if groups > 1:
        second = _per_group_slots(tracer, weight, first, second, groups)
    inputs, outputs = (first, second) if transposed else (second, first)
    width, in_width = weight.shape[0], weight.shape[1] * groups
    if transposed:
        width, in_width = in_width, width

    _take_in(tracer, x, weight, inputs, in_width)
    if groups > 1 and inputs is not None and outputs is not None:
        rows = inputs.view(groups, -1), outputs.view(groups, -1)
        tracer.record.grouped.append(Grouped(layer, *rows, whole_only=whole_only))
    labels: Labels = {}
    if outputs is not None:
        axis = tracer.axis_of(outputs)
        if axis is None:
            tracer.lock(outputs, "the weight is computed in a way that isn't understood")
        tracer.produce(axis, layer)
        for label in tracer.labels(bias).values():
            tracer.tie(outputs, label, "bias")
        labels[(1,)] = spread(outputs, (1,), call.first_out.shape)
    tracer.put(call.first_out, labels)
    kind = _kind(weight, transposed, groups, width, in_width)
    known = tracer.record.layers.get(layer)
    if known is None or known.kind == "linear":  # a spectral norm has multiplied the weight with vectors before
        tracer.record.layers[layer] = LayerUse(layer, kind, outputs, inputs, width, in_width, True)


def _layer(tracer: "Tracer", weight: Tensor, x: Tensor) -> str:
    """The module whose weight this is, also when it is computed from the module's parameters."""
    name = tracer.leaf(weight)
    if name is None:
        for label in tracer.labels(weight).values():
            axis = tracer.axis_of(label.reshape(label.shape[0], -1)[:, 0]) if label.dim() else None
            name = axis.tensor if axis is not None else name
    return tracer.layer_of(name) if name is not None else "(computed weight)"


def _measured(tracer: "Tracer", columns: Tensor) -> bool:
    """Whether a weight is normalised over its columns: no reference says what it is where each group loses others."""
    measured = [ids for lists in tracer.record.statistics.values() for ids in lists]
    return any(bool(torch.isin(columns, ids).any()) for ids in measured)


def _per_group_slots(
    tracer: "Tracer", weight: Tensor, first: Tensor | None, second: Tensor | None, groups: int
) -> Tensor | None:
    """The slots of all groups along the weight's second dimension, in the order of the groups."""
    source = second if second is not None else first
    axis = tracer.axis_of(source) if source is not None else None
    if axis is None:
        if source is not None:
            tracer.lock(source, "the weight of a grouped convolution is computed in a way that isn't understood")
        return None
    own = tracer.grouped_axis(axis.tensor, 1, weight.shape[1] * groups, groups)
    slots = torch.arange(own.first, own.first + own.size)
    if second is not None and tracer.leaf(weight) is None and tracer.is_tied(second):
        # Something else goes with the same place of every group, such as the norm of that column.
        tracer.tie(slots.view(groups, -1), second, "weight norm")
    return slots


def _take_in(tracer: "Tracer", x: Tensor, weight: Tensor, inputs: Tensor | None, in_width: int) -> None:
    """Tie what the input carries to the weight's in-axis."""
    tied = False
    for dims, label in tracer.labels(x).items():
        if dims == (1,) and inputs is not None:
            tracer.tie(inputs, compact(label, dims), "feeds")
            tied = True
        elif 1 in dims and inputs is not None:
            shape = [1] * x.dim()
            shape[1] = in_width
            tracer.tie(inputs.view(shape).expand(collapse(label, dims).shape), collapse(label, dims), "feeds")
            tied = True
        elif 1 in dims:
            tracer.lock_label(label, dims, tracer.unlabelled_reason(weight))
        else:
            tracer.lock_label(label, dims, "a convolution slides over these positions")
    if inputs is not None and not tied:
        tracer.lock(inputs, tracer.unlabelled_reason(x))


def _kind(weight: Tensor, transposed: bool, groups: int, width: int, in_width: int) -> str:
    kernel = "x".join(str(size) for size in weight.shape[2:])
    depthwise = groups > 1 and groups in (width, in_width)
    prefix = "depthwise " if depthwise else "grouped " if groups > 1 else ""
    return f"{prefix}{'transposed ' if transposed else ''}conv {kernel}"


@masked(*_NAMES)
def masked_convolution(call: Call, cut: Kept) -> Tensor:
    """Cut channels of the input are zero."""
    return call.func(zero_cut(call.arg("input"), cut), *call.args[1:], **call.kwargs)
