"""A copy of a module that holds other tensors: quick, and without a copy of any weight."""

import copy
import functools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.channels import modules
from tui_prune.channels.record import TraceRecord

_CONSTANT = (int, float, bool, str, bytes, complex, type(None), type, torch.dtype, torch.device, torch.Size)
_EMPTY = (dict, OrderedDict, list, set)
_OWN_WAYS = {"__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__"}


def named_tensors(model: nn.Module, record: TraceRecord) -> dict[str, Tensor]:
    """The parameters and buffers that have axes, each once."""
    return {name: tensor for name, tensor in modules.named_tensors(model) if name in record.shapes}


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor], record: TraceRecord) -> nn.Module:
    """A copy of the module that holds these tensors in place of its own; no weight of the original is copied.

    What can't be copied (a lock, an open file, a tensor that autograd made) is shared with the original.
    """
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model, record).items():
        new = tensors[name]
        memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
    return _copy_module(model, memo)


def _copy_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    known = memo.get(id(module))
    if known is not None:
        return known
    if not _is_copied_by_attributes(type(module)):
        copied = _deep_copy(module, memo)
        if copied is not None:
            return copied
    twin = module.__class__.__new__(module.__class__)
    memo[id(module)] = twin
    state: dict[str, Any] = {}
    for name, value in module.__dict__.items():
        if name == "_compiled_call_impl":  # it would run the original
            continue
        if name == "_modules":
            state[name] = type(value)(
                (key, None if child is None else _copy_module(child, memo)) for key, child in value.items()
            )
        elif name in ("_parameters", "_buffers"):
            state[name] = type(value)((key, _copy_value(tensor, memo)) for key, tensor in value.items())
        else:
            state[name] = _copy_value(value, memo)
    twin.__dict__.update(state)
    return twin


@functools.cache
def _is_copied_by_attributes(kind: type[nn.Module]) -> bool:
    """Whether a deep copy of a module of this class is a copy of its attributes and nothing else."""
    for base in kind.__mro__:
        own = vars(base).keys() & _OWN_WAYS
        if base.__module__.startswith("torch.nn.modules."):
            own -= {"__setstate__"}  # torch's own only add what a pickle of an older version lacks
        if base not in (object, nn.Module) and (own or vars(base).get("__slots__")):
            return False
    return True


def _copy_value(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _CONSTANT:
        return value
    if kind in _EMPTY and not value:
        return kind()
    if kind is tuple and all(type(item) in _CONSTANT for item in value):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    copied = _deep_copy(value, memo)
    if copied is not None:
        return copied
    return value.detach().clone() if isinstance(value, Tensor) else value


def _deep_copy(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy, or None where there can't be one."""
    attempt = dict(memo)  # a copy that fails leaves it full of parts that are half made
    try:
        copied = copy.deepcopy(value, attempt)
    except Exception:  # whatever the user's own objects raise
        return None
    # Under its own number it holds what has to stay; another object may get that number once the attempt is gone.
    staying = attempt.pop(id(attempt), [])
    memo.update(attempt)
    memo.setdefault(id(memo), []).extend(staying)
    return copied
