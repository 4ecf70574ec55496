"""What a network's code reaches without going through the network: globals, class attributes, variables around its
classes. No copy has its own, so a run is followed by putting back what they held."""

import dis
import functools
import operator
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from tui_prune.copies.modules import named_modules, named_tensors
from tui_prune.copies.references import is_global
from tui_prune.errors import TuiPruneError

_CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict)
_HOLDERS = frozenset((*_CONTAINERS, tuple, frozenset))
_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device))
_FOREIGN = frozenset(sys.stdlib_module_names | {"torch", "torchvision", "numpy", "tui_prune"})
"""Packages whose code keeps nothing of what a network puts out."""
_TABLES = frozenset(("_parameters", "_buffers", "_modules"))
_MOST_ITEMS = 1000
"""Items of a container that are looked into; all of them are put back."""
_MOST_VALUES = 1 << 20
"""Elements of a tensor whose values are put back."""
_CALLED = frozenset(("forward", "__call__"))


class Outside:
    """What is reached from the code of a network's classes and hooks, and not through its own attributes.

    `shared` are the containers and objects among it, by identity: a copy of the network has to use the same ones.

    Raises `TuiPruneError` where a part of the network is reached like this, since a copy would reach the original's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.shared: dict[int, Any] = {}
        self._model = model
        self._contents: list[tuple[Any, Any]] = []
        self._attributes: list[tuple[Any, dict[str, Any]]] = []
        self._variables: list[tuple[Any, str, Any]] = []
        self._values: list[tuple[Tensor, Tensor]] = []
        self._seen: set[int] = set()
        self._refusing = True
        self._called = set(_CALLED)
        self._methods: dict[str, list[types.FunctionType]] = {}
        parts = named_modules(model)
        self._own = {id(tensor): name for name, tensor in named_tensors(model)}
        self._own |= {id(part): name for name, part in parts}
        for kind in {type(part) for _, part in parts}:
            self._add_class(kind)
        for _, part in parts:
            for name, value in vars(part).items():
                kind = type(value)
                if kind in _PLAIN or (kind in _HOLDERS and not value) or name in _TABLES:
                    continue
                self._held(value)
        self._refusing = False  # hooks of every module may hold a network without running it
        for hooks in (every_module._global_forward_hooks, every_module._global_forward_pre_hooks):
            for hook in hooks.values():
                self._reached(hook, "", "")

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Put everything back as it was when this was made."""
        try:
            yield
        finally:
            self._restore()

    @torch.no_grad()
    def _restore(self) -> None:
        for container, content in self._contents:
            if (container or content) and not _same(container, content):
                _refill(container, content)
        for value, attributes in self._attributes:
            own = vars(value)
            if own.keys() == attributes.keys() and all(map(operator.is_, own.values(), attributes.values())):
                continue
            for name in own.keys() - attributes.keys():
                del own[name]
            own.update(attributes)
        for owner, name, value in self._variables:
            if isinstance(owner, type):
                if vars(owner).get(name) is not value:
                    setattr(owner, name, value)
            elif owner.get(name) is not value:
                owner[name] = value
        for tensor, before in self._values:
            if tensor.shape != before.shape:
                tensor.resize_(before.shape)
            if not torch.equal(tensor, before):
                tensor.copy_(before)

    # What a network holds is copied with it, so only the code in it is of interest.

    def _held(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN or id(value) in self._seen or (kind in _HOLDERS and not value):
            return
        if isinstance(value, (Tensor, nn.Module, type)):
            return
        self._seen.add(id(value))
        if kind in _HOLDERS:
            for item in _items(value):
                self._held(item)
        elif kind is types.FunctionType:
            if is_global(value):
                self._seen.discard(id(value))
                self._follow(value)
                return
            self._follow_names(value)
            for held in (*_contents_of(value.__closure__), value.__defaults__, value.__kwdefaults__, value.__dict__):
                self._held(held)
        elif kind is types.MethodType:
            self._add_class(type(value.__self__))
            self._held(value.__self__)
            self._follow(value.__func__)
        elif kind is functools.partial:
            for held in (value.func, value.args, value.keywords):
                self._held(held)
        elif not _is_foreign(kind):
            self._add_class(kind)
            for held in getattr(value, "__dict__", {}).values():
                self._held(held)

    # What its code reaches is shared, and put back.

    def _add_class(self, kind: type) -> None:
        """Note a class's attributes, and follow those of its methods that some code calls."""
        for base in kind.__mro__:
            if id(base) in self._seen or _is_foreign(base):
                continue
            self._seen.add(id(base))
            for name, attribute, value in _attributes_of(base):
                if isinstance(value, types.FunctionType):
                    self._methods.setdefault(name, []).append(value)
                    if name in self._called:
                        self._follow(value)
                elif type(value) in _CONTAINERS:
                    self._remember(value, base.__name__, name)
                else:
                    self._variables.append((base, name, attribute))

    def _follow(self, function: Any) -> None:
        """Follow a function that all copies share, with the variables around it."""
        if not isinstance(function, types.FunctionType) or id(function) in self._seen:
            return
        self._seen.add(id(function))
        if (function.__module__ or "").partition(".")[0] in _FOREIGN:
            return
        for name, content in zip(function.__code__.co_freevars, _contents_of(function.__closure__), strict=False):
            self._reached(content, function, name)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._reached(default, function, "a default argument")
        self._follow_names(function)

    def _follow_names(self, function: types.FunctionType) -> None:
        known = function.__globals__
        for code in _codes(function.__code__):
            for name in code.co_names:
                if name not in self._called:
                    self._called.add(name)
                    for method in self._methods.get(name, ()):
                        self._follow(method)
                value = known.get(name)
                kind = type(value)
                if kind in _PLAIN and name not in known:
                    continue
                if isinstance(value, types.ModuleType) and kind is types.ModuleType:
                    if not _is_foreign_name(value.__name__):
                        for inner in code.co_names:
                            if inner in vars(value):
                                self._reached(vars(value)[inner], function, inner)
                elif kind is types.FunctionType:
                    self._follow(value)
                elif isinstance(value, type):
                    if not _is_foreign(value):
                        self._add_class(value)
                elif name in _read_globals(code):
                    self._variables.append((known, name, value))
                    self._reached(value, function, name)

    def _reached(self, value: Any, place: types.FunctionType | str, name: str) -> None:
        kind = type(value)
        if kind in _PLAIN:
            return
        if id(value) in self._own:
            if self._refusing:
                self._refuse(place, name, self._own[id(value)])
            return
        if kind in _HOLDERS:
            self._remember(value, place, name)
        elif kind is types.FunctionType:
            self._follow(value)
        elif kind is types.MethodType:
            self._reached(value.__self__, place, name)
            self._follow(value.__func__)
        elif kind is functools.partial:
            for held in (value.func, value.args, value.keywords):
                self._reached(held, place, name)
        elif isinstance(value, type) or id(value) in self._seen:
            return
        elif isinstance(value, Tensor):
            self._seen.add(id(value))
            if value.numel() <= _MOST_VALUES and value.layout == torch.strided:
                self.shared[id(value)] = value
                self._values.append((value, value.detach().clone()))
        elif isinstance(value, nn.Module):
            self._remember_module(value)
        elif not _is_foreign(kind) and hasattr(value, "__dict__"):
            self._seen.add(id(value))
            self.shared[id(value)] = value
            self._attributes.append((value, dict(vars(value))))
            self._add_class(kind)
            for held in list(vars(value).values()):
                self._reached(held, place, name)

    def _remember(self, container: Any, place: types.FunctionType | str, name: str) -> None:
        if id(container) in self._seen:
            return
        self._seen.add(id(container))
        if isinstance(container, _CONTAINERS):
            self.shared[id(container)] = container
            self._contents.append((container, _copy_of(container)))
        if len(container) <= _MOST_ITEMS:
            for item in _items(container):
                self._reached(item, place, name)

    def _remember_module(self, network: nn.Module) -> None:
        """A network beside this one that its code runs."""
        for _, part in named_modules(network):
            if id(part) in self._seen:
                continue
            self._seen.add(id(part))
            self.shared[id(part)] = part
            self._attributes.append((part, dict(vars(part))))
            for value in vars(part).values():
                if type(value) in _CONTAINERS:
                    self._contents.append((value, _copy_of(value)))
            for buffer in part._buffers.values():
                if buffer is not None:
                    self._values.append((buffer, buffer.detach().clone()))

    def _refuse(self, place: types.FunctionType | str, name: str, part: str) -> None:
        what = f"its part {part}" if part else "the network"
        raise TuiPruneError(
            f"This {type(self._model).__name__} can't be pruned: {_place(place)} reaches {what} by the variable "
            f"{name}, which in a cut network would still be the original's. Reach it through self, or through the "
            "module that a hook is given."
        )


def _items(container: Any) -> Iterable[Any]:
    return (*container.keys(), *container.values()) if isinstance(container, dict) else tuple(container)


def _contents_of(cells: Iterable[types.CellType] | None) -> list[Any]:
    found = []
    for cell in cells or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # a variable without a value yet
            found.append(None)
    return found


def _place(function: types.FunctionType | str) -> str:
    """What a place in the code is called: a function by its name and line."""
    if isinstance(function, str):
        return function
    code = function.__code__
    return f"{function.__name__} ({Path(code.co_filename).name}:{code.co_firstlineno})"


def _is_foreign(kind: type) -> bool:
    return _is_foreign_name(kind.__module__)


def _is_foreign_name(module: Any) -> bool:
    return not isinstance(module, str) or module.partition(".")[0] in _FOREIGN


def _attributes_of(kind: type) -> Iterator[tuple[str, Any, Any]]:
    """A class's own attributes by name, without what only Python itself reads: each as the class has it, and the
    function behind it where it is a property, a static or a class method."""
    for name, attribute in vars(kind).items():
        if not (name.startswith("__") and name.endswith("__")) or name == "__call__":
            yield name, attribute, getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)


@functools.lru_cache(4096)
def _codes(code: types.CodeType) -> tuple[types.CodeType, ...]:
    """A function's code with that of the functions in it."""
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return (code, *(part for one in inner for part in _codes(one)))


@functools.lru_cache(4096)
def _read_globals(code: types.CodeType) -> frozenset[str]:
    """The names that stand for globals, and not only for attributes."""
    return frozenset(i.argval for i in dis.get_instructions(code) if i.opname.endswith(("_GLOBAL", "_NAME")))


def _copy_of(container: Any) -> Any:
    if isinstance(container, dict):
        return dict(container)
    return set(container) if isinstance(container, set) else list(container)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(content)
    else:
        container.update(content)


def _same(now: Any, then: Any) -> bool:
    """Whether a container holds the same objects in the same order as a copy of it."""
    if len(now) != len(then):
        return False
    if isinstance(now, dict) and not all(map(operator.is_, now.values(), then.values())):
        return False
    return all(map(operator.is_, now, then))
