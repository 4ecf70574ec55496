"""Batches of inputs made one, with those that are held out at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.tasks.batches import Batch, forward

HELD_OUT = 4
"""One of so many inputs isn't fitted."""
LEAST_HELD = 2
"""With fewer inputs than this held out, positions are held out in their place."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Arguments of one forward pass."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    count: int
    """Inputs in it, along the first dimension of each tensor, or in a list; 0 where they can't be told apart."""

    @property
    def fitted(self) -> int:
        """Inputs before those that are held out; all of them where positions are."""
        held = self.count // HELD_OUT
        return self.count - held if held >= LEAST_HELD else self.count

    def pick(self, numbers: Sequence[int]) -> Inputs:
        """Some of the inputs, by their numbers."""
        args, kwargs = _picked((self.args, dict(self.kwargs)), list(numbers))
        return Inputs(args, kwargs, len(numbers))

    def held_last(self, most: int) -> Inputs:
        """At most so many inputs, those to be held out at the end: every fourth, for data that is sorted."""
        numbers = range(min(self.count, most))
        last = HELD_OUT - 1
        return self.pick([i for i in numbers if i % HELD_OUT != last] + [i for i in numbers if i % HELD_OUT == last])

    def inseparable(self) -> Inputs:
        """The same as one input."""
        return Inputs(self.args, self.kwargs, 0)


def joined(batches: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]], most: int) -> Inputs:
    """The first inputs of some batches as one batch, `most` or a few more.

    Of batches that don't fit together, such as texts of several lengths, those of the commonest shape are taken.
    """
    alike: dict[Any, list[Inputs]] = {}
    for args, kwargs in batches:
        count = _count((args, dict(kwargs)))
        kind = _kind((args, dict(kwargs))) if count else None
        group = alike.setdefault(kind, [])
        group.append(Inputs(args, kwargs, count))
        if sum(max(one.count, 1) for one in group) >= most:
            break
    largest = max(alike.values(), key=lambda group: sum(one.count for one in group))
    if len(largest) == 1 or not largest[0].count:
        return largest[0]
    args, kwargs = _concatenated([(one.args, dict(one.kwargs)) for one in largest])
    return Inputs(args, kwargs, sum(one.count for one in largest))


def run_inputs(model: nn.Module, inputs: Inputs) -> Any:
    """What a network makes of inputs, which it may write over. Raises `TuiPruneError` with the line that fails."""
    args, kwargs = map_tensors((inputs.args, dict(inputs.kwargs)), Tensor.clone)
    return forward(model, Batch(args, kwargs, None))


def _count(value: Any) -> int:
    """Inputs in some arguments: images in a list, or the size that all tensors have along their first dimension."""
    lists = {len(item) for item in _lists_in(value)}
    if lists:
        return lists.pop() if len(lists) == 1 else 0
    sizes = {tensor.shape[0] if tensor.dim() else 0 for tensor in tensors_in(value)}
    return sizes.pop() if len(sizes) == 1 else 0


def _lists_in(value: Any) -> Iterable[list[Any]]:
    if isinstance(value, list) and value and all(isinstance(item, Tensor) for item in value):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _lists_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _lists_in(item)


def _kind(value: Any) -> Any:
    """What is equal for arguments that can be joined."""
    if isinstance(value, Tensor):
        return tuple(value.shape[1:]), value.dtype
    if isinstance(value, list):
        return list
    if isinstance(value, tuple):
        return tuple(_kind(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _kind(item)) for key, item in value.items())
    return repr(value)


def _concatenated(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(tuple(values))
    if isinstance(first, list):
        return [item for value in values for item in value]
    if isinstance(first, tuple):
        return tuple(_concatenated(items) for items in zip(*values, strict=True))
    if isinstance(first, dict):
        return {key: _concatenated([value[key] for value in values]) for key in first}
    return first


def _picked(value: Any, numbers: list[int]) -> Any:
    if isinstance(value, Tensor):
        return value[torch.tensor(numbers, device=value.device)]
    if isinstance(value, list):
        return [value[number] for number in numbers]
    if isinstance(value, tuple):
        return tuple(_picked(item, numbers) for item in value)
    if isinstance(value, dict):
        return {key: _picked(item, numbers) for key, item in value.items()}
    return value
