"""Copies of plain values: containers, functions, and what refers to something.

Each way takes the `Copier` and a value, and gives the value itself where it holds nothing that changes.
"""

from __future__ import annotations

import functools
import operator
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from tui_prune.copies.references import is_global, is_of_class, is_shared_cell
from tui_prune.errors import TuiPruneError

if TYPE_CHECKING:
    from tui_prune.copies.copier import Copier

READ_ONCE = "which can be read only once, and the forward pass reads it. Make it a list"


def _dict(copier: Copier, value: dict[Any, Any]) -> Any:
    made = copier.note(value, type(value)())
    for key, item in value.items():
        made[copier.value(key)] = copier.value(item)
    return made


def _default_dict(copier: Copier, value: Any) -> Any:
    made = copier.note(value, defaultdict(copier.value(value.default_factory)))
    for key, item in value.items():
        made[copier.value(key)] = copier.value(item)
    return made


def _list(copier: Copier, value: list[Any]) -> Any:
    made = copier.note(value, [])
    made.extend(map(copier.value, value))
    return made


def _deque(copier: Copier, value: deque[Any]) -> Any:
    made = copier.note(value, deque(maxlen=value.maxlen))
    made.extend(map(copier.value, value))
    return made


def _set(copier: Copier, value: set[Any]) -> Any:
    made = copier.note(value, set())
    made.update(map(copier.value, value))
    return made


def _fixed(copier: Copier, value: Any) -> Any:
    """A tuple or frozen set, which is made once its items are there: they may have led here in a circle."""
    items = [copier.value(item) for item in value]
    known = copier.known(value)
    if known is not None:
        return known
    if all(map(operator.is_, items, value)):
        return value
    return copier.note(value, type(value)(items))


# Functions, and what refers to something.


def _function(copier: Copier, function: types.FunctionType) -> Any:
    cells, defaults, keywords = function.__closure__ or (), function.__defaults__, function.__kwdefaults__
    if is_global(function) or not (cells or defaults or keywords or function.__dict__):
        return function
    if all(map(is_shared_cell, cells)):
        made_defaults, made_keywords = copier.value(defaults), _changed_dict(copier, keywords)
        attributes = _changed_dict(copier, function.__dict__)
        known = copier.known(function)
        if known is not None:
            return known
        if made_defaults is defaults and made_keywords is keywords and attributes is function.__dict__:
            return function
    own_cells = tuple(_cell(copier, cell) for cell in cells) or None
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, defaults, own_cells)
    copier.note(function, made)
    made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
    made.__annotations__ = function.__annotations__
    made.__defaults__, made.__kwdefaults__ = copier.value(defaults), _changed_dict(copier, keywords)
    made.__dict__.update({name: copier.value(value) for name, value in function.__dict__.items()})
    for cell in cells:
        _fill(copier, cell)
    return made


def _changed_dict(copier: Copier, value: dict[str, Any] | None) -> dict[str, Any] | None:
    if not value:
        return value
    made = {name: copier.value(item) for name, item in value.items()}
    return value if all(map(operator.is_, made.values(), value.values())) else made


def _cell(copier: Copier, cell: types.CellType) -> types.CellType:
    """An empty cell for the copies of all functions that share this one; `_fill` fills it."""
    known = copier.known(cell)
    return copier.note(cell, types.CellType()) if known is None else known


def _fill(copier: Copier, cell: types.CellType) -> None:
    made = copier.known(cell)
    try:
        if made is not cell:
            made.cell_contents = copier.value(cell.cell_contents)
    except ValueError:  # a variable without a value yet
        return


def _method(copier: Copier, method: types.MethodType) -> Any:
    owner, function = copier.value(method.__self__), method.__func__
    if not is_of_class(function, method.__self__):
        function = copier.value(function)
    if owner is method.__self__ and function is method.__func__:
        return method
    return copier.note(method, types.MethodType(function, owner))


def _built_in_method(copier: Copier, method: Any) -> Any:
    """`list.append` of some list, and the like."""
    owner = copier.value(method.__self__)
    return method if owner is method.__self__ else copier.note(method, getattr(owner, method.__name__))


def _partial(copier: Copier, partial: Any) -> Any:
    function, args = copier.value(partial.func), copier.value(partial.args)
    keywords = _changed_dict(copier, partial.keywords)
    attributes = _changed_dict(copier, vars(partial))
    if (
        function is partial.func
        and args is partial.args
        and keywords is partial.keywords
        and attributes is vars(partial)
    ):
        return partial
    made = copier.note(partial, functools.partial(function, *args, **(keywords or {})))
    vars(made).update(attributes or {})
    return made


def _cached(copier: Copier, function: Any) -> Any:
    """A function under `functools.lru_cache`; its copy begins with nothing in it."""
    if is_global(function):
        return function
    wrapped = copier.value(function.__wrapped__)
    if wrapped is function.__wrapped__:
        return function
    return copier.note(function, functools.lru_cache(**function.cache_parameters())(wrapped))


def _reference(copier: Copier, reference: Any) -> Any:
    """A weak reference follows where it leads to something that is copied anyway."""
    there = reference()
    made = _of_referent(copier, there)
    if made is there:
        return reference
    return copier.note(reference, weakref.ref(made, copier.value(reference.__callback__)))


def _proxy(copier: Copier, proxy: Any) -> Any:
    try:
        there = proxy.__init__.__self__
    except ReferenceError:
        return proxy
    made = _of_referent(copier, there)
    return proxy if made is there else copier.note(proxy, weakref.proxy(made))


def _of_referent(copier: Copier, there: Any) -> Any:
    if id(there) in copier.parts():
        return copier.value(there)
    known = copier.known(there)
    return there if known is None else known


def _generator(copier: Copier, generator: torch.Generator) -> Any:
    made = torch.Generator(generator.device)
    made.set_state(generator.get_state())
    return copier.note(generator, made)


def _read_once(copier: Copier, generator: Any) -> Any:
    """A generator can't be copied, and a run mustn't use the original's up."""
    copier.share(generator)
    if not copier.sharing_weights or generator.gi_frame is None:
        return generator
    return copier.note(generator, _Unread(f"{copier.refusal()} is a generator, {READ_ONCE}."))


class _Unread:
    """Stands for a generator in a copy that is only run: reading it raises `TuiPruneError`."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __iter__(self) -> _Unread:
        return self

    def __next__(self) -> NoReturn:
        raise TuiPruneError(self._sentence)


WAYS: dict[type, Callable[[Copier, Any], Any]] = {
    dict: _dict,
    OrderedDict: _dict,
    defaultdict: _default_dict,
    list: _list,
    deque: _deque,
    set: _set,
    tuple: _fixed,
    frozenset: _fixed,
    types.FunctionType: _function,
    types.MethodType: _method,
    types.BuiltinFunctionType: _built_in_method,
    types.MethodWrapperType: _built_in_method,
    functools.partial: _partial,
    type(functools.lru_cache(len)): _cached,
    weakref.ref: _reference,
    weakref.ProxyType: _proxy,
    weakref.CallableProxyType: _proxy,
    torch.Generator: _generator,
    types.GeneratorType: _read_once,
}
"""By the type of the value."""
