"""Reductions, and operators that normalise along a dimension: what they sum over changes with a cut."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_prune.graph.labels import collapse, compact
from tui_prune.graph.ops.shared import Kept, differs_along, dimensions, kept_places, places_of, tied_over
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "var", "var_mean", "std", "std_mean", "norm", "aminmax",
               "linalg_vector_norm", "logsumexp", "prod", "any", "all", "nansum",
               "median", "nanmedian", "kthvalue", "mode")  # fmt: skip
_LENGTHS = ("norm", "linalg_vector_norm")
"""A weight that is divided by its length is scaled back after a cut, so nothing of it changes (`surgery.kernels`)."""
_ALONG = ("_softmax", "softmax", "_log_softmax", "log_softmax", "cumsum", "logcumsumexp", "cumprod", "cummax", "cummin")
_WITH_POSITIONS = frozenset({"max", "min", "median", "nanmedian", "kthvalue", "mode", "cummax", "cummin"})
"""Operators whose second output says at which positions the values were found."""
SUMMED = "summed up"
UNCLEAR = "values are put together along rows of channels (heads) that can't be told from the places in them"


def _reduced(call: Call) -> tuple[int, ...]:
    rank = call.args[0].dim()
    return dimensions(call.arg("dim", -1 if call.name in ("kthvalue", "mode") else None), rank)


@rule(*_REDUCTIONS)
def reduce(tracer: "Tracer", call: Call) -> None:
    """Labels on the reduced dimensions end there; the others pass.

    Where rows of channels are reduced to one row, a place stands for all that lie over it, and they go together.
    """
    from tui_prune.graph.ops.pointwise import pointwise

    x = call.args[0]
    if call.name in ("max", "min") and isinstance(call.arg("other"), Tensor):
        pointwise(tracer, call)
        return
    reduced = _reduced(call)
    outputs = [o for o in (call.out if isinstance(call.out, (tuple, list)) else (call.out,)) if isinstance(o, Tensor)]
    labels: list[Tensor] = []
    found: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        over = set(dims) & set(reduced)
        places = places_of(label, dims) if over else None
        if over and places is None:
            tracer.lock_label(label, dims, UNCLEAR)
            continue
        if over and places not in reduced:
            label = tied_over(tracer, label, dims, reduced, SUMMED)
            dims = tuple(d for d in dims if d not in reduced)
        elif over:
            if call.name not in _LENGTHS or tracer.sources([x]) is None:
                tracer.statistic(compact(label, dims), call.name)
            tracer.note_bare_norm(tracer.labels(x), x.dim() - len(reduced))
            if len(outputs) > 1 and call.name in _WITH_POSITIONS:
                found.append(compact(label, dims).reshape(-1))
            continue
        small = collapse(label, dims)
        if outputs[0].dim() != x.dim():
            for d in reversed(reduced):
                small = small.squeeze(d)
        labels.append(small.expand(outputs[0].shape))
    for out in outputs:
        tracer.put(out, labels)
    if found:
        tracer.note_positions(outputs[1], torch.cat(found), call.name)


@rule(*_ALONG)
def normalise_along(tracer: "Tracer", call: Call) -> None:
    """Labels pass; along the operator's own dimension the values depend on all that is there."""
    x, labels = call.args[0], tracer.labels(call.args[0])
    dim = call.arg("dim", -1) % max(x.dim(), 1)
    found: list[Tensor] = []
    for dims, label in labels.items():
        if dim not in dims:
            continue
        places = places_of(label, dims)
        if places is None:
            tracer.lock_label(label, dims, UNCLEAR)
        elif places != dim:
            tied_over(tracer, label, dims, (dim,), SUMMED)
        else:
            tracer.statistic(compact(label, dims), call.name.strip("_"))
            if call.name in _WITH_POSITIONS:
                found.append(compact(label, dims).reshape(-1))
    tracer.put(call.first_out, labels)
    if call.name in _WITH_POSITIONS:
        tracer.put(call.out[1], labels)
        if found:
            tracer.note_positions(call.out[1], torch.cat(found), call.name)


@masked(*_REDUCTIONS)
def masked_reduce(call: Call, cut: Kept) -> Any:
    """The operator sees the kept positions only."""
    x = call.args[0]
    reduced = _reduced(call)
    kept = {dims: mask for dims, mask in cut(x).items() if any(differs_along(dims, mask, d) for d in reduced)}
    for dims, mask in kept.items():  # where all rows along it keep the same, nothing that is cut meets what stays
        along = [d for d in reversed(reduced) if differs_along(dims, mask, d)]
        found = ((d, kept_places(x, dims, mask, d)) for d in along)
        dim, places = next((pair for pair in found if pair[1] is not None), (along[0], None))
        if places is None or any(dim in other for other in kept if other != dims):
            return NotImplemented
        x = x.gather(dim, places)
    return call.func(x, *call.args[1:], **call.kwargs)


@masked(*_ALONG)
def masked_along(call: Call, cut: Kept) -> Any:
    """The operator runs on the kept positions; cut ones become 0."""
    x = call.args[0]
    dim = call.arg("dim", -1) % max(x.dim(), 1)
    kept = {dims: mask for dims, mask in cut(x).items() if differs_along(dims, mask, dim)}
    if not kept:  # all rows along it keep the same places
        return call.func(*call.args, **call.kwargs)
    if len(kept) > 1:
        return NotImplemented
    ((dims, mask),) = kept.items()
    places = kept_places(x, dims, mask, dim)
    if places is None:
        return NotImplemented
    small = call.func(x.gather(dim, places), *call.args[1:], **call.kwargs)

    def widened(part: Tensor) -> Tensor:
        return part.new_zeros(x.shape).scatter(dim, places, part)

    return tuple(map(widened, small)) if isinstance(small, (tuple, list)) else widened(small)
