"""Tensors in nested values: what goes into a model and what comes out."""

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.errors import TuiPruneError

_READ_ONCE = (GeneratorType, map, filter, zip)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples, dicts and dataclass-like objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The nested value with each tensor replaced."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, change) for item in value)
    if isinstance(value, dict):
        mapped = {} if type(value) is dict else _shallow_copy(value)  # a class of its own may have more than its items
        mapped.update({key: map_tensors(item, change) for key, item in value.items()})
        return mapped
    return value


def _shallow_copy(value: dict[Any, Any]) -> dict[Any, Any]:
    """A dictionary of the same class, with the same attributes.

    Classes whose items are attributes too may raise a KeyError where Python 3.10 asks them for `__getstate__`.
    """
    try:
        return copy.copy(value)
    except Exception:  # whatever the user's own class raises
        copied = type(value).__new__(type(value))
        vars(copied).update(vars(value))
        return copied


def all_tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors that somebody who is given `value` can reach: in attributes of objects of any class, and in numpy's
    arrays too.

    Raises `TuiPruneError` for an iterator: to look into it would use it up.
    """
    left, seen = [value], set[int]()
    while left:
        item = left.pop()
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, np.ndarray):
            if item.dtype.kind in "fc":
                yield torch.from_numpy(np.ascontiguousarray(item, item.dtype.newbyteorder("=")))
        elif isinstance(item, _READ_ONCE):
            raise TuiPruneError(
                f"The network's forward pass takes or returns a {type(item).__name__}, which can be read only once. "
                "Let it be a list."
            )
        elif id(item) not in seen:
            seen.add(id(item))
            left.extend(reversed(list(_parts(item))))


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, Mapping):
        return item.values()
    if isinstance(item, (list, tuple, set, frozenset, deque)):
        return item
    if isinstance(item, (type, nn.Module)) or callable(item):
        return ()
    slots = [name for kind in type(item).__mro__ for name in _slots_of(kind) if hasattr(item, name)]
    return [*getattr(item, "__dict__", {}).values(), *(getattr(item, name) for name in slots)]


def _slots_of(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots
