"""Tensors that a forward pass makes by itself and whose values are the same all along some dimensions (`torch.zeros`).

Where such a tensor meets channels, it doesn't matter which of its positions go, only how many. Its size is a plain
number for an operator: whether the code reads it off a tensor or has it written down shows when the network runs at
another width.
"""

from torch import Tensor

from tui_prune.graph.carried import CarriedByTensor
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.registry import Call

MAKERS = frozenset(
    f"aten::{name}{end}"
    for name in ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor")
    for end in ("", "_like")
)
REPEATS = frozenset({"aten::repeat", "aten::expand"})
JOINS = frozenset({"aten::cat", "aten::concat", "aten::concatenate"})
_COPIES = frozenset(
    {"aten::clone", "aten::contiguous", "aten::_to_copy", "aten::lift_fresh", "aten::detach", "aten::alias"}
)
_FILLS = frozenset({"aten::fill_", "aten::zero_"})


def alike_after(call: Call, carried: CarriedByTensor, *, pointwise: bool, aliases: bool) -> frozenset[int]:
    """The dimensions along which all values of an operator's (first) result are the same, for what it makes of tensors
    without labels."""
    name = call.func._schema.name
    out = call.first_out
    if name in MAKERS:
        return frozenset(range(out.dim()))
    operands = [*tensors_in(call.args), *tensors_in(call.kwargs)]
    if name == "aten::expand":
        return frozenset(d for d, step in enumerate(out.stride()) if step == 0 and out.shape[d] > 1)
    if name == "aten::repeat":
        repeats = call.arg("repeats")
        ahead = len(repeats) - operands[0].dim()
        known = {d + ahead for d in alike_of(operands[0], carried)}
        return frozenset(d for d in range(out.dim()) if d < ahead or operands[0].shape[d - ahead] == 1 or d in known)
    if pointwise or name in _COPIES or name in _FILLS:
        found = frozenset(range(out.dim()))
        for operand in operands:
            ahead = out.dim() - operand.dim()
            own = {d + ahead for d in alike_of(operand, carried)}
            found &= {d for d in range(out.dim()) if d < ahead or operand.shape[d - ahead] == 1 or d in own}
        return found
    if aliases and not call.func._schema.is_mutable and len(alike_of(operands[0], carried)) == operands[0].dim():
        return frozenset(range(out.dim()))
    return frozenset()


def alike_of(tensor: Tensor, carried: CarriedByTensor) -> frozenset[int]:
    """The dimensions along which a tensor is known to have the same values: as it was made, or because it only repeats
    one position of its memory."""
    entry = carried.get(id(tensor))
    known = frozenset() if entry is None else entry.alike
    return known | {d for d, step in enumerate(tensor.stride()) if step == 0}
