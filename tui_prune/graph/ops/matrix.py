"""Matrix products: linear layers, attention's two products, einsum once it is taken apart."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact, distinct_in_order, spread, varying
from tui_prune.graph.ops.pointwise import combine
from tui_prune.graph.ops.shared import Kept, places_of, tied_over, zero_cut
from tui_prune.graph.record import FEEDS, LINEAR, LayerUse
from tui_prune.graph.registry import Call, NotUnderstood, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_WITH_BIAS = {"addmm": ("mat1", "mat2"), "baddbmm": ("batch1", "batch2"), "addmv": ("mat", "vec")}
_PLAIN = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
    "matmul": ("self", "other"),
}
DEALT_OUT = "rows are dealt out by their number"


@rule(*_PLAIN, *_WITH_BIAS)
def product(tracer: "Tracer", call: Call) -> None:
    """Labels along the contracted dimension are tied and end; the others go to the output.

    Operands are (..., rows, inner) and (..., inner, columns); the second may be a vector (inner,).
    """
    left_name, right_name = {**_PLAIN, **_WITH_BIAS}[call.name.rstrip("_")]
    left, right, out = call.arg(left_name), call.arg(right_name), call.first_out
    left_inner = left.dim() - 1
    right_inner = max(right.dim() - 2, 0)
    left_labels = _without_summed_rows(tracer, tracer.labels(left), left_inner)
    right_labels = _without_summed_rows(tracer, tracer.labels(right), right_inner)
    labels = _contract(tracer, (left, left_labels, left_inner), (right, right_labels, right_inner), out)
    inner_ids = [compact(label, dims) for dims, label in left_labels.items() if left_inner in dims]
    if inner_ids and tracer.leaf(left) is None and tracer.leaf(right) is None:
        first = torch.cat([ids.reshape(-1) for ids in inner_ids])
        seconds = [compact(label, dims).reshape(-1) for dims, label in right_labels.items() if right_inner in dims]
        both = bool(seconds) and torch.equal(torch.unique(first), torch.unique(torch.cat(seconds)))
        tracer.note_contracted(out, first, squared=both)
    for tensor, tensor_labels, inner, other, others in (
        (left, left_labels, left_inner, right, right_labels),
        (right, right_labels, right_inner, left, left_labels),
    ):
        for dims, label in tensor_labels.items():
            if inner in dims:
                continue
            if len(dims) == 1 and dims[0] < tensor.dim() - 2 and _is_fixed_along(tracer, other, dims[0]):
                tracer.lock_label(label, dims, tracer.unlabelled_reason(other))
                continue
            if tensor.dim() == 1 or (right.dim() == 1 and tensor is right):
                continue
            if right.dim() == 1:
                labels.append(collapse(label, dims).squeeze(left_inner).expand(out.shape))
                continue
            wide = collapse(label, dims).expand(out.shape)
            if any(dims == more[:-1] and inner_of(other, right) not in more for more in others):
                continue  # there is one for each row of the other's, which has taken it in
            labels.append(wide)
            if len(dims) > 1:
                _take_heads(tracer, compact(label, dims), dims, other, others)
    tracer.put(out, labels)
    _note_layer(tracer, (left, left_labels, left_inner), (right, right_labels, right_inner), out)
    if call.name.rstrip("_") in _WITH_BIAS and isinstance(call.arg("self"), Tensor):
        tracer.put(out, combine(tracer, [out, call.arg("self")], out, "bias"))


def inner_of(tensor: Tensor, right: Tensor) -> int:
    """The contracted dimension of one of the operands."""
    return max(right.dim() - 2, 0) if tensor is right else tensor.dim() - 1


def _take_heads(tracer: "Tracer", ids: Tensor, dims: Dims, other: Tensor, labels: Labels) -> None:
    """Rows of places (heads of values) meet what differs from row to row only (their attention)."""
    rows = ids.reshape(-1, ids.shape[-1])
    outer = dims[:-1]
    heads = labels.get(outer)
    if heads is not None:
        tracer.note_heads(rows, compact(heads, outer).reshape(-1))
    elif all(other.shape[d] == 1 or other.stride(d) == 0 for d in outer if d < other.dim()):
        tracer.heads_of(rows)
    else:
        tracer.note_heads(rows, torch.full((len(rows),), tracer.fixed(tracer.unlabelled_reason(other))))


def _contract(
    tracer: "Tracer", left: tuple[Tensor, Labels, int], right: tuple[Tensor, Labels, int], out: Tensor
) -> list[Tensor]:
    """Tie what is summed over; a side that carries nothing there locks the other. Give the labels of the heads that
    the sums are of."""
    labels: list[Tensor] = []
    left_tensor, left_labels, left_inner = left
    right_tensor, right_labels, right_inner = right
    lefts = {tuple(d for d in dims if d != left_inner): (dims, label)
             for dims, label in left_labels.items() if left_inner in dims}  # fmt: skip
    rights = {tuple(d for d in dims if d != right_inner): (dims, label)
              for dims, label in right_labels.items() if right_inner in dims}  # fmt: skip
    first_left, first_right = (next((label for _, label in side.values()), None) for side in (lefts, rights))
    for others in lefts.keys() & rights.keys():
        (left_dims, a), (right_dims, b) = lefts.pop(others), rights.pop(others)
        ids, partners = compact(a, left_dims), compact(b, right_dims)
        tracer.tie(ids, partners, FEEDS)
        if others:
            heads = tracer.heads_of(ids.movedim(left_dims.index(left_inner), -1).reshape(-1, left_tensor.shape[-1]))
            labels.append(spread(heads.reshape([out.shape[d] for d in others]), others, out.shape))
    if (
        first_left is not None and first_right is not None
    ):  # what is left over meets what has other rows (a table that all heads share) place by place
        for _, label in lefts.values():
            tracer.tie(_opposite(label, left=True), _opposite(first_right, left=False), FEEDS)
        for _, label in rights.values():
            tracer.tie(_opposite(first_left, left=True), _opposite(label, left=False), FEEDS)
        return labels
    for one, own, other, inner in (
        (lefts, left_inner, right_tensor, right_inner),
        (rights, right_inner, left_tensor, left_inner),
    ):
        free = tracer.free_label(other, inner)
        if free is not None and () in one and one[()][0] == (own,):
            tracer.tie(compact(one.pop(())[1], (own,)), compact(free, (inner,)), FEEDS)
    reason = tracer.unlabelled_reason(right_tensor)
    for dims, label in lefts.values():
        tracer.lock_label(label, dims, reason)
    reason = tracer.unlabelled_reason(left_tensor)
    for dims, label in rights.values():
        tracer.lock_label(label, dims, reason)
    return labels


def _is_fixed_along(tracer: "Tracer", tensor: Tensor, dim: int) -> bool:
    """Whether a tensor has a real size along a dimension, and no labels."""
    return tensor.shape[dim] > 1 and tensor.stride(dim) != 0 and all(dim not in dims for dims in tracer.labels(tensor))


def _without_summed_rows(tracer: "Tracer", labels: Labels, inner: int) -> Labels:
    """The labels. Where rows of channels lie along the inner dimension, with the places in them along another one, a
    place of the sum stands for those of all rows, and they go together."""
    found: list[Tensor] = []
    for dims, label in labels.items():
        rows = len(dims) > 1 and inner in dims and places_of(label, dims) not in (inner, None)
        found.append(tied_over(tracer, label, dims, [inner], "summed up") if rows else label)
    return tracer.by_dims(found)


def _opposite(label: Tensor, *, left: bool) -> Tensor:
    """A label of one side of a product as (..., rows, columns, inner), with size 1 where it doesn't vary."""
    small = collapse(label, varying(label))
    if small.dim() < 2:
        return small
    return small.unsqueeze(-2) if left else small.transpose(-1, -2).unsqueeze(-3)


def _note_layer(
    tracer: "Tracer", left: tuple[Tensor, Labels, int], right: tuple[Tensor, Labels, int], out: Tensor
) -> None:
    """Whichever operand is a parameter makes this a layer with weights; its outer axis is the output.

    A parameter that holds several matrices (experts, inner, outer) is a layer by itself: a module has several of these.
    """
    for (tensor, labels, inner), (_, other, other_inner) in ((right, left), (left, right)):
        outer = None if tensor.dim() < 2 else 2 * tensor.dim() - 3 - inner
        slots: dict[int | None, Tensor] = {
            d: compact(labels[(d,)], (d,)) for d in (inner, outer) if d is not None and (d,) in labels
        }
        if tensor.dim() > 2:  # of matrices side by side, each has the same labels
            slots = {d: distinct_in_order(ids) for d, ids in slots.items()}
        axes = {d: tracer.axis_of(ids) for d, ids in slots.items()}
        name = tracer.leaf(tensor) or _common_owner(axes)
        batched = name in tracer.record.parameters and _holds_matrices(tracer, name)
        reads_channels = outer in slots and any(other_inner in dims for dims in other)
        if name is None or (tensor.dim() > 2 and not (batched and reads_channels)):
            continue
        layer = name if batched else tracer.layer_of(name)
        width = tensor.shape[outer] if outer is not None else 1
        if outer in slots:
            axis = axes[outer] or tracer.axis_around(slots[outer])
            tracer.produce(axis, layer)
            if axis is not None:  # some rows of a packed weight stand for all
                slots[outer], width = torch.arange(axis.first, axis.first + axis.size), axis.size
        use = LayerUse(layer, LINEAR, slots.get(outer), slots.get(inner), width, tensor.shape[inner], True)
        tracer.record.layers.setdefault(layer, use)
        return


def _holds_matrices(tracer: "Tracer", name: str) -> bool:
    shape = tracer.record.shapes[name]
    return len(shape) == 3 and min(shape) > 1


def _common_owner(axes: dict[int | None, Any]) -> str | None:
    """The parameter that both axes of a computed matrix belong to."""
    owners = {axis.tensor for axis in axes.values() if axis is not None}
    return owners.pop() if len(owners) == 1 and len(axes) == 2 and None not in axes.values() else None


@rule("_grouped_mm")
def grouped_product(tracer: "Tracer", call: Call) -> None:
    """Rows (rows, inner), dealt out by their number to the matrices (experts, inner, columns) that multiply them."""
    left, right, out = call.arg("self"), call.arg("mat2"), call.first_out
    if (left.dim(), right.dim()) != (2, 3) or call.arg("bias") is not None:
        raise NotUnderstood("matrices of other shapes")
    left_labels, right_labels = dict(tracer.labels(left)), dict(tracer.labels(right))
    for labels in (left_labels, right_labels):
        for dims in [dims for dims in labels if 0 in dims]:
            tracer.lock_label(labels.pop(dims), dims, DEALT_OUT)
    _contract(tracer, (left, left_labels, 1), (right, right_labels, 1), out)
    columns = right_labels.get((2,))
    tracer.put(out, [] if columns is None else [collapse(columns, (2,)).squeeze(0).expand(out.shape)])
    _note_layer(tracer, (left, left_labels, 1), (right, right_labels, 1), out)


@masked(*_PLAIN, *_WITH_BIAS, "_grouped_mm")
def masked_product(call: Call, cut: Kept) -> Tensor:
    """Cut positions of the inner dimension are zero in the first operand that carries any."""
    names = {**_PLAIN, **_WITH_BIAS, "_grouped_mm": ("self", "mat2")}[call.name.rstrip("_")]
    arguments = list(call.args)
    for position, argument in enumerate(call.func._schema.arguments):
        if argument.name in names and cut(arguments[position]):
            arguments[position] = zero_cut(arguments[position], cut)
            break
    return call.func(*arguments, **call.kwargs)
