"""A network that is run in the place of the user's."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from tui_prune.copies.copier import Copier, like_parameter
from tui_prune.copies.modules import named_tensors
from tui_prune.copies.outside import Outside


def stand_in(model: nn.Module, outside: Outside, written: Collection[str] = ()) -> nn.Module:
    """A copy of the model over the memory of its parameters, except of those in `written`; all else is its own.

    Raises `TuiPruneError` for a model that can't be copied.
    """
    known: dict[int, Any] = dict(outside.shared)
    memories: set[int] = set()
    buffers: list[Tensor] = []
    parameters: list[Tensor] = []
    for name, tensor in named_tensors(model):
        if not isinstance(tensor, nn.Parameter):
            buffers.append(tensor)
        elif id(tensor) not in known:
            parameters.append(tensor)
            memories.add(tensor.untyped_storage().data_ptr())
            known[id(tensor)] = like_parameter(tensor, tensor.data.clone() if name in written else tensor.data)
    for buffer in buffers:
        if id(buffer) not in known:
            over_parameters = buffer.numel() and buffer.untyped_storage().data_ptr() in memories
            known[id(buffer)] = buffer.detach() if over_parameters else buffer.detach().clone()
    copier = Copier(model, known, sharing_weights=True)
    copied = copier.copy()
    copier.attributes_of_tensors((*parameters, *buffers))
    return copied
