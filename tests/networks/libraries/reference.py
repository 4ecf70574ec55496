"""The masked original of a network of any library, made without asking the engine for more than what it kept.

Every slot that was cut is set to zero wherever a parameter has it: rows as well as columns. What has a statistic over
channels (a norm, a softmax, the scale of fused attention) is given the kept ones alone.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.exactness import largest_error, masked_original
from tests.networks.libraries.network import Arguments

Kept = Mapping[str, Tensor]


@torch.no_grad()
def error_by_hand(model: nn.Module, cut: nn.Module, kept: Kept, arguments: Arguments) -> tuple[float, float]:
    """The relative difference between a cut network and the original as it is masked here, in double precision; and
    how far the mask itself moves the output: where it doesn't, nothing is shown."""
    model, cut, arguments = copy.deepcopy(model).eval(), copy.deepcopy(cut).eval(), copy.deepcopy(arguments)
    in_double = _in_double(model, arguments)
    if in_double is not None:
        model, cut, arguments = model.double(), cut.double(), in_double
    masked = masked_original(model, _OnlyKept(kept), zero_the_cut)
    sizes = Sizes()
    with sizes.noted():
        ours = _run(cut, arguments)
    with sizes.given():
        theirs = _run(masked, arguments)
    try:
        moved = largest_error(_run(model, arguments), theirs)
    except AssertionError:  # what is found depends on the values: other shapes
        moved = math.inf
    return largest_error(ours, theirs), moved


class _OnlyKept:
    """What `masked_original` reads of a result."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept


def zero_the_cut(masked: nn.Module, kept: Kept) -> None:
    """Zero what is cut of all parameters, and let norms of a library's own see the kept channels alone."""
    for name, module in list(masked.named_modules()):
        if _is_own_norm(module):
            _count_kept(module, name, kept)
        elif _computes_kernel(module):
            _convolve_kept(module, name, kept)
    for name, module in list(masked.named_modules()):
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)) or _is_own_norm(module):
            continue
        buffers = () if isinstance(module, nn.modules.batchnorm._NormBase) else module.named_buffers(recurse=False)
        for own, parameter in (*module.named_parameters(recurse=False), *buffers):
            if "parametrizations" in name or own in ("weight_g", "weight_v"):
                continue
            full = f"{name}.{own}".removeprefix(".")
            for dim in range(parameter.dim()):
                positions = kept.get(f"{full}/{dim}")
                if positions is not None and positions.dim() == 1 and parameter.is_floating_point():
                    parameter.data *= _indicator(positions, dim, parameter)


def _indicator(positions: Tensor, dim: int, parameter: Tensor) -> Tensor:
    alive = torch.zeros(parameter.shape[dim], dtype=parameter.dtype)
    alive[positions] = 1
    return alive.view([-1 if at == dim else 1 for at in range(parameter.dim())])


def _is_own_norm(module: nn.Module) -> bool:
    """A norm over channels that a library wrote itself: no part of PyTorch, and nothing but a scale and a shift."""
    name = type(module).__name__.lower()
    if type(module).__module__.startswith("torch.nn.") or isinstance(module, nn.GroupNorm):
        return False
    if "norm" not in name.replace("grn", "norm"):
        return False
    own = list(module.named_parameters())
    return bool(own) and not list(module.children()) and all(p.numel() == max(p.shape) for _, p in own)


def _count_kept(module: Any, name: str, kept: Kept) -> None:
    small, found = _own_copy(module), None
    for own, parameter in module.named_parameters():
        dim = max(range(parameter.dim()), key=lambda at: parameter.shape[at])
        positions = kept.get(f"{name}.{own}/{dim}")
        if positions is not None:
            found = positions
            setattr(small, own, nn.Parameter(parameter.detach().index_select(dim, positions)))
    if found is None:
        return
    full = max(parameter.numel() for parameter in module.parameters())
    if isinstance(module, nn.LayerNorm):
        small.normalized_shape = (len(found),)
    first = getattr(module, "data_format", "") == "channels_first"

    def forward(x: Tensor, *more: Any) -> Tensor:
        dim = x.dim() - 1 if x.shape[-1] == full and not first else 1
        part = small(x.index_select(dim, found), *more)
        return torch.zeros_like(x, dtype=part.dtype).index_copy(dim, found, part)

    module.forward = forward


def _own_copy(module: nn.Module) -> Any:
    """A copy that runs the forward of its class, whatever a mask has put in its place."""
    small = copy.deepcopy(module)
    vars(small).pop("forward", None)
    return small


def _computes_kernel(module: nn.Module) -> bool:
    """A convolution of a library's own that computes its kernel (weight standardisation)."""
    return isinstance(module, nn.modules.conv._ConvNd) and not type(module).__module__.startswith("torch.nn.")


def _convolve_kept(module: Any, name: str, kept: Kept) -> None:
    """Let a convolution compute its kernel from what is kept of its weight alone."""
    rows, columns = (kept.get(f"{name}.weight/{dim}") for dim in (0, 1))
    if module.groups != 1 or (rows is None and columns is None):
        return
    small = _own_copy(module)
    rows = torch.arange(module.out_channels) if rows is None else rows
    columns = torch.arange(module.in_channels) if columns is None else columns
    small.weight = nn.Parameter(module.weight.detach().index_select(0, rows).index_select(1, columns))
    if module.bias is not None:
        small.bias = nn.Parameter(module.bias.detach().index_select(0, rows))
    small.in_channels, small.out_channels = len(columns), len(rows)

    def forward(x: Tensor) -> Tensor:
        part = small(x.index_select(1, columns))
        full = torch.zeros(part.shape[0], module.out_channels, *part.shape[2:], dtype=part.dtype)
        return full.index_copy(1, rows, part)

    module.forward = forward


class Sizes:
    """How many channels the cut network has in each call whose result depends on that, for the masked original.

    Fused attention scales by the width of a head; norms without weights and softmax count what they are given. In the
    masked original they get the cut network's width, and leave out positions that are zero throughout, which are those
    that were cut.
    """

    def __init__(self) -> None:
        self._found: list[int] = []
        self._given: Iterator[int] | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the sizes of a pass of the cut network."""
        with self._watched():
            yield

    @contextmanager
    def given(self) -> Iterator[None]:
        """Give them to a pass of the masked original, which runs the same code."""
        self._given = iter(self._found)
        with self._watched():
            yield

    def _size(self, own: int) -> int:
        if self._given is not None:
            return next(self._given)
        self._found.append(own)
        return own

    @contextmanager
    def _watched(self) -> Iterator[None]:
        places = [
            (functional, "scaled_dot_product_attention", self._attention),
            (functional, "layer_norm", self._layer_norm),
            (functional, "group_norm", self._group_norm),
            (functional, "softmax", self._softmax),
            (torch, "softmax", self._softmax),
            (Tensor, "softmax", self._softmax),
        ]
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # it hides fused attention
        originals = [getattr(owner, name) for owner, name, _ in places]
        for (owner, name, wrap), original in zip(places, originals, strict=True):
            setattr(owner, name, wrap(original))
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for (owner, name, _), original in zip(places, originals, strict=True):
                setattr(owner, name, original)

    def _attention(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def attention(query: Tensor, *args: Any, scale: float | None = None, **kwargs: Any) -> Tensor:
            return original(query, *args, scale=scale or 1 / math.sqrt(self._size(query.shape[-1])), **kwargs)

        return attention

    def _layer_norm(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def layer_norm(x: Tensor, shape: Any, weight: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
            if weight is not None or len(shape) != 1:
                return original(x, shape, weight, *args, **kwargs)
            kept = _alive(x, x.dim() - 1).reshape(-1, x.shape[-1]).any(0).nonzero().flatten()
            if len(kept) != self._size(x.shape[-1]) or len(kept) == x.shape[-1]:
                return original(x, shape, weight, *args, **kwargs)
            part = original(x.index_select(-1, kept), (len(kept),), weight, *args, **kwargs)
            return torch.zeros_like(x).index_copy(-1, kept, part)

        return layer_norm

    def _group_norm(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def group_norm(x: Tensor, groups: int, weight: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
            if weight is not None:
                return original(x, groups, weight, *args, **kwargs)
            channels, groups = self._size(x.shape[1]), self._size(groups)
            kept = (x != 0).any([d for d in range(x.dim()) if d != 1]).nonzero().flatten()
            if len(kept) != channels or len(kept) == x.shape[1]:
                return original(x, groups, weight, *args, **kwargs)
            part = original(x.index_select(1, kept), groups, weight, *args, **kwargs)
            return torch.zeros_like(x).index_copy(1, kept, part)

        return group_norm

    def _softmax(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def softmax(x: Tensor, dim: int | None = None, *args: Any, **kwargs: Any) -> Tensor:
            if dim is not None and self._size(x.shape[dim]) != x.shape[dim]:
                x = x.masked_fill(~_alive(x, dim % x.dim()), -math.inf)
            return original(x, dim, *args, **kwargs)

        return softmax


def _alive(x: Tensor, dim: int) -> Tensor:
    """Whether a position along `dim` is anything but zero, in each image and head: along all others but the first two;
    of a matrix, along the other one."""
    others = [d for d in range(2 if x.dim() > 3 else x.dim() - 2, x.dim()) if d != dim]
    return (x != 0).any(others, keepdim=True) if others else x != 0


def _in_double(model: nn.Module, arguments: Arguments) -> Arguments | None:
    """The arguments in double precision, where the network runs so."""
    converted = Arguments(*(torch.utils._pytree.tree_map(_double, part) for part in (arguments.args, arguments.kwargs)))
    try:
        outputs = _run(copy.deepcopy(model).double(), converted)
        largest_error(outputs, outputs)  # raises where something isn't finite
    except Exception:
        return None
    return converted


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _run(model: nn.Module, arguments: Arguments) -> Any:
    torch.manual_seed(0)
    return model(*arguments.args, **arguments.kwargs)
