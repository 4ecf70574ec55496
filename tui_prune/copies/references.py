"""What functions and other objects refer to, and which functions belong to a module's code rather than to a network."""

import gc
import sys
import types
import weakref
from collections.abc import Iterable, Mapping
from typing import Any


def is_global(function: Any) -> bool:
    """Whether a function is what its module's code finds under its name: such are shared, and never rebuilt."""
    name = getattr(function, "__qualname__", "<locals>")
    if "<" in name:
        return False
    found: Any = sys.modules.get(function.__module__)
    for part in name.split("."):
        found = getattr(found, part, None) if isinstance(found, types.ModuleType) else vars_of(found).get(part)
    return getattr(found, "__func__", found) is function


def vars_of(value: Any) -> Mapping[str, Any]:
    """The attributes of an object that has a `__dict__`, without its class's."""
    return getattr(value, "__dict__", {})


def is_shared_cell(cell: types.CellType) -> bool:
    """Whether a variable around a function holds nothing that is ever copied, such as its class."""
    try:
        content = cell.cell_contents
    except ValueError:
        return False
    if isinstance(content, types.FunctionType):
        return is_global(content)
    return isinstance(content, (type, types.ModuleType))


def is_of_class(function: Any, owner: Any) -> bool:
    """Whether a function is one of the methods that the class of `owner` (or `owner`, a class) defines."""
    kinds = owner.__mro__ if isinstance(owner, type) else type(owner).__mro__
    name = getattr(function, "__name__", "")
    return any(getattr(found, "__func__", found) is function for k in kinds if (found := vars(k).get(name)) is not None)


def referents(value: Any) -> Iterable[Any]:
    """What an object refers to, without what a function finds by global names."""
    if isinstance(value, types.FunctionType):
        return (*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__, value.__dict__)
    if isinstance(value, types.GeneratorType):
        return [] if value.gi_frame is None else [*value.gi_frame.f_locals.values(), value.gi_yieldfrom]
    if isinstance(value, types.FrameType):
        return list(value.f_locals.values())
    if isinstance(value, weakref.ref):
        return [value()]
    return gc.get_referents(value)
