"""One network of a library: how it is built and what it is run on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Arguments:
    """What `forward` is called with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Example = Callable[[int, float], Arguments]
"""Makes arguments for a batch of this size and for images, texts or sounds that are longer by this factor."""


@dataclass(frozen=True)
class Network:
    """Of random weights and small sizes; nothing is downloaded."""

    library: str
    name: str
    build: Callable[[], nn.Module]
    example: Example

    @property
    def title(self) -> str:
        """Library and name: unique among all networks."""
        return f"{self.library}:{self.name}"


def images(side: int, channels: int = 3, *, dims: int = 2, name: str | None = None, **more: Any) -> Example:
    """Square images, or cubes with `dims=3`, given by position or by `name`; `more` is given as it is."""

    def example(batch: int, scale: float) -> Arguments:
        value = torch.randn(batch, channels, *[round(side * scale)] * dims)
        return Arguments((), {name: value, **more}) if name else Arguments((value,), more)

    return example


def tokens(length: int = 12, vocabulary: int = 100, *, name: str = "input_ids", **more: Any) -> Example:
    """Texts of random tokens."""

    def example(batch: int, scale: float) -> Arguments:
        return Arguments((), {name: words(batch, round(length * scale), vocabulary), **more})

    return example


def values(*shape: int, along: int | None = None, name: str | None = None) -> Example:
    """Random numbers of this shape without the batch; dimension `along` of `shape` is the one that grows."""

    def example(batch: int, scale: float) -> Arguments:
        sizes = [round(size * scale) if dim == along else size for dim, size in enumerate(shape)]
        value = torch.randn(batch, *sizes)
        return Arguments((), {name: value}) if name else Arguments((value,))

    return example


def words(batch: int, length: int, vocabulary: int = 100) -> Tensor:
    """Random tokens, none of which is one of the first few, which mean padding and the like."""
    return torch.randint(5, vocabulary, (batch, length))
