"""Operators that write into an existing tensor, or into a part of one."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.channels.labels import Dims, Labels, collapse, compact, rebroadcast
from tui_prune.channels.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.channels.tracer import Tracer

_PARTLY = "is written into a part of a tensor of fixed size"


@rule("copy", "copy_")
def copy(tracer: "Tracer", call: Call) -> None:
    """The target carries what the source carries."""
    target, source = call.first_out, call.arg("src")
    labels = tracer.by_dims([label.expand(target.shape) for label in tracer.labels(source).values()])
    tracer.put(target, labels)
    write_through(tracer, target, labels)


@rule("zeros_like", "ones_like", "full_like", "empty_like")
def make_alike(tracer: "Tracer", call: Call) -> None:
    """A tensor made in the likeness of another is as wide as that at any width, and all its channels are alike."""
    tracer.put(call.first_out, tracer.labels(call.arg("self")))


@rule("fill", "fill_", "zero", "zero_", "uniform_", "normal_", "bernoulli_")
def fill(tracer: "Tracer", call: Call) -> None:
    """The target carries nothing any more."""
    tracer.put(call.first_out, {})
    write_through(tracer, call.first_out, {})


@rule("index_put", "index_put_", "_index_put_impl", "_index_put_impl_")
def write_rows(tracer: "Tracer", call: Call) -> None:
    """Whole rows are written: along the other dimensions target and source are tied.

    Rows that are not written hold what the target was made with, the same for a channel that goes and one that stays.
    """
    target, indices, values = call.first_out, call.arg("indices"), call.arg("values")
    tracer.lock_all([i for i in indices if i is not None], "these values are used as positions")
    indexed = {d for d, index in enumerate(indices) if index is not None}
    present, written = tracer.labels(call.arg("self")), tracer.labels(values)
    if values.dim() < target.dim() and [indices[d].dim() for d in indexed] == [1]:
        # A single row comes without its first dimension.
        values = values.reshape([1] * (target.dim() - values.dim()) + list(values.shape))
        written = tracer.by_dims([label.reshape(values.shape) for label in written.values()])
    same_rank = values.dim() == target.dim()
    for dims, label in [*present.items(), *written.items()]:
        if set(dims) & indexed or not same_rank:
            tracer.lock_label(label, dims, _PARTLY)
    if not same_rank:
        tracer.put(target, {})
        return
    labels = {dims: label for dims, label in present.items() if not set(dims) & indexed}
    for dims, label in written.items():
        if set(dims) & indexed:
            continue
        if dims in labels:
            tracer.tie(compact(labels[dims], dims), compact(label, dims), "written side by side")
        else:
            labels[dims] = collapse(label, dims).expand(target.shape)
    tracer.put(target, labels)
    write_through(tracer, target, labels)


def write_through(tracer: "Tracer", view: Tensor, labels: Labels) -> None:
    """A view was written: what its base carries changes at the same places."""
    base = view._base
    if base is None:
        return
    before = tracer.labels(base)
    same = view.shape == base.shape and view.stride() == base.stride()
    if same:
        tracer.put(base, labels)
        return
    if not before and not labels:
        return
    if before.keys() == labels.keys() and all(_spans(view, base, dims) for dims in labels):
        for dims, label in labels.items():
            tracer.tie(compact(before[dims], dims), compact(label, dims), "written side by side")
        return
    if len(before) > 1 or len(labels) > 1 or not _dense(base):
        for carried, tensor in ((before, base), (labels, view)):
            for dims, label in carried.items():
                tracer.lock_label(label, dims, _PARTLY)
            tracer.put(tensor, {})
        return
    fixed = tracer.fixed(_PARTLY)
    whole = torch.empty_strided(base.shape, base.stride(), dtype=torch.int64)
    whole.copy_(next(iter(before.values())) if before else torch.full((), fixed))
    part = whole.as_strided(view.shape, view.stride(), view.storage_offset() - base.storage_offset())
    part.copy_(next(iter(labels.values())) if labels else torch.full((), fixed))
    tracer.put(base, [rebroadcast(whole)])


def _spans(view: Tensor, base: Tensor, dims: Dims) -> bool:
    """Whether a view is a part of its base that is as long along these dimensions."""
    return view.stride() == base.stride() and all(view.shape[d] == base.shape[d] for d in dims)


def _dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense.default(tensor)
