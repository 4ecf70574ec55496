"""Choices between values that differ by rounding alone (the best 300 of many scores, of which some are equal).

The masked original and the cut network add the same numbers in another order, so either may pick the other of two equal
values, and everything behind it comes out in another order. A masked run therefore picks what the cut network has
picked, wherever its own values allow that choice as well.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.record import TraceRecord

_PICKING = {f"aten::{name}": 1 for name in ("topk", "sort", "max", "min", "kthvalue", "median")}
_PICKING |= {"aten::argmax": 0, "aten::argmin": 0}
"""Operators that find positions, and which of their results these are."""
_ROUNDING = 1e-4
"""Values that differ by less, relative to the largest, count as equal."""


def picks_positions(record: TraceRecord) -> bool:
    """Whether a network finds positions by its values."""
    return any(call.operator._schema.name in _PICKING for call in record.calls)


class Choices(OperatorMode):
    """Notes the positions that a forward pass finds, in the order of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        positions = _positions(func, out)
        if positions is not None:
            self.made.append((func._schema.name, positions))
        return out


class SameChoices:
    """Makes the choices of another run again, as long as both run the same operators."""

    def __init__(self, made: Iterable[tuple[str, Tensor]] = ()) -> None:
        self._left: Iterator[tuple[str, Tensor]] = iter(made)

    def settle(self, func: Any, args: Any, kwargs: Any, out: Any) -> Any:
        """What a call gives, with the other run's positions where they hold values that are equal to those found."""
        positions = _positions(func, out)
        if positions is None:
            return out
        name, other = next(self._left, ("", positions))
        if name != func._schema.name:
            self._left = iter(())
            return out
        if other.shape != positions.shape or bool((other == positions).all()):
            return out
        source, dim = args[0], _dimension(func, args, kwargs)
        picked, found = (_values(source, dim, places) for places in (other, positions))
        scale = torch.where(found.isfinite(), found.abs(), 0).max()
        close = (picked == found) | ((picked - found).abs() <= _ROUNDING * scale)
        if not bool((close | (picked.isnan() & found.isnan())).all()):
            return out
        if isinstance(out, Tensor):
            return other.clone()
        return (picked.reshape(out[0].shape).to(out[0].dtype), other.clone())


def _positions(func: Any, out: Any) -> Tensor | None:
    at = _PICKING.get(func._schema.name)
    if at is None:
        return None
    results = (out,) if isinstance(out, Tensor) else tuple(out)
    if at >= len(results) or results[at].dtype != torch.int64 or not results[at].numel():
        return None  # the largest of all values, without its position
    return results[at]


def _dimension(func: Any, args: Any, kwargs: Any) -> int | None:
    """Along which dimension a call picks; None where it takes all values as one row."""
    for number, argument in enumerate(func._schema.arguments):
        if argument.name == "dim":
            value = args[number] if number < len(args) else kwargs.get("dim", argument.default_value)
            return None if value is None else int(value)
    return None


def _values(source: Tensor, dim: int | None, places: Tensor) -> Tensor:
    if dim is None:
        return source.reshape(-1)[places]
    full = places if places.dim() == source.dim() else places.unsqueeze(dim)
    return source.gather(dim, full).reshape(places.shape).double()
