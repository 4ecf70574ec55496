"""Whether a run has left something behind in a network."""

import functools
import operator
import types
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_modules, named_tensors
from tui_prune.copies.references import is_global

_CONSTANT = frozenset(
    (
        *(int, float, bool, str, bytes, complex, range, slice, type(None), type(Ellipsis), type),
        *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, types.ModuleType),
    )
)
_MOST_VALUES = 1 << 22
"""Numbers of buffers that are compared."""


class State:
    """What a network's modules hold, to be compared after a run. Values of parameters aren't looked at."""

    def __init__(self, model: nn.Module) -> None:
        self._tables: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._empty: list[Any] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._seen: set[int] = set()
        self._is_known = True
        """Whether all that the modules hold is of a kind that can be compared."""
        for _, module in named_modules(model):
            self._note_table(vars(module))
            for name, value in vars(module).items():
                if name not in ("_parameters", "_buffers", "_modules"):
                    self._note(value)
                elif value:
                    self._note_table(value)
                else:
                    self._empty.append(value)
        tensors = [tensor for _, tensor in named_tensors(model)]
        self._is_known &= not any(getattr(tensor, "__dict__", None) for tensor in tensors)
        buffers = [tensor for tensor in tensors if not isinstance(tensor, nn.Parameter)]
        self._is_known &= sum(buffer.numel() for buffer in buffers) <= _MOST_VALUES
        if self._is_known:
            self._buffers = [(buffer, buffer.detach().clone()) for buffer in buffers]

    def take_buffers(self) -> None:
        """Take the values that the buffers have now for those to compare with."""
        self._buffers = [(buffer, buffer.detach().clone()) for buffer, _ in self._buffers]

    def is_kept(self) -> bool:
        """Whether everything is known to be as it was."""
        return (
            self._is_known
            and not any(self._empty)
            and all(map(_holds_the_same, self._tables))
            and all(len(now) == len(then) and all(map(operator.is_, now, then)) for now, then in self._lists)
            and all(now.shape == then.shape and torch.equal(now, then) for now, then in self._buffers)
        )

    def _note_table(self, table: dict[str, Any]) -> None:
        self._tables.append((table, dict(table)))

    def _note(self, value: Any) -> None:
        kind = type(value)
        if kind in _CONSTANT or isinstance(value, (nn.Module, type)) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if kind in (dict, OrderedDict, list, set) and not value:
            self._empty.append(value)
        elif kind in (dict, OrderedDict):
            self._note_table(value)
            self._note_all((*value.keys(), *value.values()))
        elif kind is list:
            self._lists.append((value, list(value)))
            self._note_all(value)
        elif kind in (tuple, frozenset):
            self._note_all(value)
        elif kind is functools.partial:
            self._note_all((value.func, value.args, value.keywords, vars(value)))
        elif not (kind in (types.FunctionType, types.BuiltinFunctionType) and is_global(value)):
            # A parameter is among those of some module.
            self._is_known &= isinstance(value, nn.Parameter)

    def _note_all(self, values: Any) -> None:
        for value in values:
            self._note(value)


def _holds_the_same(table: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    now, then = table
    return (
        len(now) == len(then)
        and all(map(operator.is_, now, then))
        and all(map(operator.is_, now.values(), then.values()))
    )
