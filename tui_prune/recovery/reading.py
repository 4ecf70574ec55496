"""Following one forward pass by its operators: which weight reads which vectors, and what normalises them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tui_prune.copies.modules import named_tensors
from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.record import TraceRecord

CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "convolution_overrideable")
PRODUCTS = {"mm": (0, 1), "addmm": (1, 2)}
"""Positions of the two factors."""
_NORMS = (
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)


@dataclass(frozen=True)
class Window:
    """How a convolution slides: sizes along the dimensions of space."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool


@dataclass(frozen=True, eq=False)
class Reading:
    """One call of a layer with weights: a convolution, or a product of a matrix with a parameter."""

    weight: str
    """The parameter's name."""
    call: int
    """Which one of the weight's calls in this pass."""
    x: Tensor
    """(N, channels, ...) of a convolution, (rows, channels) of a product."""
    bias: str | None
    """What the operator itself adds."""
    inputs_first: bool
    """Whether the channels that it reads lie along the weight's first dimension."""
    groups: int = 1
    window: Window | None = None
    """None: of a product."""


@dataclass(frozen=True, eq=False)
class Norm:
    """One call of a batch norm that normalises by running statistics."""

    mean: str
    """The name of the running mean."""
    variance: str
    call: int
    x: Tensor
    scale: Tensor | None
    shift: Tensor | None
    eps: float


class Reader(OperatorMode):
    """Calls `reads` before each layer with weights runs, `gives` with its output after it, and `norms` before each
    batch norm.

    They may write to the tensors that the operator is about to read. Weights are recognised where they are read: a
    parameter, or its transpose. What a network computes its weights from isn't.
    """

    def __init__(
        self,
        model: nn.Module,
        record: TraceRecord,
        *,
        reads: Callable[[Reading], object] | None = None,
        gives: Callable[[Reading, Tensor], object] | None = None,
        norms: Callable[[Norm], object] | None = None,
    ) -> None:
        super().__init__()
        self._names = {
            (tensor.data_ptr(), tensor.numel()): (name, tensor)
            for name, tensor in named_tensors(model)
            if name in record.shapes and tensor.numel()
        }
        self._reads, self._gives, self._norms = reads, gives, norms
        self._latest: tuple[str, Tensor] | None = None
        self._biases: dict[str, list[str | None]] = {}
        """By weight, what is added to what each call gives."""
        self._normed: dict[str, list[bool]] = {}
        self._means: dict[str, list[str]] = {}
        """By weight, the running means of the norms that read what it gives."""
        self.calls: dict[str, int] = {}
        """By weight, or running mean, how often it was used."""

    def is_normed(self, weight: str) -> bool:
        """Whether a batch norm reads what a layer gives, each time."""
        return all(self._normed.get(weight, [False]))

    def takes_up(self, weight: str) -> tuple[str, bool] | None:
        """The tensor that can take up a constant that a layer gives: its bias, or the mean of the batch norm right
        behind it (then True). None where there is neither, or others use it, too."""
        bias = self.bias(weight)
        if bias is not None:
            return bias, False
        means = set(self._means.get(weight, ()))
        mean = means.pop() if len(means) == 1 and self.is_normed(weight) else None
        return (mean, True) if mean is not None and self.calls[mean] == 1 else None

    def bias(self, weight: str) -> str | None:
        """What is added to what a layer gives; None where nothing is, or it is added to others, too."""
        names = set(self._biases.get(weight, ()))
        shared = sum(names == set(others) for others in self._biases.values())
        return names.pop() if len(names) == 1 and shared == 1 else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        reading = None
        if name in CONVOLUTIONS:
            reading = self._convolution(args)
        elif name in PRODUCTS:
            reading = self._product(name, args)
        elif name in _NORMS:
            self._norm(func, args, kwargs)
        elif name in ("add", "add_"):
            self._addition(args)
        if reading is None:
            return func(*args, **kwargs)
        self.calls[reading.weight] = reading.call + 1
        self._biases.setdefault(reading.weight, []).append(reading.bias)
        self._normed.setdefault(reading.weight, []).append(False)
        if self._reads is not None:
            self._reads(reading)
        out = func(*args, **kwargs)
        self._latest = reading.weight, out
        if self._gives is not None:
            self._gives(reading, out)
        return out

    def _convolution(self, args: Any) -> Reading | None:
        x, tensor, bias, stride, padding, dilation, transposed = args[:7]
        name, leaf = self._leaf(tensor)
        if leaf is None or leaf.shape != tensor.shape or (bias is not None and self._leaf(bias)[1] is None):
            return None
        kernel = tuple(tensor.shape[2:])
        along = [_along(kernel, sizes) for sizes in (stride, padding, dilation)]
        window = Window(kernel, along[0], along[1], along[2], bool(transposed))
        call = self.calls.get(name, 0)
        return Reading(name, call, x, self._leaf(bias)[0] or None, bool(transposed), int(args[8]), window)

    def _product(self, name: str, args: Any) -> Reading | None:
        x, factor = (args[place] for place in PRODUCTS[name])
        weight, leaf = self._leaf(factor)
        if leaf is None or leaf.dim() != 2:
            return None
        across = factor.shape == leaf.shape[::-1] and factor.stride() == leaf.stride()[::-1]
        if not across and (factor.shape != leaf.shape or factor.stride() != leaf.stride()):
            return None
        bias = self._leaf(args[0])[0] if name == "addmm" else ""
        if name == "addmm" and (not bias or args[0].dim() != 1):
            return None
        return Reading(weight, self.calls.get(weight, 0), x, bias or None, not across)

    def _addition(self, args: Any) -> None:
        """A bias may be added after a product."""
        left, right = args[:2]
        latest, self._latest = self._latest, None
        if latest is None or not isinstance(left, Tensor) or not isinstance(right, Tensor):
            return
        bias = self._leaf(right)[0]
        if bias and right.dim() == 1 and left.data_ptr() == latest[1].data_ptr():
            self._biases[latest[0]][-1] = bias

    def _norm(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        mean, variance = (self._leaf(value)[0] for value in args[3:5])
        latest, self._latest = self._latest, None
        if given.get("training", False) or not mean or not variance:
            return
        x = args[0]
        if latest is not None and latest[1].data_ptr() == x.data_ptr() and latest[1].shape == x.shape:
            self._normed[latest[0]][-1] = True
            self._means.setdefault(latest[0], []).append(mean)
        call = self.calls.get(mean, 0)
        self.calls[mean] = call + 1
        if self._norms is not None:
            eps = float(given.get("eps") or given.get("epsilon", 1e-5))
            self._norms(Norm(mean, variance, call, x, args[1], args[2], eps))

    def _leaf(self, value: Any) -> tuple[str, Tensor | None]:
        """The parameter or buffer that a tensor is, with its name; "" where it is none."""
        nothing: tuple[str, Tensor | None] = "", None
        return self._names.get((value.data_ptr(), value.numel()), nothing) if isinstance(value, Tensor) else nothing


def _along(kernel: tuple[int, ...], value: Any) -> tuple[int, ...]:
    """A size for each dimension of space: torch takes one for all of them."""
    sizes = tuple(int(size) for size in value) if isinstance(value, (list, tuple)) else (int(value),)
    return sizes * len(kernel) if len(sizes) == 1 else sizes
