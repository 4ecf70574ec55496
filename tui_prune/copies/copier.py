"""Copying a network so that the copy is its own: its hooks, closures and bound methods refer to the copy's parts."""

import copy
import copyreg
import functools
import operator
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_modules
from tui_prune.copies.references import is_global, is_of_class, is_shared_cell, referents
from tui_prune.errors import TuiPruneError, interrupts

_CONSTANT = frozenset(
    (
        *(int, float, bool, str, bytes, complex, range, slice, type(None), type(Ellipsis), type),
        *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, types.ModuleType, types.CodeType),
    )
)
_EMPTY = frozenset((dict, OrderedDict, list, set))
_TENSORS = ("_parameters", "_buffers")
_OWN_WAYS = {"__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__"}
HOOKS: Mapping[str, str] = {
    "_forward_hooks": "forward hook",
    "_forward_pre_hooks": "forward pre-hook",
    "_backward_hooks": "backward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_state_dict_hooks": "state-dict hook",
    "_state_dict_pre_hooks": "state-dict pre-hook",
    "_load_state_dict_pre_hooks": "load-state-dict pre-hook",
    "_load_state_dict_post_hooks": "load-state-dict post-hook",
}
"""What a hook is called in sentences, by the attribute in which torch keeps it."""
NOT_COPIED = (
    "that holds parts of the network and can't be copied, so a cut network would run the original's. "
    "Take it off, prune, and put it on the cut network."
)
READ_ONCE = "which can be read only once, and the forward pass reads it. Make it a list"
_MOST_LOOKED_AT = 20_000
"""Objects that are followed from one that can't be copied, in search of the network's parts."""


class _Circular(Exception):
    """A module with its own way of being copied is needed before it is made."""


class Copier:
    """Copies a network and all that is reached from it.

    Containers, objects, and functions that hold any of them (closures, default arguments, partials, bound methods) are
    rebuilt around the copies of what they hold, so a hook of the copy writes into the copy. Classes, functions and
    objects of a module's globals are shared.

    What can't be copied (a lock, an open file) is shared, unless parts of the network are reached from it: then
    `TuiPruneError` names the hook or attribute that holds it.
    """

    def __init__(self, model: nn.Module, known: Mapping[int, Any], *, sharing_weights: bool) -> None:
        """`known`: copies by the identity of their originals. With `sharing_weights`, parameters that aren't among
        them stay in the original's memory."""
        self._model, self._sharing_weights = model, sharing_weights
        self._memo: dict[int, Any] = dict(known)
        # Under its own number, `copy.deepcopy` keeps alive what would go before the copy is done.
        self._passing: list[Any] = []
        self._memo[id(self._memo)] = self._passing
        self._unfinished: set[int] = set()
        self._place: tuple[nn.Module, str] = (model, "")
        self._own: set[int] = set()

    def copy(self) -> nn.Module:
        """The copy of the network."""
        return self._module(self._model)

    def value(self, value: Any) -> Any:
        """The copy of anything; itself where it holds nothing that changes."""
        kind = type(value)
        if kind in _CONSTANT:
            return value
        known = self._memo.get(id(value))
        if known is not None:
            return known
        rebuild = _WAYS.get(kind)
        if rebuild is not None:
            return rebuild(self, value)
        for base, way in _WAYS_OF_BASES:
            if isinstance(value, base):
                return way(self, value)
        return self._object(value)

    def _note(self, original: Any, made: Any) -> Any:
        self._memo[id(original)] = made
        return made

    # Modules and tensors.

    def _module(self, module: nn.Module) -> nn.Module:
        known = self._memo.get(id(module))
        if known is not None:
            return known
        kind: Any = type(module)
        if not _is_copied_by_attributes(kind):
            made = self._module_in_its_own_way(module)
            if made is not None:
                return made
        memo = self._memo
        twin = memo[id(module)] = module.__class__.__new__(module.__class__)
        state = twin.__dict__
        for name, value in module.__dict__.items():
            kind = type(value)
            if kind in _CONSTANT:
                state[name] = value
            elif kind in _EMPTY and not value and id(value) not in memo:  # most of a module's attributes
                state[name] = memo[id(value)] = kind()
            elif name == "_compiled_call_impl":  # it would run the original
                continue
            elif name in _TENSORS:
                made = state[name] = memo[id(value)] = kind()
                for key, tensor in value.items():
                    known = memo.get(id(tensor))
                    made[key] = self.value(tensor) if known is None else known
            else:
                self._place = module, name
                state[name] = self.value(value)
        return twin

    def _module_in_its_own_way(self, module: nn.Module) -> nn.Module | None:
        if id(module) in self._unfinished:
            raise _Circular
        self._unfinished.add(id(module))
        try:
            for child in module._modules.values():
                self._attempt(self.value, child, passing=(TuiPruneError,))
            made = self._attempt(lambda own: copy.deepcopy(own, self._memo), module)
        finally:
            self._unfinished.discard(id(module))
        if made is None:
            return None
        self._note(module, made)
        # A deep copy shares all functions, and some classes' own copies lose hooks.
        for name, value in vars(module).items():
            if ("_hooks" in name and value) or type(value) in (types.FunctionType, functools.partial):
                self._place = module, name
                self._memo.pop(id(value), None)
                vars(made)[name] = self.value(value)
        return made

    def _attempt(
        self,
        way: Callable[[Any], Any],
        value: Any,
        passing: tuple[type[Exception], ...] = (TuiPruneError, _Circular),
    ) -> Any:
        """What a way of copying gives, or None, with nothing of it remembered, where it fails."""
        before = len(self._memo)
        try:
            return way(value)
        except passing:
            raise
        except BaseException as error:  # whatever the user's own objects raise
            if interrupts(error):
                raise
            while len(self._memo) > before:
                self._memo.popitem()
            return None

    def _tensor(self, tensor: Tensor) -> Tensor:
        if self._sharing_weights and isinstance(tensor, nn.Parameter):
            return self._note(tensor, like_parameter(tensor, tensor.data))
        made = self._attempt(lambda own: copy.deepcopy(own, self._memo), tensor)
        return self._note(tensor, tensor.detach().clone() if made is None else made)

    def attributes_of_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give the copies of tensors the attributes that user code has put on the originals."""
        for tensor in tensors:
            attributes = getattr(tensor, "__dict__", None)
            made = self._memo.get(id(tensor))
            if attributes and isinstance(made, Tensor) and made is not tensor:
                made.__dict__.update({name: self.value(value) for name, value in attributes.items()})

    # Containers.

    def _dict(self, value: dict[Any, Any]) -> Any:
        made = self._note(value, type(value)())
        for key, item in value.items():
            made[self.value(key)] = self.value(item)
        return made

    def _default_dict(self, value: Any) -> Any:
        made = self._note(value, defaultdict(self.value(value.default_factory)))
        for key, item in value.items():
            made[self.value(key)] = self.value(item)
        return made

    def _list(self, value: list[Any]) -> Any:
        made = self._note(value, [])
        made.extend(map(self.value, value))
        return made

    def _deque(self, value: deque[Any]) -> Any:
        made = self._note(value, deque(maxlen=value.maxlen))
        made.extend(map(self.value, value))
        return made

    def _set(self, value: set[Any]) -> Any:
        made = self._note(value, set())
        made.update(map(self.value, value))
        return made

    def _fixed(self, value: Any) -> Any:
        """A tuple or frozen set, which is made once its items are there: they may have led here in a circle."""
        items = [self.value(item) for item in value]
        known = self._memo.get(id(value))
        if known is not None:
            return known
        if all(map(operator.is_, items, value)):
            return value
        return self._note(value, type(value)(items))

    # Functions, and what refers to something.

    def _function(self, function: types.FunctionType) -> Any:
        cells, defaults, keywords = function.__closure__ or (), function.__defaults__, function.__kwdefaults__
        if is_global(function) or not (cells or defaults or keywords or function.__dict__):
            return function
        if all(map(is_shared_cell, cells)):
            made_defaults, made_keywords = self.value(defaults), self._changed_dict(keywords)
            attributes = self._changed_dict(function.__dict__)
            known = self._memo.get(id(function))
            if known is not None:
                return known
            if made_defaults is defaults and made_keywords is keywords and attributes is function.__dict__:
                return function
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, defaults, tuple(map(self._cell, cells)) or None
        )
        self._note(function, made)
        made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
        made.__annotations__ = function.__annotations__
        made.__defaults__, made.__kwdefaults__ = self.value(defaults), self._changed_dict(keywords)
        made.__dict__.update({name: self.value(value) for name, value in function.__dict__.items()})
        for cell in cells:
            self._fill(cell)
        return made

    def _changed_dict(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if not value:
            return value
        made = {name: self.value(item) for name, item in value.items()}
        return value if all(map(operator.is_, made.values(), value.values())) else made

    def _cell(self, cell: types.CellType) -> types.CellType:
        """An empty cell for the copies of all functions that share this one; `_fill` fills it."""
        known = self._memo.get(id(cell))
        return self._note(cell, types.CellType()) if known is None else known

    def _fill(self, cell: types.CellType) -> None:
        made = self._memo[id(cell)]
        try:
            if made is not cell:
                made.cell_contents = self.value(cell.cell_contents)
        except ValueError:  # a variable without a value yet
            return

    def _method(self, method: types.MethodType) -> Any:
        owner, function = self.value(method.__self__), method.__func__
        if not is_of_class(function, method.__self__):
            function = self.value(function)
        if owner is method.__self__ and function is method.__func__:
            return method
        return self._note(method, types.MethodType(function, owner))

    def _built_in_method(self, method: Any) -> Any:
        """`list.append` of some list, and the like."""
        owner = self.value(method.__self__)
        return method if owner is method.__self__ else self._note(method, getattr(owner, method.__name__))

    def _partial(self, partial: Any) -> Any:
        function, args = self.value(partial.func), self.value(partial.args)
        keywords = self._changed_dict(partial.keywords)
        attributes = self._changed_dict(vars(partial))
        if (
            function is partial.func
            and args is partial.args
            and keywords is partial.keywords
            and attributes is vars(partial)
        ):
            return partial
        made = self._note(partial, functools.partial(function, *args, **(keywords or {})))
        vars(made).update(attributes or {})
        return made

    def _cached(self, function: Any) -> Any:
        """A function under `functools.lru_cache`; its copy begins with nothing in it."""
        if is_global(function):
            return function
        wrapped = self.value(function.__wrapped__)
        if wrapped is function.__wrapped__:
            return function
        return self._note(function, functools.lru_cache(**function.cache_parameters())(wrapped))

    def _reference(self, reference: Any) -> Any:
        """A weak reference follows where it leads to something that is copied anyway."""
        there = reference()
        made = self._of_referent(there)
        if made is there:
            return reference
        return self._note(reference, weakref.ref(made, self.value(reference.__callback__)))

    def _proxy(self, proxy: Any) -> Any:
        try:
            there = proxy.__init__.__self__
        except ReferenceError:
            return proxy
        made = self._of_referent(there)
        return proxy if made is there else self._note(proxy, weakref.proxy(made))

    def _of_referent(self, there: Any) -> Any:
        return self.value(there) if id(there) in self._parts() else self._memo.get(id(there), there)

    def _generator(self, generator: torch.Generator) -> Any:
        made = torch.Generator(generator.device)
        made.set_state(generator.get_state())
        return self._note(generator, made)

    def _read_once(self, generator: Any) -> Any:
        """A generator can't be copied, and a run mustn't use the original's up."""
        self._share(generator)
        if not self._sharing_weights or generator.gi_frame is None:
            return generator
        return self._note(generator, _Unread(f"{self._refusal()} is a generator, {READ_ONCE}."))

    # Anything else.

    def _object(self, value: Any) -> Any:
        if isinstance(value, type):
            return value
        made = self._attempt(self._in_its_own_way, value)
        if made is None:
            self._share(value)
            return value
        return made

    def _in_its_own_way(self, value: Any) -> Any:
        kind = type(value)
        own = getattr(kind, "__deepcopy__", None)
        if own is not None:
            return self._note(value, own(value, self._memo))
        reduce = copyreg.dispatch_table.get(kind)
        parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if isinstance(parts, str):  # the name of something global
            return value
        return self._rebuilt(value, *parts)

    def _rebuilt(
        self, value: Any, make: Any, args: Any, state: Any = None, items: Any = None, pairs: Any = None, *_: Any
    ) -> Any:
        """What `copy.deepcopy` makes of a reduced object, as the documentation of `__reduce__` says."""
        self._passing.append((args, state))
        made = make(*(self.value(arg) for arg in args))
        known = self._memo.get(id(value))
        if known is not None:
            return known
        self._note(value, made)
        if state is not None:
            state = self.value(state)
            set_state = getattr(type(made), "__setstate__", None)
            if set_state is not None:
                set_state(made, state)
            else:
                plain, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
                if plain:
                    made.__dict__.update(plain)
                for name, item in (slots or {}).items():
                    setattr(made, name, item)
        for item in items or ():
            self._passing.append(item)
            made.append(self.value(item))
        for key, item in pairs or ():
            self._passing.append((key, item))
            made[self.value(key)] = self.value(item)
        return made

    def _share(self, value: Any) -> None:
        """Leave an object to both networks. Raises `TuiPruneError` where it leads to the network's own parts."""
        parts = self._parts()
        waiting, seen = [value], set[int]()
        while waiting and len(seen) < _MOST_LOOKED_AT:
            one = waiting.pop()
            if id(one) in seen or type(one) in _CONSTANT or isinstance(one, type):
                continue
            seen.add(id(one))
            if id(one) in parts:
                raise TuiPruneError(f"{self._refusal()} leads to a {type(value).__name__} {NOT_COPIED}")
            waiting.extend(referents(one))

    def _parts(self) -> set[int]:
        if not self._own:
            for _, module in named_modules(self._model):
                self._own.update((id(module), id(module.__dict__)))
                for table in (module._parameters, module._buffers):
                    self._own.update(id(tensor) for tensor in table.values() if tensor is not None)
        return self._own

    def _refusal(self) -> str:
        """The beginning of a sentence about the hook or attribute that is being copied."""
        module, attribute = self._place
        names = {id(part): name for name, part in named_modules(self._model)}
        whose, hook = names.get(id(module), type(module).__name__), HOOKS.get(attribute)
        if hook is None:
            place = f"its attribute {f'{whose}.{attribute}' if whose else attribute}"
        else:
            place = f"a {hook} of {f'its part {whose!r}' if whose else 'it'}"
        return f"This {type(self._model).__name__} can't be pruned: {place}"


class _Unread:
    """Stands for a generator in a copy that is only run: reading it raises `TuiPruneError`."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __iter__(self) -> "_Unread":
        return self

    def __next__(self) -> NoReturn:
        raise TuiPruneError(self._sentence)


def like_parameter(parameter: nn.Parameter, data: Tensor) -> nn.Parameter:
    """A parameter with other data."""
    return nn.Parameter(data, parameter.requires_grad)


@functools.cache
def _is_copied_by_attributes(kind: Any) -> bool:
    """Whether a deep copy of a module of this class is a copy of its attributes and nothing else."""
    for base in kind.__mro__:
        own = vars(base).keys() & _OWN_WAYS
        if base.__module__.startswith("torch.nn.modules."):
            own -= {"__setstate__"}  # torch's own only add what a pickle of an older version lacks
        if base not in (object, nn.Module) and (own or vars(base).get("__slots__")):
            return False
    return True


_WAYS: dict[type, Callable[[Copier, Any], Any]] = {
    dict: Copier._dict,
    OrderedDict: Copier._dict,
    defaultdict: Copier._default_dict,
    list: Copier._list,
    deque: Copier._deque,
    set: Copier._set,
    tuple: Copier._fixed,
    frozenset: Copier._fixed,
    types.FunctionType: Copier._function,
    types.MethodType: Copier._method,
    types.BuiltinFunctionType: Copier._built_in_method,
    types.MethodWrapperType: Copier._built_in_method,
    functools.partial: Copier._partial,
    type(functools.lru_cache(len)): Copier._cached,
    weakref.ref: Copier._reference,
    weakref.ProxyType: Copier._proxy,
    weakref.CallableProxyType: Copier._proxy,
    torch.Generator: Copier._generator,
    types.GeneratorType: Copier._read_once,
}
_WAYS_OF_BASES: tuple[tuple[type, Callable[[Copier, Any], Any]], ...] = (
    (nn.Module, Copier._module),
    (Tensor, Copier._tensor),
)
