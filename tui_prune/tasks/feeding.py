"""Where in a network's arguments the examples go."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tui_prune.errors import Remedy, UsageError
from tui_prune.graph.trace import run, untouched
from tui_prune.loading.opened import OpenedModel


@dataclass(frozen=True)
class Feed:
    """Makes arguments of a batch: the example input's, with the batch in the place of its pictures."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    place: int | str
    """Of the pictures: a position, or a keyword."""
    listed: bool
    """Whether the network takes a list of pictures in place of a batch."""
    shape: tuple[int, int, int]
    """Channels, height and width of the example's."""

    def item(self, inputs: Tensor) -> Any:
        """What a task's `calibration` would yield: a tensor, a tuple of positional arguments or a dict of keywords."""
        pictures: Any = list(inputs.unbind(0)) if self.listed else inputs
        if len(self.args) == 1 and not self.kwargs:
            return (pictures,) if self.listed else pictures
        count = len(inputs)
        args = [pictures if n == self.place else _for_all(value, count) for n, value in enumerate(self.args)]
        kwargs = {name: pictures if name == self.place else _for_all(value, count)
                  for name, value in self.kwargs.items()}  # fmt: skip
        return {**kwargs} if kwargs else tuple(args)


def picture_feed(opened: OpenedModel) -> Feed:
    """Where a network takes pictures, by its example input. Raises `UsageError` where it takes none, or several."""
    args, kwargs = opened.example_inputs, dict(opened.example_kwargs)
    if args and kwargs:  # a task's batches are either
        names = inspect.signature(opened.module.forward).parameters
        args, kwargs = (), dict(zip(names, args, strict=False)) | kwargs
    places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    found = [
        (place, shape, isinstance(value, list))
        for place, value in places
        if (shape := _picture_shape(value)) is not None
    ]
    if len(found) != 1:
        what = "no pictures" if not found else f"{len(found)} batches of pictures"
        given = opened.input_spec or "its example input"
        raise UsageError(
            f"{opened.title} takes {what} ({given}): name a picture's shape with --input 1,3,224,224, or give "
            "arrays:FILE.npz or a task file.",
            remedies=[Remedy.INPUT],
        )
    place, shape, listed = found[0]
    return Feed(args, kwargs, place, listed, shape)


def outputs_of(opened: OpenedModel) -> Any:
    """What the network puts out for its example input. Raises `TuiPruneError` where it fails."""
    with untouched(opened.module) as twin:
        return run(twin, opened.example_inputs, opened.example_kwargs)


def device_of(model: torch.nn.Module) -> torch.device:
    """Where its parameters are."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _picture_shape(value: Any) -> tuple[int, int, int] | None:
    one = value[0] if isinstance(value, list) and value else value
    dims = 3 if isinstance(value, list) else 4
    if not isinstance(one, Tensor) or one.dim() != dims or not one.is_floating_point():
        return None
    channels, height, width = one.shape[-3:]
    return channels, height, width


def _for_all(value: Any, count: int) -> Any:
    """Another argument of the example input, for so many pictures."""
    if isinstance(value, Tensor) and value.dim() and value.shape[0] == 1:
        return value.expand(count, *value.shape[1:])
    return value
