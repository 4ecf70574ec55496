"""Convolutions of any dimension, plain, transposed, grouped or depthwise, by a layer's own kernel or a computed one."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact, distinct_in_order, spread
from tui_prune.graph.ops.shared import Kept, single, tied_over, zero_cut
from tui_prune.graph.record import FEEDS, GROUPED_CONVOLUTION, LINEAR, Grouped, LayerUse, Way
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_NAMES = ("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "convolution_overrideable")

KERNEL = "belongs to the size of a kernel"


@rule(*_NAMES)
def convolution(tracer: "Tracer", call: Call) -> None:
    """Input channels are tied to the weight's in-axis; the out-axis labels the output.

    The weight is (out, in / groups, ...), transposed (in, out / groups, ...). Of a grouped convolution by a parameter,
    or by what is computed from one element by element, the dimension that holds one group's share gets an axis of its
    own, over all groups: block g of the inputs feeds block g of the outputs, and nothing else ties them here. Of a
    kernel that is computed in another way, the groups are those of the call only (one for each image of a batch), and
    its labels say which channels each group has.
    """
    _convolve(tracer, call, transposed=bool(call.arg("transposed", False)))


@rule("torchvision::deform_conv2d")
def deformed_convolution(tracer: "Tracer", call: Call) -> None:
    """The same where a kernel looks (Dai et al. 2017) is put out by a layer, a pair of numbers for each of its places,
    for each of some equal parts of the input's channels."""
    x, parts = call.arg("input"), int(call.arg("offset_groups"))
    for name in ("offset", "mask"):
        tracer.lock_all([call.arg(name)], "says where a kernel looks")
    for dims, label in tracer.labels(x).items():
        if dims == (1,):
            tracer.block(compact(label, dims).view(parts, -1), "deformed in equal parts")
    _convolve(tracer, call, transposed=False)


def _convolve(tracer: "Tracer", call: Call, *, transposed: bool) -> None:
    x, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    groups = int(call.arg("groups", 1))
    labels = _kernel_labels(tracer, weight)
    first, second = single(labels, 0), single(labels, 1)
    own = _own_parameter(tracer, weight, first, second)
    in_width = weight.shape[0] if transposed else weight.shape[1] * groups
    same_kernel = first is None and second is None and tracer.is_alike(weight, (0,))
    if groups == in_width == call.first_out.shape[1] and same_kernel:
        # One and the same kernel for each channel.
        inputs = outputs = single(tracer.labels(x), 1)
    elif groups > 1 and own is None:
        inputs, outputs = _groups_of_the_call(tracer, first, second, groups, weight, transposed)
    else:
        if groups > 1:
            whole_only = second is not None and tracer.leaf(weight) is None and _measured(tracer, second)
            second = _per_group_slots(tracer, weight, first, second, groups)
        inputs, outputs = (first, second) if transposed else (second, first)
        if groups > 1 and inputs is not None and outputs is not None:
            way: Way = "whole" if whole_only else _way(tracer, own, groups, in_width)
            rows = inputs.view(groups, -1), outputs.view(groups, -1)
            tracer.record.grouped.append(Grouped(tracer.layer_of(own or ""), *rows, way=way))
    made = _slid_along(tracer, call, x, weight)
    _take_in(tracer, x, weight, inputs, in_width, made)
    if outputs is not None:
        for label in tracer.labels(bias).values():
            tracer.tie(outputs, label.reshape(-1), "bias")
        made[(1,)] = spread(outputs, (1,), call.first_out.shape)
    tracer.put(call.first_out, made)
    _note_layer(tracer, weight, own, inputs, outputs, groups, transposed)


def _kernel_labels(tracer: "Tracer", weight: Tensor) -> Labels:
    """A kernel's labels; of one that is computed, those that run over its positions too hold for all of these."""
    labels = dict(tracer.labels(weight))
    if tracer.leaf(weight) is not None:
        return labels
    for dims, label in tracer.labels(weight).items():
        if dims in ((0,), (1,)):
            continue
        del labels[dims]
        channels = [d for d in dims if d < 2]
        if not channels:
            tracer.lock_label(label, dims, KERNEL)
            continue
        # A layer that puts out a row of inputs for each output: a place goes in all rows.
        place = (channels[-1],)
        narrow = tied_over(tracer, label, dims, [d for d in dims if (d,) != place], "one kernel")
        if place in labels:
            tracer.tie(compact(labels[place], place), compact(narrow, place), "one kernel")
        else:
            labels[place] = narrow
    return labels


def _own_parameter(tracer: "Tracer", weight: Tensor, first: Tensor | None, second: Tensor | None) -> str | None:
    """The parameter that the weight is, or that it is computed from element by element."""
    name = tracer.leaf(weight)
    if name is None:
        axes = [None if ids is None else tracer.axis_of(ids) for ids in (first, second)]
        names = {axis.tensor for dim, axis in enumerate(axes) if axis is not None and axis.dim == dim}
        name = names.pop() if len(names) == 1 else None
    return name if name is not None and tracer.record.shapes[name] == tuple(weight.shape) else None


def _way(tracer: "Tracer", name: str | None, groups: int, in_width: int) -> Way:
    """Where no module keeps the number of groups, and it isn't the number of channels, it is fixed in the code."""
    known = getattr(tracer.module_of(name or ""), "groups", None) == groups
    return "either" if known or groups == in_width else "even"


def _groups_of_the_call(
    tracer: "Tracer", first: Tensor | None, second: Tensor | None, groups: int, weight: Tensor, transposed: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The labels of a computed kernel's inputs and outputs over all groups; the columns of all groups are the same."""
    if second is not None:
        second = second.repeat(groups)
        if first is not None:
            rows = first.view(groups, -1)
            if not bool((rows == rows[0]).all()):
                tracer.block(rows, GROUPED_CONVOLUTION)
    elif first is not None and weight.shape[1] == 1:
        # One channel a group on this side: a group's other side goes with it.
        rows = first.view(groups, -1)
        if rows.shape[1] > 1:
            tracer.tie(rows[:, :1], rows, "a whole group")
        second = rows[:, 0]
    return (first, second) if transposed else (second, first)


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


def _slid_along(tracer: "Tracer", call: Call, x: Tensor, weight: Tensor) -> Labels:
    """Labels of the image that the output has at the same places: those along which one small kernel slides, from
    channel to channel (efficient channel attention, Wang et al. 2020). It sees what stays of a channel's neighbours."""
    if call.name not in _NAMES or call.arg("transposed", False) or weight.shape[:2] != (1, 1):
        return {}
    found: Labels = {}
    for dims, label in tracer.labels(x).items():
        if len(dims) == 1 and dims[0] > 1 and _keeps_size(call, weight, dims[0] - 2):
            if weight.shape[dims[0]] > 1:
                tracer.statistic(compact(label, dims), "convolution along channels")
            found[dims] = collapse(label, dims).expand(call.first_out.shape)
    return found


def _keeps_size(call: Call, weight: Tensor, dim: int) -> bool:
    """Whether an image of any size keeps it along one of its dimensions."""
    stride, padding, dilation = (
        int(values[min(dim, len(values) - 1)]) for values in map(call.arg, ("stride", "padding", "dilation"))
    )
    return stride == 1 and 2 * padding == dilation * (weight.shape[dim + 2] - 1)


def _take_in(
    tracer: "Tracer", x: Tensor, weight: Tensor, inputs: Tensor | None, in_width: int, passing: Collection[Dims]
) -> None:
    """Tie what the input carries to the weight's in-axis. `passing`: what only passes."""
    tied = False
    for dims, label in tracer.labels(x).items():
        if dims in passing:
            continue
        if dims == (1,) and inputs is not None:
            tracer.tie(inputs, compact(label, dims), FEEDS)
            tied = True
        elif 1 in dims and inputs is not None:
            shape = [1] * x.dim()
            shape[1] = in_width
            tracer.tie(inputs.view(shape).expand(collapse(label, dims).shape), collapse(label, dims), FEEDS)
            tied = True
        elif 1 in dims:
            if not tracer.is_alike(weight, (1,)):
                tracer.lock_label(label, dims, tracer.unlabelled_reason(weight))
        else:
            tracer.lock_label(label, dims, "a convolution slides over these positions")
    free = None if inputs is None or tied else tracer.free_label(x, 1)
    if free is not None and inputs is not None:
        tracer.tie(inputs, compact(free, (1,)), FEEDS)
    elif inputs is not None and not tied:
        tracer.lock(inputs, tracer.unlabelled_reason(x))


def _note_layer(
    tracer: "Tracer",
    weight: Tensor,
    own: str | None,
    inputs: Tensor | None,
    outputs: Tensor | None,
    groups: int,
    transposed: bool,
) -> None:
    """The layer whose weight this is: a kernel that other layers put out for the input at hand is none of its own."""
    if own is not None:
        axis = None if outputs is None else tracer.axis_of(outputs)
        if outputs is not None and axis is None:
            tracer.lock(outputs, "the weight is computed in a way that isn't understood")
        width, in_width = weight.shape[0], weight.shape[1] * groups
        if transposed:
            width, in_width = in_width, width
    else:
        inputs, outputs = (None if ids is None else distinct_in_order(ids) for ids in (inputs, outputs))
        axis = None if outputs is None else tracer.axis_of(outputs) or tracer.axis_around(outputs)
        if axis is None or len(tracer.record.shapes[axis.tensor]) < weight.dim():
            return
        own, groups = axis.tensor, 1
        outputs = torch.arange(axis.first, axis.first + axis.size)  # some rows of a packed weight stand for all
        width, in_width = axis.size, weight.shape[1] if inputs is None else len(inputs)
    layer = tracer.layer_of(own)
    tracer.produce(axis, layer)
    known = tracer.record.layers.get(layer)
    if known is None or known.kind == LINEAR:  # a spectral norm has multiplied the weight with vectors before
        depthwise = groups > 1 and groups in (width, in_width)
        kind = _kind(weight, transposed, groups, depthwise)
        tracer.record.layers[layer] = LayerUse(layer, kind, outputs, inputs, width, in_width, True, depthwise)


def _kind(weight: Tensor, transposed: bool, groups: int, depthwise: bool) -> str:
    kernel = "x".join(str(size) for size in weight.shape[2:])
    prefix = "depthwise " if depthwise else "grouped " if groups > 1 else ""
    return f"{prefix}{'transposed ' if transposed else ''}conv {kernel}"


@masked(*_NAMES, "torchvision::deform_conv2d")
def masked_convolution(call: Call, cut: Kept) -> Tensor:
    """Cut channels of the input are zero; of one that carries none (a constant), the weight's columns for them.

    A kernel that slides along channels sees those that stay, and nothing comes out at the others.
    """
    x, weight = call.arg("input"), call.arg("weight")
    if cut(x):
        along = [(dims[0], mask) for dims, mask in cut(x).items() if len(dims) == 1 and dims[0] > 1]
        small = zero_cut(x, lambda tensor: {dims: mask for dims, mask in cut(tensor).items() if dims[0] < 2})
        for dim, mask in along:
            small = small.index_select(dim, mask.nonzero().flatten())
        out: Tensor = call.func(small, weight, *call.args[2:], **call.kwargs)
        for dim, mask in along:
            shape = [*out.shape[:dim], len(mask), *out.shape[dim + 1 :]]
            out = out.new_zeros(shape).index_copy(dim, mask.nonzero().flatten(), out)
        return out
    if call.arg("groups", 1) == 1:
        weight = zero_cut(weight, cut)
    return call.func(x, weight, *call.args[2:], **call.kwargs)
