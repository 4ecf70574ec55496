"""Places at which a module keeps whole numbers: attributes, and entries of the containers and objects among them."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.archives.origin import Path

_DEPTH = 4
"""Containers in containers are looked into to this depth."""
_LENGTH = 64
"""Longer containers hold data (anchors, class names), not sizes."""
_OF_MODULES = frozenset(vars(nn.Module()))
_OPAQUE = (nn.Module, Tensor, type, torch.dtype, torch.device, torch.Generator)


def is_whole_number(value: Any) -> TypeGuard[int | np.integer[Any] | Tensor]:
    """Whether a value can be a size: an int, numpy's, or a tensor that holds one; a bool is none."""
    if isinstance(value, Tensor):
        return value.dim() == 0 and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return type(value) is int or isinstance(value, np.integer)


def number_places(module: nn.Module) -> Iterator[tuple[str, Path, int]]:
    """Every place at which a module itself keeps a whole number, and the number.

    A number that its class keeps is one of the module's, too, where the module has none of that name.
    """
    seen: set[int] = set()
    own = {name: value for name, value in vars(module).items() if name not in _OF_MODULES}
    own |= {name: buffer for name, buffer in module._buffers.items() if buffer is not None}
    for name, value in (_class_numbers(type(module)) | own).items():
        for path, number in _numbers_in(value, seen, _DEPTH):
            yield name, path, number


def shared_containers(model: nn.Module) -> frozenset[int]:
    """The ids of containers and objects that several modules keep as an attribute, such as one configuration."""
    first: dict[int, int] = {}
    shared = set()
    for module in model.modules():
        for name, value in vars(module).items():
            holds = name not in _OF_MODULES and not isinstance(value, tuple) and _entries(value) is not None
            if holds and first.setdefault(id(value), id(module)) != id(module):
                shared.add(id(value))
    return frozenset(shared)


def number_at(module: nn.Module, attribute: str, path: Path = ()) -> Any:
    """What a module keeps at a place; no code of its class runs. Raises `LookupError` where there is no such place."""
    value = _attribute(module, attribute)
    for step in path:
        entries = _entries(value)
        if entries is None:
            raise LookupError(step)
        value = entries[step]
    return value


def set_number(module: nn.Module, attribute: str, path: Path, number: Any) -> None:
    """Set what a module keeps at a place, in its present kind of number.

    The containers on the way to it are copied for this module, because others may keep the same ones.
    """
    present = _attribute(module, attribute)
    new = _replaced(present, path, number)
    if attribute in module._buffers:
        module._buffers[attribute] = new
    else:
        setattr(module, attribute, new)


def _attribute(module: nn.Module, attribute: str) -> Any:
    for table in (vars(module), module._buffers):
        if attribute in table and attribute not in _OF_MODULES:
            return table[attribute]
    return _class_numbers(type(module))[attribute]


def _class_numbers(kind: type[nn.Module]) -> dict[str, int]:
    found: dict[str, int] = {}
    for base in reversed(kind.__mro__[: kind.__mro__.index(nn.Module)]):
        found |= {name: value for name, value in vars(base).items() if type(value) is int and name[:2] != "__"}
    return found


def _numbers_in(value: Any, seen: set[int], depth: int) -> Iterator[tuple[Path, int]]:
    if is_whole_number(value):
        if not (isinstance(value, Tensor) and value.is_meta):
            yield (), int(value)
        return
    entries = _entries(value)
    if entries is None or not depth or len(entries) > _LENGTH * _DEPTH or id(value) in seen:
        return
    if isinstance(value, Sequence) and len(value) > _LENGTH:
        return
    seen.add(id(value))
    for step, part in entries.items():
        for path, number in _numbers_in(part, seen, depth - 1):
            yield (step, *path), number


def _entries(value: Any) -> dict[str | int, Any] | None:
    """What is in a container or object by its key, position or name; None for what isn't looked into."""
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if type(key) in (str, int)}
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if isinstance(value, _OPAQUE) or callable(value):
        return None
    own = getattr(value, "__dict__", None)
    return dict(own) if type(own) is dict else None


def _replaced(value: Any, path: Path, number: Any) -> Any:
    """A copy of a container with another number at the end of the path; of a number, the new one in its kind."""
    if not path:
        if isinstance(value, Tensor):
            return torch.full_like(value, number)
        return type(value)(number) if isinstance(value, (np.integer, torch.Size)) else number
    step, *rest = path
    if isinstance(value, (tuple, list)):
        items = list(value)
        items[int(step)] = _replaced(items[int(step)], tuple(rest), number)
        if isinstance(value, tuple) and hasattr(value, "_make"):
            return value._make(items)
        return type(value)(items)
    copied = copy.copy(value)
    table = copied if isinstance(copied, dict) else vars(copied)
    table[step] = _replaced(table[step], tuple(rest), number)
    return copied
