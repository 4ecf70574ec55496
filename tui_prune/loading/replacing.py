"""Putting other tensors in the place of a module's parameters and buffers."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by all their names: tied ones, and buffers that no state dict has, too."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def device_of(module: nn.Module) -> torch.device:
    """Where its first tensor is; the CPU where it has none."""
    return next((tensor.device for _, tensor in named_tensors(module)), torch.device("cpu"))


def replace_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make `tensors` the parameters and buffers of `module` under their names, of whatever shape they are.

    They go to the device of what they replace, or stay where they are if that has no values. What was one parameter
    under several names stays one. Floating-point parameters want gradients.
    """
    replaced: dict[Tensor, Tensor] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        old = getattr(owner, leaf)
        if old not in replaced:
            if not old.is_meta:
                tensor = tensor.to(old.device)
            wants_gradient = tensor.is_floating_point() or tensor.is_complex()
            replaced[old] = nn.Parameter(tensor, wants_gradient) if isinstance(old, nn.Parameter) else tensor
        setattr(owner, leaf, replaced[old])
