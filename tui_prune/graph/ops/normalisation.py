"""Normalisation layers. Those with statistics over channels change when channels go; batch norm doesn't."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Labels, collapse, compact, spread
from tui_prune.graph.ops.shared import Kept, recurs, tied_over, zero_cut
from tui_prune.graph.record import BATCH_NORM, GROUP_NORM, Grouped, LayerUse
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                "_batch_norm_with_update", "_batch_norm_no_update", "cudnn_batch_norm", "miopen_batch_norm",
                "batch_norm")  # fmt: skip


@rule(*_BATCH_NORMS)
def batch_norm(tracer: "Tracer", call: Call) -> None:
    """Channel (dimension 1), weight, bias, running mean and variance go together.

    Where the batch's own statistics are taken (a convolution's weights are standardised so), they change with a cut
    along any other dimension.
    """
    x, parameters = call.args[0], [p for p in call.args[1:5] if isinstance(p, Tensor)]
    labels = tracer.labels(x)
    if _takes_statistics(call):
        for dims, label in labels.items():
            if dims != (1,):
                tracer.statistic(compact(label, dims), call.name)
    tracer.put(call.first_out, _tie_parameters(tracer, x, parameters, BATCH_NORM))
    _note(tracer, parameters, BATCH_NORM, x.shape[1])
    if not parameters:
        tracer.note_bare_norm(labels, 1)


def _takes_statistics(call: Call) -> bool:
    """Whether a batch norm normalises by what it sees, and not by running statistics."""
    return bool(call.arg("training", call.name == "_batch_norm_with_update"))


@rule("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(tracer: "Tracer", call: Call) -> None:
    """Weight and bias go with the normalised dimensions, whose statistics change with a cut."""
    x, shape = call.args[0], call.args[1]
    parameters = [p for p in call.args[2:4] if isinstance(p, Tensor)]
    first = x.dim() - len(shape)
    labels = _without_finer_rows(tracer, x, first)
    for dims, label in list(labels.items()):
        inside = [d for d in dims if d >= first]
        if not inside:
            continue
        tracer.statistic(compact(label, dims), call.name)
        tracer.fixes_size(compact(label, dims))
        for parameter in parameters:
            for own, partner in tracer.labels(parameter).items():
                shifted = tuple(d + first for d in own)
                if set(shifted) & set(dims):
                    both = tuple(sorted({*shifted, *dims}))
                    wide = partner.expand(x.shape)
                    tracer.tie(collapse(label.expand(x.shape), both), collapse(wide, both), "layer norm")
                    if set(shifted) < set(dims):  # all that lies over one place of the weight is one now
                        labels.pop(dims, None)
                        labels.setdefault(shifted, wide)
    tracer.put(call.first_out, labels)
    _note(tracer, parameters, "layer norm", shape[-1])
    if not parameters:
        tracer.note_bare_norm(labels, first)


def _without_finer_rows(tracer: "Tracer", x: Tensor, first: int) -> Labels:
    """The input's labels; what recurs along all dimensions outside of a norm (the places of a finer image) is one."""
    labels = dict(tracer.labels(x))
    for dims, label in tracer.labels(x).items():
        outside = [d for d in dims if d < first]
        if outside and dims[-1] >= first and all(recurs(compact(label, dims), dims.index(d)) for d in outside):
            inside = tuple(d for d in dims if d >= first)
            narrow = tied_over(tracer, labels.pop(dims), dims, outside, "one channel")
            labels.setdefault(inside, narrow)
    return labels


@rule("native_group_norm", "group_norm")
def group_norm(tracer: "Tracer", call: Call) -> None:
    """Like batch norm, and whole groups go or equally many channels stay in each.

    Where no module keeps the number of groups, it is fixed in the code, and none can go.
    """
    x, groups = call.args[0], call.arg("group", call.arg("num_groups"))
    parameters = [p for p in call.args[1:5] if isinstance(p, Tensor)]
    name, module = tracer.running_part()
    labels = _tie_parameters(tracer, x, parameters, "group norm")
    for dims, label in labels.items():
        if 1 not in dims:
            continue
        ids = compact(label, dims).movedim(dims.index(1), 0)
        rows = ids.reshape(groups, -1)
        tracer.statistic(ids, "group_norm")
        if name is not None and getattr(module, "num_groups", None) == groups > 1 and bool((rows >= 0).all()):
            tracer.record.grouped.append(Grouped(name, rows, rows, GROUP_NORM))
        else:
            tracer.block(rows, GROUP_NORM)
    tracer.put(call.first_out, labels)
    _note(tracer, parameters, "group norm", x.shape[1])
    if not parameters:
        tracer.note_bare_norm(labels, 1)


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(tracer: "Tracer", call: Call) -> None:
    """Of w = g v / |v| (Salimans and Kingma 2016, eq. 2), g goes with v along g's own dimension.

    A cut of v along another one changes |v|; `surgery.kernels` scales g so that w stays what it was.
    """
    direction, size, dim = call.args[0], call.args[1], call.arg("dim", 0)
    labels = tracer.labels(direction)
    for dims, label in labels.items():
        if dims == (dim,):
            for partner in tracer.labels(size).values():
                tracer.tie(compact(label, dims), partner.reshape(-1), "weight norm")
    tracer.put(call.first_out, labels)


def _tie_parameters(tracer: "Tracer", x: Tensor, parameters: list[Tensor], why: str) -> Labels:
    """Tie a norm's parameters to the channels (dimension 1); what is left to tell apart of the input's labels."""
    labels = dict(tracer.labels(x))
    partners = [partner for parameter in parameters for partner in tracer.labels(parameter).values()]
    shape = [-1 if d == 1 else 1 for d in range(x.dim())]
    for dims, label in tracer.labels(x).items():
        if 1 not in dims:
            continue
        for partner in partners:
            tracer.tie(collapse(label, dims), partner.reshape(shape), why)
        if partners and len(dims) > 1:  # all that lies over one of the norm's channels is one now
            del labels[dims]
            labels.setdefault((1,), partners[0].reshape(shape).expand(x.shape))
    return labels


def _note(tracer: "Tracer", parameters: list[Tensor], kind: str, width: int) -> None:
    name = next((n for p in parameters if (n := tracer.leaf(p)) is not None), None)
    if name is None:
        return
    slots = next((compact(label, dims) for p in parameters for dims, label in tracer.labels(p).items()), None)
    layer = tracer.layer_of(name)
    tracer.record.layers.setdefault(layer, LayerUse(layer, kind, slots, slots, width, width, False))


@masked(*_BATCH_NORMS)
def masked_batch_norm(call: Call, cut: Kept) -> object:
    """Statistics over the kept positions of each channel only."""
    x = call.args[0]
    kept = {dims: mask for dims, mask in cut(x).items() if dims != (1,)}
    if not kept or not _takes_statistics(call):
        return call.func(*call.args, **call.kwargs)
    if any(len(dims) > 1 for dims in kept):
        return NotImplemented
    index = {dim: mask.nonzero().flatten() for (dim,), mask in kept.items()}
    small = x
    for dim, positions in index.items():
        small = small.index_select(dim, positions)
    normed, *others = call.func(small, *call.args[1:], **call.kwargs)
    for dim, positions in reversed(index.items()):
        shape = [*normed.shape[:dim], x.shape[dim], *normed.shape[dim + 1 :]]
        normed = normed.new_zeros(shape).index_copy(dim, positions, normed)
    return (normed, *others)


@masked("native_layer_norm", "_fused_rms_norm")
def masked_layer_norm(call: Call, cut: Kept) -> object:
    """Statistics over the kept positions only, by the same operator on those; scaled and shifted afterwards, since
    other positions may be kept in other rows (in other heads)."""
    x, shape = call.args[0], list(call.args[1])
    first = x.dim() - len(shape)
    kept = {dims: mask for dims, mask in cut(x).items() if dims[-1] >= first}
    if not kept:
        return call.func(*call.args, **call.kwargs)
    differing = {d for dims in kept for d in dims}
    rows = torch.ones([size if d in differing or d >= first else 1 for d, size in enumerate(x.shape)], dtype=torch.bool)
    for dims, mask in kept.items():
        rows = rows & spread(mask.cpu(), dims, rows.shape)
    rows = rows.flatten(first)
    counts = rows.sum(-1).reshape(-1)
    count = int(counts[0])
    if not count or bool((counts != count).any()):
        return NotImplemented
    places = rows.nonzero()[:, -1].reshape(*rows.shape[:-1], count).to(x.device)
    wide = places.expand(*x.shape[:first], count)
    parameters = [p.flatten()[places] if isinstance(p, Tensor) else None for p in call.args[2:4]]
    rest = [None if isinstance(p, Tensor) else p for p in call.args[2:4]]
    small, *others = call.func(x.flatten(first).gather(-1, wide), [count], *rest, *call.args[4:], **call.kwargs)
    small = small if parameters[0] is None else small * parameters[0]
    small = small if len(parameters) < 2 or parameters[1] is None else small + parameters[1]
    out = small.new_zeros(*x.shape[:first], rows.shape[-1]).scatter(-1, wide, small)
    return (out.reshape(x.shape), *others)


@masked("native_group_norm")
def masked_group_norm(call: Call, cut: Kept) -> object:
    """Statistics over the kept channels of each group only, without the groups of which nothing is left."""
    x, weight, bias, batch, _channels, positions, groups, eps = call.args[:8]
    mask = cut(x).get((1,))
    if mask is None:
        return NotImplemented
    sizes = mask.view(groups, -1).sum(1)
    groups = int((sizes > 0).sum())
    if len(sizes[sizes > 0].unique()) != 1:
        return NotImplemented
    index = mask.nonzero().flatten()
    parameters = [p.index_select(0, index) if isinstance(p, Tensor) else p for p in (weight, bias)]
    small = call.func(x.index_select(1, index).contiguous(), *parameters, batch, len(index), positions, groups, eps)
    return (torch.zeros_like(x).index_copy(1, index, small[0]), *small[1:])


@masked("_weight_norm_interface", "_weight_norm")
def masked_weight_norm(call: Call, cut: Kept) -> object:
    """The norm of v runs over its kept elements only, where g can't make up for those that are cut."""
    direction, dim = call.args[0], call.arg("dim", 0)
    if any(dims == (dim,) for dims in cut(direction)):
        safe = {dims: mask for dims, mask in cut(direction).items() if dims != (dim,)}
        direction = zero_cut(direction, lambda _: safe)
    else:
        direction = zero_cut(direction, cut)
    return call.func(direction, *call.args[1:], **call.kwargs)
