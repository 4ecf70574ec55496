"""What a module holds besides its code, remembered before a run and put back after it."""

import functools
import operator
from collections import deque
from collections.abc import Collection, Sequence
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.channels.modules import named_modules, named_tensors

_TENSORS = ("_parameters", "_buffers", "_modules")
_HOOKS = vars(nn.Module()).keys() - set(_TENSORS)
"""What torch itself keeps of every module; no forward pass changes it."""

_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, type, Enum, nn.Module, functools.partial),
    *(FunctionType, BuiltinFunctionType, MethodType),
)


class KeptState:
    """A model's tensors and the attributes of its modules, as they are when this is made.

    Buffers are held with their values. Parameters are held with theirs where `written` names them; where it is None,
    the memory of all tensors is held, so that one whose `data` a forward pass replaces is put back. Attributes are held
    as they are, and lists, dicts, sets and deques among them with what is in them; other objects aren't looked into.
    """

    def __init__(self, model: nn.Module, written: Collection[str] | None = None) -> None:
        self._attributes = [(module, dict(vars(module))) for _, module in named_modules(model)]
        self._containers: list[tuple[Any, Any]] = []
        seen: set[int] = set()
        for _, attributes in self._attributes:
            self._containers.extend((attributes[kind], dict(attributes[kind])) for kind in _TENSORS)
            for name, value in attributes.items():
                if isinstance(value, (list, dict, set, deque)) and name not in _HOOKS and name not in _TENSORS:
                    self._remember(value, seen)
        buffers = [buffer for _, own in self._attributes for buffer in own["_buffers"].values() if buffer is not None]
        watched = {
            name: tensor
            for name, tensor in (named_tensors(model) if written is None or written else ())
            if written is None or name in written
        }
        # A second tensor over the same memory keeps its own shape, whatever the first is resized to.
        self._memory = [(name, tensor, tensor.detach()) for name, tensor in watched.items()]
        changing = buffers if written is None else [*buffers, *watched.values()]
        self._values = [(tensor, tensor.detach().clone()) for tensor in changing]

    def _remember(self, value: Any, seen: set[int]) -> None:
        if not isinstance(value, (list, dict, set, deque)) or id(value) in seen:
            return
        seen.add(id(value))
        self._containers.append((value, _copy_of(value)))
        for part in value.values() if isinstance(value, dict) else value:
            self._remember(part, seen)

    @torch.no_grad()
    def restore(self, *, keep_computed: bool = False) -> frozenset[str]:
        """Put back what has changed, and give the names of the tensors whose `data` was replaced.

        With `keep_computed`, tensors among the attributes that the run has made anew stay, such as a weight that a hook
        computes.
        """
        for module, attributes in self._attributes:
            own = vars(module)
            if own.keys() == attributes.keys() and all(map(operator.is_, own.values(), attributes.values())):
                continue
            computed = {
                name: own[name]
                for name, value in attributes.items()
                if keep_computed and isinstance(value, Tensor) and isinstance(own.get(name), Tensor)
            }
            own.update({**attributes, **computed})
            for name in own.keys() - attributes.keys():
                del own[name]
        for container, content in self._containers:
            if (container or content) and not _same(container, content):
                _refill(container, content)
        replaced = set()
        for name, tensor, memory in self._memory:
            if tensor.data_ptr() != memory.data_ptr() or tensor.shape != memory.shape:
                replaced.add(name)
                tensor.data = memory
        for tensor, value in self._values:
            if tensor.shape != value.shape:
                tensor.resize_(value.shape)
            if not torch.equal(tensor, value):
                tensor.copy_(value)
        return frozenset(replaced)


class Overwritten:
    """The values of parameters that operators of a forward pass write over, remembered before they do."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._by_memory: dict[int, list[tuple[str, Tensor]]] | None = None
        self._values: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(self, func: Any, args: Sequence[Any]) -> None:
        """Remember the parameters in whose memory an operator is about to write."""
        if self._by_memory is None:
            self._by_memory = {}
            for name, parameter in self._model.named_parameters():
                self._by_memory.setdefault(parameter.untyped_storage().data_ptr(), []).append((name, parameter))
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor):
                for name, parameter in self._by_memory.get(value.untyped_storage().data_ptr(), ()):
                    if name not in self._values:
                        self._values[name] = parameter.detach(), parameter.detach().clone()

    @torch.no_grad()
    def restore(self) -> frozenset[str]:
        """Put the values back, and give the names of the parameters."""
        for memory, values in self._values.values():
            memory.copy_(values)
        return frozenset(self._values)


def may_keep_values(model: nn.Module) -> bool:
    """Whether modules hold tensors that are neither parameters nor buffers, or objects in which they might.

    What a forward pass computes and leaves there isn't put back as a `KeptState` puts attributes back.
    """
    return any(
        not _is_plain(value)
        for _, module in named_modules(model)
        for name, value in vars(module).items()
        if name not in _TENSORS and name not in _HOOKS
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, (dict, list, tuple, set, frozenset, deque)):
        parts = value.values() if isinstance(value, dict) else value
        return all(map(_is_plain, parts))
    if isinstance(value, Tensor):
        return False
    return isinstance(value, _PLAIN) or type(value).__module__.partition(".")[0] == "torch"


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
