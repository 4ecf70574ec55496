"""Bounds of what a network computes, whatever its input: found in one forward pass, channel by channel.

The input may be anything. From there the bounds of what each operator gives follow from those of what it reads; an
operator that isn't known gives anything. They hold for inputs of other sizes, too: what a convolution reads may lie
anywhere in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn

from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.recovery.reading import CONVOLUTIONS, PRODUCTS
from tui_prune.surgery.copying import named_tensors

NORMS = (
    "native_batch_norm",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
SAME = frozenset(
    "view _unsafe_view reshape permute transpose t cat split split_with_sizes slice select unsqueeze squeeze expand "
    "clone alias detach flatten unbind pixel_shuffle channel_shuffle roll flip constant_pad_nd upsample_nearest2d "
    "upsample_nearest1d upsample_bilinear2d mean amax amin adaptive_avg_pool2d _adaptive_avg_pool2d".split()
)
"""Operators that put numbers elsewhere, or take means or extremes of them: those of bounds are bounds."""
RISING = frozenset("relu hardtanh sigmoid tanh elu softplus hardsigmoid relu6".split())
"""Functions of single numbers that never fall."""
CURVED = frozenset("gelu silu hardswish mish".split())
"""Functions of single numbers, of which only the value at a known number is told."""
ROUNDING = 1e-9
"""Bounds that differ by a smaller share are one number."""


class Interval(NamedTuple):
    """Bounds of each number of a tensor, in float64."""

    low: Tensor
    high: Tensor


class Arrival(NamedTuple):
    """What arrives at one call of a layer with weights."""

    weight: str
    bias: str | None
    low: Tensor
    """For each input of the layer, the least that it ever is."""
    high: Tensor
    padded: bool
    """Whether zeros are put around it, or it is spread out: then not every output reads the same."""

    @property
    def constant(self) -> Tensor:
        """For each input the number that it always is; nan where it varies."""
        near = (self.high - self.low) <= ROUNDING * self.low.abs().clamp(min=1e-30)
        return torch.where(near & self.low.isfinite(), self.low, torch.nan)


class Bounds(OperatorMode):
    """Follows a forward pass; `arrivals` has what arrives at each call of a layer, in order."""

    def __init__(self, model: nn.Module, record: TraceRecord) -> None:
        super().__init__()
        self.arrivals: list[Arrival] = []
        self._leaves = {id(tensor): (name, tensor) for name, tensor in named_tensors(model, record).items()}
        self._places = {
            (tensor.data_ptr(), tensor.numel()): name for name, tensor in named_tensors(model, record).items()
        }
        self._known: dict[int, tuple[Any, Interval | None]] = {}
        """By id, with a weak reference that tells whether it is still the same tensor; None: it may be anything."""

    def open(self, value: Any) -> None:
        """Take the tensors of a value for anything."""
        for tensor in tensors_in(value):
            self._note(tensor, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name.partition("::")[2]
        try:
            found = self._bounds(name.rstrip("_"), func, args, kwargs)
        except Exception:  # a form of an operator that isn't foreseen: its result may be anything
            found = None
        out = func(*args, **kwargs)
        if func._schema.is_mutable:
            self._written(args, kwargs)
        outputs = list(tensors_in(out))
        every = found if isinstance(found, list) else [found] * (1 if outputs else 0)
        for number, tensor in enumerate(outputs):
            own = every[number] if number < len(every) else None
            self._note(tensor, own if own is not None and own.low.shape == tensor.shape else None)
        return out

    def _written(self, args: Any, kwargs: Any) -> None:
        """Forget all that shares memory with what an operator may have written to."""
        places = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((args, kwargs))}
        for key, (reference, interval) in list(self._known.items()):
            tensor = reference()
            if tensor is not None and interval is not None and tensor.untyped_storage().data_ptr() in places:
                self._known[key] = reference, None

    def _note(self, tensor: Tensor, interval: Interval | None) -> None:
        key, known = id(tensor), self._known

        def forget(reference: Any) -> None:
            if key in known and known[key][0] is reference:
                del known[key]

        known[key] = ref(tensor, forget), interval

    def _of(self, value: Any) -> Interval | None:
        """None: it may be anything."""
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return None
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        if id(value) in self._leaves or (value.data_ptr(), value.numel()) in self._places:
            return Interval(value.detach().double(), value.detach().double())
        return None

    def _wide(self, value: Tensor) -> Interval:
        """Its bounds; infinite ones where it may be anything."""
        infinite = torch.full(value.shape, torch.inf, dtype=torch.float64, device=value.device)
        return self._of(value) or Interval(-infinite, infinite)

    def _bounds(self, name: str, func: Any, args: Any, kwargs: Any) -> Interval | list[Interval | None] | None:
        if name in CONVOLUTIONS:
            return self._convolution(args)
        if name in PRODUCTS:
            return self._product(name, args)
        if name in NORMS:
            return [self._norm(func, args, kwargs)]
        if not any(True for _ in tensors_in((args, kwargs))):
            return None
        if name in SAME:
            return self._same(func, args, kwargs)
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is None:
            return None
        if name in RISING or (name == "leaky_relu" and (len(args) < 2 or args[1] >= 0)):
            own = self._wide(first)
            low, high = (func(side.clone(), *args[1:], **kwargs) for side in own)
            return Interval(low.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), high)
        if name in CURVED:
            own_or_none = self._of(first)
            return None if own_or_none is None else self._curved(own_or_none, func, args, kwargs)
        if name in ("add", "sub", "mul") and len(args) > 1 and isinstance(args[1], Tensor) and not kwargs:
            return self._of_two(name, self._wide(first), self._wide(args[1]))
        if name == "max_pool2d_with_indices":
            return [self._pooled(first, args, func, kwargs), None]
        return None

    def _same(self, func: Any, args: Any, kwargs: Any) -> Interval | list[Interval | None] | None:
        """The operator itself on both bounds."""
        sides = []
        for side in (0, 1):

            def bound(value: Any, side: int = side) -> Any:
                if isinstance(value, Tensor):
                    return self._wide(value)[side] if value.is_floating_point() else value
                if isinstance(value, (list, tuple)):
                    return type(value)(bound(item) for item in value)
                return value

            sides.append([*tensors_in(func(*bound(args), **{key: bound(one) for key, one in kwargs.items()}))])
        return [
            None if bool(low.isnan().any() or high.isnan().any()) else Interval(low.clone(), high.clone())
            for low, high in zip(*sides, strict=True)
        ]

    def _curved(self, own: Interval, func: Any, args: Any, kwargs: Any) -> Interval:
        value = func(own.low.clone(), *args[1:], **kwargs)
        known = (own.low == own.high) & value.isfinite()
        return Interval(torch.where(known, value, -torch.inf), torch.where(known, value, torch.inf))

    def _of_two(self, name: str, one: Interval, other: Interval) -> Interval | None:
        if name == "add":
            low, high = one.low + other.low, one.high + other.high
        elif name == "sub":
            low, high = one.low - other.high, one.high - other.low
        else:
            products = [(a * b).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf) for a in one for b in other]
            products = list(torch.broadcast_tensors(*products))
            low, high = torch.stack(products).amin(0), torch.stack(products).amax(0)
        return None if bool(low.isnan().any() or high.isnan().any()) else Interval(low, high)

    def _pooled(self, x: Tensor, args: Any, func: Any, kwargs: Any) -> Interval:
        """Of a maximum over places: what each channel is anywhere."""
        own = self._wide(x)
        sizes = func(x, *args[1:], **kwargs)[0].shape
        dims = tuple(range(-2, 0))
        return Interval(*(side.expand(sizes).clone() for side in (own.low.amin(dims, True), own.high.amax(dims, True))))

    def _name(self, value: Any) -> str | None:
        return self._places.get((value.data_ptr(), value.numel())) if isinstance(value, Tensor) else None

    def _norm(self, func: Any, args: Any, kwargs: Any) -> Interval | None:
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | kwargs
        x, scale, shift, mean, variance = args[:5]
        if given.get("training", False) or mean is None or variance is None:
            return None
        eps = float(given.get("eps", given.get("epsilon", 1e-5)))
        factor = (variance.double() + eps).rsqrt() * (1.0 if scale is None else scale.double())
        offset = -mean.double() * factor + (0.0 if shift is None else shift.double())
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        found = self._of_two("mul", self._wide(x), Interval(factor.view(shape), factor.view(shape)))
        return None if found is None else Interval(found.low + offset.view(shape), found.high + offset.view(shape))

    def _convolution(self, args: Any) -> Interval | None:
        x, weight, bias, _, padding, _, transposed = args[:7]
        groups, own = int(args[8]), self._wide(x)
        dims = (0, *range(2, x.dim()))
        low, high = own.low.amin(dims), own.high.amax(dims)
        spread = bool(transposed) or any(size > 0 for size in padding)
        self._arrive(weight, bias, low, high, spread)
        if spread:
            low, high = low.clamp(max=0.0), high.clamp(min=0.0)
        rows = weight.detach().double()
        if transposed:
            rows = rows.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        inputs = (side.view(groups, -1) for side in (low, high))
        parts = rows.flatten(2).unflatten(0, (groups, -1))
        found = _affine(parts, *inputs)
        flat = [side.flatten() + (0.0 if bias is None else bias.detach().double()) for side in found]
        sizes = _output_shape(x, args)
        return Interval(*(side.view(1, -1, *(1 for _ in sizes[2:])).expand(sizes).clone() for side in flat))

    def _product(self, name: str, args: Any) -> Interval | None:
        x, factor = (args[place] for place in PRODUCTS[name])
        if self._name(factor) is None or self._known.get(id(factor), (None, True))[1] is None:
            return None
        own, bias = self._wide(x), args[0] if name == "addmm" else None
        if bias is not None and (self._name(bias) is None or bias.dim() != 1):
            return None
        low, high = own.low.amin(0), own.high.amax(0)
        self._arrive(factor, bias, low, high, False)
        found = _affine(factor.detach().double().T[None, :, :, None], low[None], high[None])
        sizes = (len(x), factor.shape[1])
        flat = [side.flatten() + (0.0 if bias is None else bias.detach().double()) for side in found]
        return Interval(*(side.expand(sizes).clone() for side in flat))

    def _arrive(self, weight: Tensor, bias: Tensor | None, low: Tensor, high: Tensor, padded: bool) -> None:
        name = self._name(weight)
        if name is not None:
            self.arrivals.append(Arrival(name, self._name(bias), low.cpu(), high.cpu(), padded))


def _affine(weight: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of weighted sums: weight (groups, outputs, inputs, positions), bounds (groups, inputs)."""
    up, down = weight.clamp(min=0).sum(3), weight.clamp(max=0).sum(3)

    def total(rising: Tensor, falling: Tensor, infinite: float) -> Tensor:
        endless = ((up > 0) & rising[:, None].isinf()) | ((down < 0) & falling[:, None].isinf())
        values = [side.masked_fill(side.isinf(), 0.0)[:, None] for side in (rising, falling)]
        return (up * values[0] + down * values[1]).sum(2).masked_fill(endless.any(2), infinite)

    return total(low, high, -torch.inf), total(high, low, torch.inf)


def _output_shape(x: Tensor, args: Any) -> torch.Size:
    """The sizes that a convolution gives, found without computing it."""
    call: Callable[..., Tensor] = torch.ops.aten.convolution.default
    meta = [a.to("meta") if isinstance(a, Tensor) else a for a in args[:9]]
    return call(*meta).shape
