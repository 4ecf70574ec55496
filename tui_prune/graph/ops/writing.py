"""Operators that write into an existing tensor, or into a part of one."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact, rebroadcast
from tui_prune.graph.ops.shared import Kept
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

POSITIONS = "these values are used as positions"
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


@rule("rand_like", "randn_like", "randint_like")
def draw_alike(tracer: "Tracer", call: Call) -> None:
    """Random numbers for each value of another tensor."""
    tracer.put(call.first_out, tracer.labels(call.arg("self")))


@masked("rand_like", "randn_like", "randint_like")
def masked_draw(call: Call, cut: Kept) -> object:
    """As many numbers are drawn as stay, so that both networks draw the same."""
    x = call.arg("self")
    kept = cut(x)
    if any(len(dims) > 1 for dims in kept):
        return NotImplemented
    index = {dim: mask.nonzero().flatten() for (dim,), mask in kept.items()}
    small = x
    for dim, places in index.items():
        small = small.index_select(dim, places)
    drawn = call.func(small, *call.args[1:], **call.kwargs)
    for dim, places in index.items():
        shape = [*drawn.shape[:dim], x.shape[dim], *drawn.shape[dim + 1 :]]
        drawn = drawn.new_zeros(shape).index_copy(dim, places, drawn)
    return drawn


@rule("index_add", "index_copy", "index_reduce", "index_fill")
def write_by_number(tracer: "Tracer", call: Call) -> None:
    """Rows are written where their numbers say: along the other dimensions target and source are tied."""
    target, source = call.first_out, call.arg("source")
    tracer.lock_all([call.arg("index")], POSITIONS)
    _write_along(tracer, target, call.arg("self"), source, {call.arg("dim") % max(target.dim(), 1)})


@rule("scatter", "scatter_add", "scatter_reduce")
def write_to_places(tracer: "Tracer", call: Call) -> None:
    """Each value moves along one dimension to where its position says; on the others it stays where it is."""
    target, source, positions = call.first_out, call.arg("src"), call.arg("index")
    tracer.lock_all([positions], POSITIONS)
    dim = call.arg("dim") % max(target.dim(), 1)
    for one in (call.arg("self"), source):
        for dims, label in tracer.labels(one).items():
            if any(d != dim and positions.shape[d] != one.shape[d] for d in dims):
                tracer.lock_label(label, dims, _PARTLY)
    _write_along(tracer, target, call.arg("self"), source, {dim})


def _write_along(tracer: "Tracer", target: Tensor, before: Tensor, source: object, moved: set[int]) -> None:
    """What `target` carries once parts of `source` have come to other places of `before` along some dimensions.

    What isn't written holds what the target was made with, the same for a channel that goes and one that stays.
    """
    labels: Labels = {}
    for tensor in (before, source):
        for dims, label in tracer.labels(tensor).items():
            if set(dims) & moved:
                tracer.lock_label(label, dims, _PARTLY)
            elif dims in labels:
                tracer.tie(compact(labels[dims], dims), compact(label, dims), "written side by side")
            else:
                labels[dims] = collapse(label, dims).expand(target.shape)
    for dims, label in labels.items():
        real = [d for d in dims if before.shape[d] > 1 and before.stride(d)]
        if dims not in tracer.labels(before) and real and not tracer.is_alike(before, real):
            tracer.lock_label(label, dims, tracer.unlabelled_reason(before))
    tracer.put(target, labels)
    write_through(tracer, target, labels)


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
    tracer.lock_all([i for i in indices if i is not None], POSITIONS)
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
    if _written_into_alike(tracer, base, view, labels):
        return
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


def _written_into_alike(tracer: "Tracer", base: Tensor, view: Tensor, labels: Labels) -> bool:
    """Tie what is written to the positions of a tensor of equal values that it is written to: what the rest of it holds
    is the same for a channel that goes and one that stays. Returns whether that is all."""
    if not labels or any(len(dims) != 1 for dims in labels) or not _dense(base) or not base.is_contiguous():
        return False
    carried: Labels = {}
    for (dim,), label in labels.items():
        step = view.stride(dim)
        own = next((d for d in range(base.dim()) if base.shape[d] > 1 and base.stride(d) <= step), None)
        free = None if own is None else tracer.free_label(base, own)
        if own is None or free is None or (own,) in carried:
            return False
        carried[own,] = free
        start = (view.storage_offset() - base.storage_offset()) // base.stride(own) % base.shape[own]
        stride = step // base.stride(own)
        ids = compact(free, (own,))[start : start + stride * view.shape[dim] : stride]
        tracer.tie(ids, compact(label, (dim,)), "written side by side")
    before = tracer.labels(base)
    if any(carried.get(dims) is not label for dims, label in before.items()):
        return False
    tracer.put(base, carried)
    return True


def _dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense.default(tensor)
