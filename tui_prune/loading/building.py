"""Building a network again from a fixed list of names."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import shown
from tui_prune.loading.sources import bundled as bundled_networks
from tui_prune.loading.sources import timm as timm_networks
from tui_prune.loading.sources import torchvision as torchvision_networks
from tui_prune.loading.sources.bundled import build_bundled, bundled_input_spec, bundled_names
from tui_prune.loading.sources.huggingface import KIND as HUGGINGFACE
from tui_prune.loading.sources.huggingface import build_huggingface, check_huggingface, likely_inputs
from tui_prune.loading.sources.timm import build_timm, check_timm_name, timm_input_spec
from tui_prune.loading.sources.torchvision import build_torchvision, torchvision_input_spec, torchvision_names

SEED = 0
_ANY_OTHER_INPUT = "1,3,224,224"


def build(origin: Origin, device: Literal["cpu", "meta"] = "cpu") -> nn.Module:
    """The network of `origin`, in train mode, as its factory returns it.

    On "cpu" it has random weights, the same ones each time. On "meta" its parameters have shapes and no values, for
    whoever has the values; its buffers have theirs, because some are computed and stand in no file.

    Raises `TuiPruneError` when the origin is no entry of the fixed lists, or asks for arguments that a network from
    there can't have; `UsageError` when it is timm's and timm isn't installed.
    """
    _check(origin)
    try:
        if device == "meta":
            return _without_values(origin)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return _call_factory(origin)
    except Exception as error:  # arguments out of a file can make a factory raise anything
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in origin.arguments.items())
        raise TuiPruneError(f"The network {origin.name}({arguments}) can't be built: {error}.") from error


def default_input_spec(origin: Origin) -> str:
    """The shape of an input that suits the network; empty for one of the user's own file, which nobody knows."""
    if origin.kind == "bundled":
        return bundled_input_spec(origin.name)
    if origin.kind == "torchvision":
        return torchvision_input_spec(origin.name, origin.arguments)
    if origin.kind == "timm":
        return timm_input_spec(origin.name, origin.arguments)
    if origin.kind == HUGGINGFACE:
        return ""
    return "" if origin.kind == "file" else _ANY_OTHER_INPUT


def likely_input_specs(origin: Origin) -> list[str]:
    """Shapes to try first, where the network's own source tells them but not which of them is right."""
    return likely_inputs(origin.name, origin.arguments) if origin.kind == HUGGINGFACE else []


def _check(origin: Origin) -> None:
    if not origin.buildable:
        raise TuiPruneError(f"{origin.title} is a network of your own; only you can build it.")
    if origin.kind == HUGGINGFACE:
        check_huggingface(origin.name, origin.arguments)
        return
    if origin.kind == "timm":
        check_timm_name(origin.name)
        known, allowed = True, timm_networks.ARGUMENTS
    elif origin.kind == "torchvision":
        known, allowed = origin.name in torchvision_names(), torchvision_networks.ARGUMENTS
    else:
        known, allowed = origin.name in bundled_names(), bundled_networks.ARGUMENTS
    if not known:
        raise TuiPruneError(f"This installation has no {origin.kind} network {origin.name!r}.")
    for key, value in origin.arguments.items():
        if key not in allowed or not _is_plain(value):
            raise TuiPruneError(f"A {origin.kind} network isn't built with {key}={value!r}; nothing was built.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, int) for item in value)
    return isinstance(value, int)


def _call_factory(origin: Origin) -> nn.Module:
    arguments: Mapping[str, Any] = origin.arguments
    if origin.kind == "torchvision":
        return build_torchvision(origin.name, arguments)
    if origin.kind == "timm":
        return build_timm(origin.name, arguments)
    if origin.kind == HUGGINGFACE:
        return build_huggingface(origin.name, arguments)
    return build_bundled(origin.name, arguments)


class _SkipInitialisation(TorchFunctionMode):
    """Leaves out whatever fills parameters with values; their memory is then never touched, and so never used.

    Parameters say that they are on the meta device, which is where initialisers that draw until it fits stop.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        target = args[0] if args else next(iter((kwargs or {}).values()), None)
        if isinstance(target, nn.Parameter):
            if getattr(func, "__self__", None) is torch.Tensor.is_meta:
                return True
            if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
                return target
        return func(*args, **(kwargs or {}))


def _without_values(origin: Origin) -> nn.Module:
    with _SkipInitialisation():
        network = _call_factory(origin)
    on_meta: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter not in on_meta:
                on_meta[parameter] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
            setattr(module, name, on_meta[parameter])
    return network
