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
    for _, tensor in named_tensors_in(value):
        yield tensor


def named_tensors_in(value: Any) -> Iterator[tuple[str, Tensor]]:
    """As `all_tensors_in`, each with what code would call it: "past_key_values[0]", "out[1]"; "" for `value` itself."""
    left, seen = [("", value)], set[int]()
    while left:
        name, item = left.pop()
        if isinstance(item, Tensor):
            yield name, item
        elif isinstance(item, np.ndarray):
            if item.dtype.kind in "fc":
                yield name, torch.from_numpy(np.ascontiguousarray(item, item.dtype.newbyteorder("=")))
        elif isinstance(item, _READ_ONCE):
            raise TuiPruneError(
                f"The network's forward pass takes or returns a {type(item).__name__}, which can be read only once. "
                "Let it be a list."
            )
        elif id(item) not in seen:
            seen.add(id(item))
            left.extend(reversed(list(_parts(name, item))))


def _parts(name: str, item: Any) -> Iterable[tuple[str, Any]]:
    """What an object holds, with its names where the object itself has the name `name`."""
    if isinstance(item, Mapping):
        keys = ((key, str(key).isidentifier()) for key in item)
        return [(_attribute(name, key) if plain and not name else _item(name, key), item[key]) for key, plain in keys]
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return [(_attribute(name, field), part) for field, part in zip(item._fields, item, strict=True)]
    if isinstance(item, (list, tuple, set, frozenset, deque)):
        return [(_item(name, number), part) for number, part in enumerate(item)]
    if isinstance(item, (type, nn.Module)) or callable(item):
        return ()
    slots = [slot for kind in type(item).__mro__ for slot in _slots_of(kind) if hasattr(item, slot)]
    held = [*getattr(item, "__dict__", {}).items(), *((slot, getattr(item, slot)) for slot in slots)]
    return [(_attribute(name, attribute), part) for attribute, part in held]


def _attribute(name: str, attribute: object) -> str:
    return f"{name}.{attribute}" if name else str(attribute)


def _item(name: str, key: object) -> str:
    return f"{name or 'out'}[{key!r}]"


def _slots_of(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots
