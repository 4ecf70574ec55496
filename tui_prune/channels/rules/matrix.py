"""Matrix products: linear layers, attention's two products, einsum once it is taken apart."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_prune.channels.labels import Labels, collapse, compact
from tui_prune.channels.record import LayerUse
from tui_prune.channels.registry import Call, masked, rule
from tui_prune.channels.rules.pointwise import combine
from tui_prune.channels.rules.shared import Kept, zero_cut

if TYPE_CHECKING:
    from tui_prune.channels.tracer import Tracer

_WITH_BIAS = {"addmm": ("mat1", "mat2"), "baddbmm": ("batch1", "batch2"), "addmv": ("mat", "vec")}
_PLAIN = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
    "matmul": ("self", "other"),
}


@rule(*_PLAIN, *_WITH_BIAS)
def product(tracer: "Tracer", call: Call) -> None:
    """Labels along the contracted dimension are tied and end; the others go to the output.

    Operands are (..., rows, inner) and (..., inner, columns); the second may be a vector (inner,).
    """
    left_name, right_name = {**_PLAIN, **_WITH_BIAS}[call.name.rstrip("_")]
    left, right, out = call.arg(left_name), call.arg(right_name), call.first_out
    left_labels, right_labels = tracer.labels(left), tracer.labels(right)
    left_inner = left.dim() - 1
    right_inner = max(right.dim() - 2, 0)
    _contract(tracer, (left, left_labels, left_inner), (right, right_labels, right_inner))

    labels: list[Tensor] = []
    for tensor, tensor_labels, inner in ((left, left_labels, left_inner), (right, right_labels, right_inner)):
        for dims, label in tensor_labels.items():
            if inner in dims:
                continue
            if tensor.dim() == 1 or (right.dim() == 1 and tensor is right):
                continue
            if right.dim() == 1:
                labels.append(collapse(label, dims).squeeze(left_inner).expand(out.shape))
                continue
            labels.append(collapse(label, dims).expand(out.shape))
            if len(dims) > 1:
                ids = compact(label, dims)
                tracer.block(ids.reshape(-1, ids.shape[-1]), "heads")
    tracer.put(out, labels)
    _note_layer(tracer, (left, left_labels, left_inner), (right, right_labels, right_inner), out)
    if call.name.rstrip("_") in _WITH_BIAS and isinstance(call.arg("self"), Tensor):
        tracer.put(out, combine(tracer, [out, call.arg("self")], out, "bias"))


def _contract(tracer: "Tracer", left: tuple[Tensor, Labels, int], right: tuple[Tensor, Labels, int]) -> None:
    """Tie what is summed over; a side that carries nothing there locks the other."""
    left_tensor, left_labels, left_inner = left
    right_tensor, right_labels, right_inner = right
    lefts = {tuple(d for d in dims if d != left_inner): (dims, label)
             for dims, label in left_labels.items() if left_inner in dims}  # fmt: skip
    rights = {tuple(d for d in dims if d != right_inner): (dims, label)
              for dims, label in right_labels.items() if right_inner in dims}  # fmt: skip
    for others in lefts.keys() & rights.keys():
        (left_dims, a), (right_dims, b) = lefts.pop(others), rights.pop(others)
        ids, partners = compact(a, left_dims), compact(b, right_dims)
        tracer.tie(ids, partners, "feeds")
        if others:
            tracer.block(ids.reshape(-1, ids.shape[-1]), "heads")
    reason = tracer.unlabelled_reason(right_tensor)
    for dims, label in lefts.values():
        tracer.lock_label(label, dims, "heads of two shapes meet" if rights else reason)
    reason = tracer.unlabelled_reason(left_tensor)
    for dims, label in rights.values():
        tracer.lock_label(label, dims, "heads of two shapes meet" if lefts else reason)


def _note_layer(
    tracer: "Tracer", left: tuple[Tensor, Labels, int], right: tuple[Tensor, Labels, int], out: Tensor
) -> None:
    """Whichever operand is a parameter makes this a layer with weights; its outer axis is the output."""
    for tensor, labels, inner in (right, left):
        outer = next((d for d in range(tensor.dim()) if d != inner), None)
        slots = {d: compact(labels[(d,)], (d,)) for d in (inner, outer) if d is not None and (d,) in labels}
        axes = {d: tracer.axis_of(ids) for d, ids in slots.items()}
        name = tracer.leaf(tensor) or _common_owner(axes)
        if name is None or tensor.dim() > 2:
            continue
        layer = tracer.layer_of(name)
        width = tensor.shape[outer] if outer is not None else 1
        if outer in slots:
            axis = axes[outer] or tracer.axis_around(slots[outer])
            tracer.produce(axis, layer)
            if axis is not None:  # some rows of a packed weight stand for all
                slots[outer], width = torch.arange(axis.first, axis.first + axis.size), axis.size
        use = LayerUse(layer, "linear", slots.get(outer), slots.get(inner), width, tensor.shape[inner], True)
        tracer.record.layers.setdefault(layer, use)
        return


def _common_owner(axes: dict[int | None, Any]) -> str | None:
    """The parameter that both axes of a computed matrix belong to."""
    owners = {axis.tensor for axis in axes.values() if axis is not None}
    return owners.pop() if len(owners) == 1 and len(axes) == 2 and None not in axes.values() else None


@masked(*_PLAIN, *_WITH_BIAS)
def masked_product(call: Call, cut: Kept) -> Tensor:
    """Cut positions of the inner dimension are zero in the first operand."""
    names = {**_PLAIN, **_WITH_BIAS}[call.name.rstrip("_")]
    positions = [i for i, a in enumerate(call.func._schema.arguments) if a.name == names[0]]
    arguments = list(call.args)
    arguments[positions[0]] = zero_cut(arguments[positions[0]], cut)
    return call.func(*arguments, **call.kwargs)
