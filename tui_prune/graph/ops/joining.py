"""Operators that join tensors or take them apart."""

from math import gcd
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact
from tui_prune.graph.ops.pointwise import combine
from tui_prune.graph.ops.shared import tied_over
from tui_prune.graph.record import MODEL_INPUT
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

JOINED = "joined side by side"


@rule("cat", "concat", "concatenate")
def concatenate(tracer: "Tracer", call: Call) -> None:
    """Labels lie side by side along the dimension; along all others they are tied."""
    tensors = [t for t in call.args[0] if t.numel() or t.dim() > 1]
    out: Tensor = call.out
    dim = call.arg("dim", 0) % out.dim()
    labels: list[Tensor] = []
    carried = _narrowed(tracer, tensors, dim)
    _meet_in_fewer(tracer, carried, dim)
    found = {dims for own in carried for dims in own}
    if (dim,) not in found and any(tracer.free_label(tensor, dim) is not None for tensor in tensors):
        found.add((dim,))  # beside the model's input, a state that code makes by shape may still be narrower
    for dims in found:
        if dim in dims:
            labels.append(_side_by_side(tracer, tensors, carried, dims, dim, out.shape))
        else:
            labels.append(_in_step(tracer, tensors, carried, dims, out.shape))
    # A label along the joined dimension that needs no other one: widths differ, so a missing side is filled above.
    tracer.put(out, labels)


def _narrowed(tracer: "Tracer", tensors: list[Tensor], dim: int) -> list[Labels]:
    """The tensors' labels; where some vary along the joined dimension alone, and some along others too (rows of a finer
    image), what lies over the same place goes together there."""
    carried = [dict(tracer.labels(tensor)) for tensor in tensors]
    if not any((dim,) in own for own in carried):
        return carried
    for own in carried:
        for dims in [dims for dims in own if dim in dims and len(dims) > 1]:
            label = tied_over(tracer, own.pop(dims), dims, [d for d in dims if d != dim], "one channel")
            if (dim,) in own:
                tracer.tie(compact(own[dim,], (dim,)), compact(label, (dim,)), "one channel")
            own.setdefault((dim,), label)
    return carried


def _meet_in_fewer(tracer: "Tracer", carried: list[Labels], dim: int) -> None:
    """Where one tensor's channels lie along fewer dimensions than another's (a position in all heads, which rotary
    tables have made one channel, beside the positions in each head), they meet along those: the rest is one channel."""
    found = {dims for own in carried for dims in own if dim not in dims}
    for wide in sorted(found, key=len, reverse=True):
        fewer = {d for own in carried if wide not in own for d in own if d in found and set(d) < set(wide)}
        if len(fewer) != 1:
            continue
        (dims,) = fewer
        for own in carried:
            if wide in own:
                label = tied_over(tracer, own.pop(wide), wide, set(wide) - set(dims), JOINED)
                if dims in own:
                    tracer.tie(compact(own[dims], dims), compact(label, dims), JOINED)
                own.setdefault(dims, label)


def _side_by_side(
    tracer: "Tracer", tensors: list[Tensor], carried: list[Labels], dims: Dims, dim: int, shape: torch.Size
) -> Tensor:
    fixed: int | None = None
    parts: list[Tensor] = []
    for tensor, own in zip(tensors, carried, strict=True):
        label = own.get(dims)
        if label is not None:
            parts.append(collapse(label, dims))
            continue
        free = tracer.free_label(tensor, dim) if dims == (dim,) else None
        if free is not None:
            parts.append(collapse(free, dims))
            for other, theirs in zip(tensors, carried, strict=True):
                if dims in theirs and other.shape == tensor.shape:
                    tracer.guess(free, theirs[dims], dim)
                    break
            continue
        if fixed is None:
            fixed = tracer.fixed("is joined with " + _unlabelled(tracer.unlabelled_reason(tensor)))
        sizes = [tensor.shape[d] if d in dims else 1 for d in range(tensor.dim())]
        parts.append(torch.full(sizes, fixed))
    return torch.cat(parts, dim).expand(shape)


def _unlabelled(reason: str) -> str:
    return "the model input" if reason == MODEL_INPUT else "values of a fixed size"


def _in_step(tracer: "Tracer", tensors: list[Tensor], carried: list[Labels], dims: Dims, shape: torch.Size) -> Tensor:
    known = [own[dims] for own in carried if dims in own]
    first = compact(known[0], dims)
    for label in known[1:]:
        tracer.tie(first, compact(label, dims), JOINED)
    for tensor, own in zip(tensors, carried, strict=True):
        real = [d for d in dims if tensor.shape[d] > 1]
        if dims not in own and real and not tracer.is_alike(tensor, real):
            tracer.lock(first, tracer.unlabelled_reason(tensor))
    return collapse(known[0], dims).expand(shape)


@rule("stack")
def stack(tracer: "Tracer", call: Call) -> None:
    """A new dimension without labels; along all others the operands are tied."""
    tensors, out = list(call.args[0]), call.out
    dim = call.arg("dim", 0) % out.dim()
    labels = combine(tracer, tensors, tensors[0], JOINED)
    tracer.put(out, [label.unsqueeze(dim).expand(out.shape) for label in labels.values()])


@rule("split", "split_with_sizes", "chunk", "unbind", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk",
      "tensor_split", "hsplit")  # fmt: skip
def split(tracer: "Tracer", call: Call) -> None:
    """The parts of a labelled dimension must stay in proportion: equally many stay of each run as long as the parts'
    common unit. Parts without one have a fixed place."""
    x, parts = call.args[0], list(call.out)
    dim = call.arg("dim", 0) % x.dim()
    carried: list[list[Tensor]] = [[] for _ in parts]
    for dims, label in tracer.labels(x).items():
        for place, part in zip(carried, call.func(label, *call.args[1:], **call.kwargs), strict=True):
            place.append(part)
        if dim not in dims or len(parts) < 2:
            continue
        ids = compact(label, dims).movedim(dims.index(dim), 0)
        tracer.fixes_size(ids)
        sizes = {1} if call.name == "unbind" else {part.shape[dim] for part in parts}
        unit = gcd(*sizes)
        if unit > 1 or len(sizes) == 1:
            tracer.block(ids.reshape(len(ids) // unit, -1), "is split into equal parts")
        else:
            tracer.lock(ids, "is split into unequal parts")
    for part, place in zip(parts, carried, strict=True):
        tracer.put(part, place)
