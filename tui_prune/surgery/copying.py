"""A copy of a module that holds other tensors: quick, and without a copy of any weight."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tui_prune.copies import modules
from tui_prune.copies.copier import Copier, like_parameter
from tui_prune.copies.outside import Outside
from tui_prune.graph.record import TraceRecord


def named_tensors(model: nn.Module, record: TraceRecord) -> dict[str, Tensor]:
    """The parameters and buffers that have axes, each once."""
    return {name: tensor for name, tensor in modules.named_tensors(model) if name in record.shapes}


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor], record: TraceRecord) -> nn.Module:
    """A copy of the module that holds these tensors in place of its own; no weight of the original is copied.

    Its hooks and closures are its own, as `Copier` makes them.
    """
    known: dict[int, Any] = Outside(model).shared
    own = named_tensors(model, record)
    for name, tensor in own.items():
        new = tensors[name]
        known[id(tensor)] = like_parameter(tensor, new) if isinstance(tensor, nn.Parameter) else new
    copier = Copier(model, known, sharing_weights=False)
    copied = copier.copy()
    copier.attributes_of_tensors(own.values())
    return copied
