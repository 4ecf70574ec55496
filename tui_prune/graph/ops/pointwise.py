"""Operators that work element by element."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.ops.shared import places_of, tied_over
from tui_prune.graph.ops.writing import write_through
from tui_prune.graph.record import ADDED
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_SUMS = frozenset({"add", "add_", "sub", "sub_", "rsub", "lerp", "lerp_", "addcmul", "addcmul_"})


@rule(
    *("add", "where", "masked_fill", "hardtanh", "hardswish", "clamp", "prelu", "_prelu_kernel", "celu", "selu"),
    *("dropout", "native_dropout", "feature_dropout", "_fused_dropout", "bernoulli", "rrelu_with_noise", "_to_copy"),
    *("tril", "triu"),
)
def pointwise(tracer: "Tracer", call: Call) -> None:
    """The rule of every operator that carries torch's pointwise tag as well."""
    operands = [*tensors_in(call.args), *tensors_in(call.kwargs)]
    out = call.first_out
    if len(operands) == 1 and operands[0].shape == out.shape:
        labels = tracer.labels(operands[0])
    else:
        why = ADDED if call.name in _SUMS else f"meets in {call.name.rstrip('_')}"
        labels = combine(tracer, operands, out, why)
    whole = [operand for operand in operands if operand.shape == out.shape]
    factor = tracer.factor_of(call, whole[0]) if len(whole) == 1 else None
    if factor is not None:
        for dims, label in labels.items():
            tracer.scale(compact(label, dims), factor)
    unchanged = labels == {} or all(tracer.labels(out).get(dims) is label for dims, label in labels.items())
    tracer.put(out, labels)
    for other in tensors_in(call.out):
        if other is not out and other.shape == out.shape:
            tracer.put(other, labels)
    if call.func._schema.is_mutable and not unchanged:
        write_through(tracer, out, labels)


def combine(tracer: "Tracer", operands: list[Tensor], out: Tensor, why: str) -> Labels:
    """Tie the operands' labels element by element; the labels of the result.

    An operand that has a real size where another has labels, and none itself, locks the other. What is broadcast
    (size 1, stride 0) ties nothing. What differs from row to row only (from head to head) leaves the places in them
    free, as many in each.
    """
    found: list[tuple[Dims, Tensor, Tensor]] = []
    for operand in operands:
        for dims, label in tracer.labels(operand).items():
            shift = out.dim() - operand.dim()
            dims = tuple(d + shift for d in dims)
            wide = label.expand(out.shape) if label.shape != out.shape else label
            _meet(tracer, found, dims, wide, operand, why)
    for operand in operands:
        shift = out.dim() - operand.dim()
        own = [tuple(d + shift for d in dims) for dims in tracer.labels(operand)]
        for dims, label, source in found:
            if operand is source or any(set(dims) & set(mine) for mine in own):
                continue
            real = [d for d in dims if d >= shift and operand.shape[d - shift] > 1 and operand.stride(d - shift) != 0]
            if not real or tracer.is_alike(operand, [d - shift for d in real]):
                continue
            rows, reason = _rows(real, dims, label), tracer.unlabelled_reason(operand)
            if rows is not None:
                _keep_rows(tracer, rows, reason)
            elif set(real) < set(dims) and places_of(label, dims) not in (None, *real):
                tied_over(tracer, label, dims, real, why)
            else:
                tracer.lock_label(label, dims, reason)
    return {dims: label for dims, label, _ in found}


def _meet(
    tracer: "Tracer", found: list[tuple[Dims, Tensor, Tensor]], dims: Dims, label: Tensor, operand: Tensor, why: str
) -> None:
    others = [(other_dims, other, source) for other_dims, other, source in found if source is not operand]
    for other_dims, other, source in others:
        if other_dims == dims:
            ids = compact(label, dims)
            tracer.tie(compact(other, dims), ids, why)
            if why == ADDED and tracer.leaf(operand) is None and tracer.leaf(source) is None:
                tracer.note_sum(ids)
            return
    for other_dims, other, source in others:
        common = [d for d in dims if d in other_dims]
        if (rows := _rows(dims, other_dims, other)) is not None:
            tracer.note_heads(rows, compact(label, dims).reshape(-1))
        elif (rows := _rows(other_dims, dims, label)) is not None:
            tracer.note_heads(rows, compact(other, other_dims).reshape(-1))
        elif _is_wide(tracer, source, dims, common, label) and (rows := _rows(common, other_dims, other)) is not None:
            _keep_rows(tracer, rows, tracer.unlabelled_reason(source))
            tracer.lock_label(label, dims, tracer.unlabelled_reason(source))
        elif _is_wide(tracer, operand, other_dims, common, label) and (rows := _rows(common, dims, label)) is not None:
            _keep_rows(tracer, rows, tracer.unlabelled_reason(operand))
            tracer.lock_label(other, other_dims, tracer.unlabelled_reason(operand))
        elif common:
            both = tuple(sorted(set(other_dims) | set(dims)))
            tracer.tie(collapse(other, both), collapse(label, both), why)
            if set(other_dims) < set(dims):  # all that lies over one of its places is one now
                return
            if set(dims) < set(other_dims):
                found[:] = [one for one in found if one[0] != other_dims]
    if all(other_dims != dims for other_dims, _, _ in found):
        found.append((dims, label, operand))


def _is_wide(tracer: "Tracer", operand: Tensor, dims: Dims, rows: Sequence[int], out: Tensor) -> bool:
    """Whether an operand has a real size without labels along one of `dims` of the result, `rows` aside: what meets it
    there is fixed (kernels for each position, of groups of channels)."""
    shift = out.dim() - operand.dim()
    labelled = {d for own in tracer.labels(operand) for d in own}
    real = [d for d in range(operand.dim()) if d not in labelled and operand.shape[d] > 1 and operand.stride(d) != 0]
    return bool(rows) and any(d - shift in real for d in dims if d not in rows)


def _keep_rows(tracer: "Tracer", rows: Tensor, reason: str) -> None:
    """Rows (heads) that meet something fixed for each of them: all stay, and as many places in each."""
    tracer.note_heads(rows, torch.full((len(rows),), tracer.fixed(reason)))


def _rows(outer: Sequence[int], dims: Dims, label: Tensor) -> Tensor | None:
    """The slots of a label in rows (shape: rows, places), where the dimensions `outer` count whole rows of channels
    (heads) and not the places in them; None where they don't."""
    if not set(outer) < set(dims) or dims[-1] in outer:
        return None
    ids = compact(label, dims)
    places = [dims.index(d) for d in dims if d not in outer]
    rows = ids.permute([*(dims.index(d) for d in outer), *places]).flatten(0, len(outer) - 1).flatten(1)
    different = torch.unique(rows, dim=0) if len(rows) * rows.shape[1] > len(torch.unique(ids)) else rows
    return rows if len(torch.unique(ids)) == different.numel() else None


@rule("glu")
def gated_linear_unit(tracer: "Tracer", call: Call) -> None:
    """The halves along a dimension are multiplied: element i of one goes with element i of the other."""
    x, dim = call.arg("self"), call.arg("dim", -1) % call.arg("self").dim()
    labels: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        if dim not in dims:
            labels.append(collapse(label, dims).expand(call.first_out.shape))
            continue
        one, two = label.chunk(2, dim)
        ids = compact(one, dims)
        tracer.tie(ids, compact(two, dims), "gated by")
        labels.append(one)
    tracer.put(call.first_out, labels)
