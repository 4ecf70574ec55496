"""The sizes that modules keep as attributes, set to those of their cut tensors."""

from collections.abc import Callable, Iterator, Set
from typing import Any

from torch import nn

from tui_prune.archives.origin import Edit

Sizes = dict[str, int | tuple[int, ...]]


def _convolution(module: Any) -> Sizes:
    weight = module.weight
    if getattr(module, "transposed", False):
        return {"in_channels": weight.shape[0], "out_channels": weight.shape[1] * module.groups}
    return {"out_channels": weight.shape[0], "in_channels": weight.shape[1] * module.groups}


def _linear(module: Any) -> Sizes:
    return {"out_features": module.weight.shape[0], "in_features": module.weight.shape[1]}


def _embedding(module: Any) -> Sizes:
    return {"num_embeddings": module.weight.shape[0], "embedding_dim": module.weight.shape[1]}


def _first_size(attribute: str) -> Callable[[nn.Module], Sizes]:
    def sizes(module: nn.Module) -> Sizes:
        tensor = next(
            (t for name in ("weight", "running_mean", "bias") if (t := getattr(module, name, None)) is not None), None
        )
        return {} if tensor is None else {attribute: tensor.shape[0]}

    return sizes


def _normalized_shape(module: Any) -> Sizes:
    return {} if module.weight is None else {"normalized_shape": tuple(module.weight.shape)}


def _recurrent(module: nn.Module) -> Sizes:
    """Of a layer, or of a cell; nothing of a user's own class that doesn't keep its weights as PyTorch's classes do."""
    end = "_l0" if isinstance(module, nn.RNNBase) else ""
    from_input, projection = (module._parameters.get(f"{name}{end}") for name in ("weight_ih", "weight_hr"))
    if from_input is None:
        return {}
    gates = 4 if isinstance(module, (nn.LSTM, nn.LSTMCell)) else 3 if isinstance(module, (nn.GRU, nn.GRUCell)) else 1
    found: Sizes = {"input_size": from_input.shape[1], "hidden_size": from_input.shape[0] // gates}
    return found if projection is None else {**found, "proj_size": projection.shape[0]}


_SIZES: tuple[tuple[type[nn.Module], Callable[[nn.Module], Sizes]], ...] = (
    (nn.modules.conv._ConvNd, _convolution),
    (nn.Linear, _linear),
    (nn.modules.batchnorm._NormBase, _first_size("num_features")),
    (nn.LayerNorm, _normalized_shape),
    *(((nn.RMSNorm, _normalized_shape),) if hasattr(nn, "RMSNorm") else ()),
    (nn.GroupNorm, _first_size("num_channels")),
    (nn.Embedding, _embedding),
    (nn.PReLU, _first_size("num_parameters")),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, _recurrent),
)


def own_sizes(module: nn.Module) -> Set[str]:
    """The attributes of one of torch's layers that `apply_edits` sets by its tensors, and others that can't be sizes of
    channels; empty for all other modules."""
    kind = next((kind for kind, _ in _SIZES if isinstance(module, kind)), None)
    if kind is None or (issubclass(kind, (nn.RNNBase, nn.RNNCellBase)) and not _recurrent(module)):
        return frozenset()
    constants = {name for base in type(module).__mro__ for name in vars(base).get("__constants__", ())}
    return constants | {"_reversed_padding_repeated_twice", "output_padding"}


def size_edits(module: nn.Module, groups: dict[str, int]) -> Iterator[Edit]:
    """The attributes that don't fit the module's tensors any more.

    `groups`: how many groups are left of each grouped convolution whose number of groups changed.
    """
    for name, part in module.named_modules():
        if name in groups and getattr(part, "groups", groups[name]) != groups[name]:
            yield Edit(name, "groups", groups[name])
            part.groups = groups[name]
        for kind, sizes in _SIZES:
            if isinstance(part, kind):
                try:
                    own = sizes(part)
                except RuntimeError:  # its weight is computed, and can't be at this size: so will the forward pass fail
                    break
                for attribute, size in own.items():
                    if hasattr(part, attribute) and getattr(part, attribute) != size:
                        yield Edit(name, attribute, size)
                break


def apply_edits(module: nn.Module, groups: dict[str, int]) -> tuple[Edit, ...]:
    """Set the size attributes of a cut module; gives what was changed."""
    edits = tuple(size_edits(module, groups))
    for edit in edits:
        setattr(module.get_submodule(edit.module), edit.attribute, edit.value)
    return edits
