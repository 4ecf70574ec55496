"""The eager module inside whatever somebody passes."""

from typing import cast

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.formatting import shown

_OBSERVERS = ("torch.ao.quantization.observer", "torch.ao.quantization.fake_quantize", "torch.ao.nn.qat",
              "torch.ao.nn.intrinsic.qat")  # fmt: skip
_QUANTISING_PACKAGES = ("torchao.", "bitsandbytes.", "quanto.", "optimum.quanto.")
_DEEPEST = 200
_FIXED = "whose code is fixed to its shapes. Open the Python network that it was made from."


def plain_module(module: nn.Module, *, needs_values: bool = True) -> nn.Module:
    """`module` without the wrappers of `torch.compile` and of data parallel training.

    Raises `UsageError` when it is no module; `TuiPruneError` when it is one that can't be pruned: a TorchScript or
    exported one, a quantised one or one prepared for that, a lazy one, one with sparse or wrapped tensors, or (if it
    `needs_values`) one on the meta device.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise UsageError(f"Pass a network and not its class: {module.__name__}(), not {module.__name__}.")
    if not isinstance(module, nn.Module):
        raise UsageError(f"A network must be a torch.nn.Module; this is a {type(module).__name__}.")
    module = _unwrapped(module)
    _check_nesting(module)
    for name, part in module.named_modules():
        reason = _refusal(part)
        if reason is not None:
            place = f"its part {name!r}" if name else "it"
            raise TuiPruneError(f"{_what(module)} can't be pruned: {place} {reason}")
    _check_tensors(module, needs_values)
    return module


def _check_nesting(module: nn.Module) -> None:
    """Raises `TuiPruneError` where a module is within itself, or nested so deep that torch can't walk through it."""
    above: list[nn.Module] = []
    left = [(0, "", module)]
    checked: set[int] = set()
    while left:
        depth, name, part = left.pop()
        del above[depth:]
        if depth > _DEEPEST or any(part is one for one in above):
            how = "is nested too deep" if depth > _DEEPEST else "is within itself"
            raise TuiPruneError(f"{_what(module)} can't be pruned: its part {shown(name)} {how}.")
        if id(part) not in checked:
            checked.add(id(part))
            above.append(part)
            below = (part.__dict__.get("_modules") or {}).items()
            left += [(depth + 1, f"{name}.{key}".strip("."), one) for key, one in below if one is not None]


def _unwrapped(module: nn.Module) -> nn.Module:
    seen: set[int] = set()
    while id(module) not in seen:
        seen.add(id(module))
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = cast(nn.Module, module._orig_mod)
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = cast(nn.Module, module.module)
        else:
            break
    return module


def _refusal(part: nn.Module) -> str | None:
    """Why a network with this part can't be pruned, and what to do then."""
    if isinstance(part, torch.jit.ScriptModule):
        return f"is a TorchScript module, {_FIXED}"
    if any(kind.__module__.startswith("torch.export.") for kind in type(part).__mro__):
        return f"is a module of torch.export, {_FIXED}"
    if type(part).__module__.startswith(_OBSERVERS):
        return "watches values to quantise them. Prune the float network before it is prepared for that."
    if _is_quantised(part):
        return "is quantised. Prune the float network, then quantise."
    return None


def _is_quantised(part: nn.Module) -> bool:
    package = type(part).__module__
    if package.startswith(_QUANTISING_PACKAGES) or (package.startswith("torch.") and ".quantized" in package):
        return True
    tensors = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    return any(
        tensor.is_quantized or type(tensor.data).__module__.startswith(_QUANTISING_PACKAGES) for tensor in tensors
    )


def _check_tensors(module: nn.Module, needs_values: bool) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(tensor):
            raise TuiPruneError(
                f"{_what(module)} can't be pruned: {name} has no shape yet. Run the network once first."
            )
        if tensor.layout != torch.strided:
            raise TuiPruneError(
                f"{_what(module)} can't be pruned: {name} is a sparse tensor. Make it dense first: to_dense()."
            )
        if is_traceable_wrapper_subclass(tensor):
            raise TuiPruneError(
                f"{_what(module)} can't be pruned: {name} is a {type(tensor).__name__}, which wraps other tensors. "
                "Prune the plain network, before it is sharded or converted."
            )
        if needs_values and tensor.is_meta:
            raise TuiPruneError(
                f"{_what(module)} can't be pruned: {name} is on the meta device, so it has no values. "
                "Build the network on the CPU or a GPU, and load its weights."
            )


def _what(module: nn.Module) -> str:
    return f"This {type(module).__name__}"
