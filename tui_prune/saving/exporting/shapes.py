"""Which sizes of a network's inputs may vary, and inputs of other sizes to show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tui_prune.graph.nested import map_tensors, tensors_in

BATCHES = (1, 3)
"""Batch sizes that an export is compared on; it is made with another one, so that none of them is built in."""
TRACED_BATCH = 2
_LARGER = (lambda size: size + 32, lambda size: 2 * size)
"""Other sizes of an image or a sequence. The first keeps multiples of 32, which networks for images often need."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Variable:
    """Example arguments of `forward`, with the dimensions of their tensors that may vary."""

    arguments: Arguments
    batch: bool
    """The first dimension of each tensor varies. The example then has a batch of `TRACED_BATCH`."""
    axes: tuple[int, ...]
    """The dimensions of an image or a sequence that vary."""
    compared: tuple[Arguments, ...]
    """Arguments of the sizes on which the export has to give the network's numbers."""

    def dims(self, tensor: Tensor, *, listed: bool = False) -> dict[int, str]:
        """The dimensions of one of the tensors that vary, each with what it is called."""
        names = {0: "batch"} if self.batch and not listed else {}
        words = ("height", "width") if len(self.axes) == 2 else ("length",) if len(self.axes) == 1 else None
        for number, axis in enumerate(self.axes):
            if _varies(tensor, self.axes):
                place = axis - 1 if listed else axis
                names[place] = words[number] if words else f"size{number}"
        return names


def variables(arguments: Arguments, runs: Callable[[Arguments], bool]) -> list[Variable]:
    """Ways in which the sizes of a network's inputs may vary: what varies most comes first, nothing at all last.

    `runs` says whether the network itself can be run on some arguments; sizes on which it can't, don't vary.
    """
    ways = []
    if _has_batch(arguments):
        batches = [_batch_of(arguments, count) for count in (TRACED_BATCH, *BATCHES)]
        if all(runs(one) for one in batches):
            traced, *compared = batches
            ways.append(Variable(traced, True, (), tuple(compared)))
    for axes in _candidate_axes(arguments):
        larger = next((one for larger in _LARGER if runs(one := _enlarged(arguments, axes, larger))), None)
        if larger is not None:
            if ways:
                both = _batch_of(larger, TRACED_BATCH)
                ways.insert(0, Variable(ways[0].arguments, True, axes, (*ways[0].compared, both)))
            else:
                ways.append(Variable(arguments, False, axes, (arguments, larger)))
            break
    return [*ways, Variable(arguments, False, (), (arguments,))]


def shape_words(arguments: Arguments) -> str:
    """The shapes of all tensors: "1x3x224x224, 1x16"."""
    return ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors_in(arguments))


def _has_batch(arguments: Arguments) -> bool:
    """Whether all tensors have the same number of entries along their first dimension, and none is in a list."""
    args, kwargs = arguments
    plain = all(not isinstance(value, (list, tuple, Mapping)) for value in (*args, *kwargs.values()))
    sizes = {tensor.shape[0] if tensor.dim() else 0 for tensor in tensors_in(arguments)}
    return plain and len(sizes) == 1 and sizes != {0}


def _batch_of(arguments: Arguments, count: int) -> Arguments:
    return map_tensors(arguments, lambda tensor: _resized(tensor, 0, count))


def _candidate_axes(arguments: Arguments) -> list[tuple[int, ...]]:
    """Sets of dimensions that may be sizes of images, clips, signals or sequences; dimensions as with a batch."""
    first = next(tensors_in(arguments), None)
    if first is None:
        return []
    listed = any(isinstance(value, (list, tuple)) for value in arguments[0])
    dims = first.dim() + listed
    if dims >= 4:
        return [tuple(range(2, dims))]
    if dims == 3:
        return [(2,), (1,)]
    return [(1,)] if dims == 2 and not first.is_floating_point() else []


def _varies(tensor: Tensor, axes: tuple[int, ...]) -> bool:
    return bool(axes) and tensor.dim() >= axes[-1]


def _enlarged(arguments: Arguments, axes: tuple[int, ...], larger: Callable[[int], int]) -> Arguments:
    args, kwargs = arguments
    listed = any(isinstance(value, (list, tuple)) for value in args)

    def enlarge(tensor: Tensor) -> Tensor:
        for axis in axes:
            place = axis - 1 if listed else axis
            if place < tensor.dim():
                tensor = _resized(tensor, place, larger(tensor.shape[place]))
        return tensor

    return map_tensors((args, kwargs), enlarge)


def _resized(tensor: Tensor, dim: int, size: int) -> Tensor:
    """Its entries along a dimension over and over, up to a size."""
    return tensor.index_select(dim, torch.arange(size, device=tensor.device) % tensor.shape[dim])
