"""Hollow tensors: of the right shape, with nothing in them. They are what the costly operators give in a forward pass
that is run for its wiring alone.

Labels never look at values, so a trace needs none, unless the network's own code reads some (a detector sorts its
boxes). Such code ends the pass with `ValuesNeeded`; it is then run with its values.

Each function here takes a call and gives its result, or None where the operator itself should run: for arguments that
don't fit, so that it fails as it would, and for layouts in memory other than the usual one.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tui_prune.graph.carried import CarriedByTensor
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.operators import reads_values
from tui_prune.graph.registry import Call

Made = Any
Maker = Callable[[Call], Made]

READS = frozenset({Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__})
"""Ways to a tensor's values that aren't operators."""


class ValuesNeeded(BaseException):
    """The network's code reads values that a hollow pass hasn't computed. No `Exception`: its code may catch those."""


class HollowPass(TorchFunctionMode):
    """Runs the operators of a forward pass for their shapes. A context, to see a tensor's values handed to Python."""

    def __init__(self, carried: CarriedByTensor) -> None:
        super().__init__()
        self._carried = carried
        self._reading: dict[Any, bool] = {}
        self._collecting = False
        self.values_needed = False
        """Whether the network's code has come to read values: what was seen of the pass isn't to be used then."""

    def compute(self, func: Any, args: Any, kwargs: Any, tensors: Sequence[Tensor], of_input: bool) -> Any:
        """Run an operator, or make what it would give. `tensors` are its arguments if one of them is hollow.

        What depends neither on those nor on the input (a table of positions) is computed: it may be kept for later.
        Raises `ValuesNeeded`.
        """
        if tensors:
            self._check(Call(func, args, kwargs, None), tensors)
        maker = MAKERS.get(func._schema.name) if tensors or of_input else None
        if maker is None and tensors:
            maker = MAKERS_OF_HOLLOW.get(func._schema.name)
        made = None if maker is None else maker(Call(func, args, kwargs, None))
        out = func(*args, **kwargs) if made is None else made
        if tensors or made is not None:
            for tensor in (out,) if isinstance(out, Tensor) else tensors_in(out):
                self._carried.note(tensor).hollow = True
        return out

    def _check(self, call: Call, tensors: Sequence[Tensor]) -> None:
        """End the pass where values decide what happens: as numbers, sizes, places, or in memory of another tensor."""
        func = call.func
        reads = self._reading.get(func)
        if reads is None:
            reads = self._reading[func] = reads_values(func)
        if reads or (func._schema.is_mutable and not all(map(self._is_hollow, written_by(call)))):
            self._end()
        pointwise = torch.Tag.pointwise in func.tags
        if not pointwise and any(not t.dtype.is_floating_point and self._is_hollow(t) for t in tensors):
            self._end()

    def _is_hollow(self, tensor: Any) -> bool:
        entry = self._carried.get(id(tensor))
        return entry is not None and entry.hollow

    def _end(self) -> None:
        self.values_needed = True
        raise ValuesNeeded

    def __enter__(self) -> "HollowPass":
        # So many small objects are made that looking for garbage among them takes a fifth of the time.
        self._collecting = gc.isenabled()
        gc.disable()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self._collecting:
            gc.enable()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS and self._is_hollow(args[0]):
            self._end()
        return func(*args, **(kwargs or {}))


def written_by(call: Call) -> Iterator[Tensor]:
    """The arguments that an operator writes into."""
    for argument in call.func._schema.arguments:
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_in(call.arg(argument.name))


def convolution(call: Call) -> Made:
    """Output size as in the documentation of `torch.nn.ConvNd` and `ConvTransposeNd`."""
    x, weight, bias = call.arg("input"), call.arg("weight"), call.arg("bias")
    groups, transposed = call.arg("groups"), call.arg("transposed")
    channels = x.shape[1] if x.dim() == weight.dim() else 0
    taken, given = (
        (weight.shape[0], weight.shape[1] * groups) if transposed else (weight.shape[1] * groups, len(weight))
    )
    fits = channels == taken and given % groups == 0 == channels % groups and (bias is None or bias.shape == (given,))
    if not fits or not _usual(x, weight):
        return None
    each = zip(
        x.shape[2:], weight.shape[2:], *(_per_dim(call, n, x.dim() - 2) for n in ("stride", "padding", "dilation")),
        _per_dim(call, "output_padding", x.dim() - 2), strict=True,
    )  # fmt: skip
    if transposed:
        sizes = [(s - 1) * step - 2 * pad + wide * (k - 1) + more + 1 for s, k, step, pad, wide, more in each]
    else:
        sizes = [(s + 2 * pad - wide * (k - 1) - 1) // step + 1 for s, k, step, pad, wide, _ in each]
    return x.new_empty((len(x), given, *sizes)) if min(sizes, default=1) > 0 else None


def addmm(call: Call) -> Made:
    """A linear layer with a bias."""
    bias, left, right = call.arg("self"), call.arg("mat1"), call.arg("mat2")
    fits = left.dim() == right.dim() == 2 and left.shape[1] == right.shape[0] and bias.shape == right.shape[1:]
    return left.new_empty((len(left), right.shape[1])) if fits and left.dtype == right.dtype == bias.dtype else None


def product(call: Call) -> Made:
    """A product of matrices, or of as many of them on both sides."""
    left, right = call.arg("self"), call.arg("mat2")
    fits = left.dim() == right.dim() and left.shape[:-2] == right.shape[:-2] and left.shape[-1] == right.shape[-2]
    return left.new_empty((*left.shape[:-1], right.shape[-1])) if fits and left.dtype == right.dtype else None


def pool(call: Call) -> Made:
    """What the operator makes of one channel says what it makes of all."""
    x = call.args[0]
    if x.dim() < 4 or not x.numel() or not _usual(x):
        return None
    one = call.func(x[:1, :1], *call.args[1:], **call.kwargs)
    made = [part.new_empty((*x.shape[:2], *part.shape[2:])) for part in (one if isinstance(one, tuple) else (one,))]
    return tuple(made) if isinstance(one, tuple) else made[0]


def batch_norm(call: Call) -> Made:
    """A norm by running statistics."""
    x, parts = call.arg("input"), [call.arg(n) for n in ("weight", "bias", "running_mean", "running_var")]
    fits = all(part is None or (x.dim() > 1 and part.shape == x.shape[1:2]) for part in parts)
    if call.arg("training") or parts[2] is None or not fits:
        return None
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


def alike(call: Call) -> Made:
    """An operator on each value by itself, or on those at the same places of two tensors."""
    one = call.args[0]
    others = [other for other in call.args[1:] if isinstance(other, Tensor)]
    if call.kwargs or not one.is_floating_point():
        return None
    fit = all(other.shape == one.shape and _usual(one, other) for other in others)
    return torch.empty_like(one) if fit else None


def in_place(call: Call) -> Made:
    """The same, written where the first argument is."""
    one = call.args[0]
    fit = all(other.shape == one.shape for other in call.args[1:] if isinstance(other, Tensor))
    return one if fit and not call.kwargs else None


def cat(call: Call) -> Made:
    """Tensors one after the other."""
    parts, dim = call.args[0], call.arg("dim", 0)
    first = parts[0]
    dim %= max(first.dim(), 1)
    rest = [(*part.shape[:dim], *part.shape[dim + 1 :]) for part in parts]
    if not _usual(*parts) or any(
        shape != rest[0] or part.dtype != first.dtype for shape, part in zip(rest, parts, strict=True)
    ):
        return None
    return first.new_empty((*first.shape[:dim], sum(part.shape[dim] for part in parts), *first.shape[dim + 1 :]))


def deformed_convolution(call: Call) -> Made:
    """A convolution whose kernel looks where an argument says, so that argument must hold computed values."""
    x, weight, offset, mask = (call.arg(name) for name in ("input", "weight", "offset", "mask"))
    parts, size = call.arg("offset_groups"), weight.shape[2] * weight.shape[3]
    fits = (
        x.shape[1] == weight.shape[1] * call.arg("groups")
        and x.shape[1] % parts == 0
        and offset.shape[1] == 2 * parts * size
        and (not call.arg("use_mask") or mask.shape[1] == parts * size)
        and call.arg("bias").shape == weight.shape[:1]
    )
    return x.new_empty(x.shape[0], weight.shape[0], *offset.shape[2:]) if fits else None


MAKERS: dict[str, Maker] = {
    "aten::convolution": convolution,
    "torchvision::deform_conv2d": deformed_convolution,
    "aten::addmm": addmm,
    "aten::mm": product,
    "aten::bmm": product,
    "aten::cat": cat,
    "aten::native_batch_norm": batch_norm,
    **dict.fromkeys(
        (f"aten::{name}" for name in "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d".split()),
        pool,
    ),
}
_POINTWISE = "relu hardtanh hardswish hardsigmoid sigmoid silu gelu leaky_relu tanh add sub mul".split()
MAKERS_OF_HOLLOW: dict[str, Maker] = {
    **{f"aten::{name}": alike for name in _POINTWISE},
    **{f"aten::{name}_": in_place for name in _POINTWISE},
}
"""For operators that cost little, but would fetch memory that nothing has been written to."""


def _per_dim(call: Call, name: str, dims: int) -> Iterable[int]:
    value = call.arg(name)
    return value * dims if len(value) == 1 else value


def _usual(*tensors: Tensor) -> bool:
    """Whether these lie in memory row by row, and are all of one type."""
    return all(tensor.is_contiguous() and tensor.dtype == tensors[0].dtype for tensor in tensors)
