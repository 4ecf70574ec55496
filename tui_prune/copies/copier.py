"""Copying a network so that the copy is its own: its hooks, closures and bound methods refer to the copy's parts."""

import copy
import copyreg
import functools
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_modules
from tui_prune.copies.references import referents
from tui_prune.copies.values import WAYS
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
        self._model, self.sharing_weights = model, sharing_weights
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
        rebuild = WAYS.get(kind)
        if rebuild is not None:
            return rebuild(self, value)
        for base, way in _WAYS_OF_BASES:
            if isinstance(value, base):
                return way(self, value)
        return self._object(value)

    def known(self, original: Any) -> Any:
        """The copy that was made of something; None: there is none yet."""
        return self._memo.get(id(original))

    def note(self, original: Any, made: Any) -> Any:
        """Remember the copy of something, and give it."""
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
        self.note(module, made)
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
        if self.sharing_weights and isinstance(tensor, nn.Parameter):
            return self.note(tensor, like_parameter(tensor, tensor.data))
        made = self._attempt(lambda own: copy.deepcopy(own, self._memo), tensor)
        return self.note(tensor, tensor.detach().clone() if made is None else made)

    def attributes_of_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give the copies of tensors the attributes that user code has put on the originals."""
        for tensor in tensors:
            attributes = getattr(tensor, "__dict__", None)
            made = self._memo.get(id(tensor))
            if attributes and isinstance(made, Tensor) and made is not tensor:
                made.__dict__.update({name: self.value(value) for name, value in attributes.items()})

    # Anything else.

    def _object(self, value: Any) -> Any:
        if isinstance(value, type):
            return value
        made = self._attempt(self._in_its_own_way, value)
        if made is None:
            self.share(value)
            return value
        return made

    def _in_its_own_way(self, value: Any) -> Any:
        kind = type(value)
        own = getattr(kind, "__deepcopy__", None)
        if own is not None:
            return self.note(value, own(value, self._memo))
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
        self.note(value, made)
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

    def share(self, value: Any) -> None:
        """Leave an object to both networks. Raises `TuiPruneError` where it leads to the network's own parts."""
        parts = self.parts()
        waiting, seen = [value], set[int]()
        while waiting and len(seen) < _MOST_LOOKED_AT:
            one = waiting.pop()
            if id(one) in seen or type(one) in _CONSTANT or isinstance(one, type):
                continue
            seen.add(id(one))
            if id(one) in parts:
                raise TuiPruneError(f"{self.refusal()} leads to a {type(value).__name__} {NOT_COPIED}")
            waiting.extend(referents(one))

    def parts(self) -> set[int]:
        """The identities of the network's own modules and tensors."""
        if not self._own:
            for _, module in named_modules(self._model):
                self._own.update((id(module), id(module.__dict__)))
                for table in (module._parameters, module._buffers):
                    self._own.update(id(tensor) for tensor in table.values() if tensor is not None)
        return self._own

    def refusal(self) -> str:
        """The beginning of a sentence about the hook or attribute that is being copied."""
        module, attribute = self._place
        names = {id(part): name for name, part in named_modules(self._model)}
        whose, hook = names.get(id(module), type(module).__name__), HOOKS.get(attribute)
        if hook is None:
            place = f"its attribute {f'{whose}.{attribute}' if whose else attribute}"
        else:
            place = f"a {hook} of {f'its part {whose!r}' if whose else 'it'}"
        return f"This {type(self._model).__name__} can't be pruned: {place}"


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


_WAYS_OF_BASES: tuple[tuple[type, Callable[[Copier, Any], Any]], ...] = (
    (nn.Module, Copier._module),
    (Tensor, Copier._tensor),
)
