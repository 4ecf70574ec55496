"""Building a network again from a fixed list of names."""

from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from tui_prune.archives.origin import FILE, Origin
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import shown
from tui_prune.loading.sources.registry import Source, source_of

SEED = 0
_ANY_OTHER_INPUT = "1,3,224,224"


def build(origin: Origin, device: Literal["cpu", "meta"] = "cpu") -> nn.Module:
    """The network of `origin`, in train mode, as its factory returns it.

    On "cpu" it has random weights, the same ones each time. On "meta" its parameters have shapes and no values, for
    whoever has the values; its buffers have theirs, because some are computed and stand in no file.

    Raises `TuiPruneError` when the origin is no entry of the fixed lists, or asks for arguments that a network from
    there can't have; `UsageError` when it is timm's and timm isn't installed.
    """
    source = source_of(origin)
    source.checked(origin)
    try:
        if device == "meta":
            return _without_values(source, origin)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return source.build(origin.name, origin.arguments)
    except Exception as error:  # arguments out of a file can make a factory raise anything
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in origin.arguments.items())
        raise TuiPruneError(f"The network {origin.name}({arguments}) can't be built: {error}.") from error


def default_input_spec(origin: Origin) -> str:
    """The shape of an input that suits the network; empty for one of the user's own file, and where it isn't known."""
    if origin.buildable:
        return source_of(origin).input_spec(origin.name, origin.arguments)
    return "" if origin.kind == FILE else _ANY_OTHER_INPUT


def likely_input_specs(origin: Origin) -> list[str]:
    """Shapes to try first, where the network's own source tells them but not which of them is right."""
    return list(source_of(origin).likely_inputs(origin.name, origin.arguments)) if origin.buildable else []


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


def _without_values(source: Source, origin: Origin) -> nn.Module:
    with _SkipInitialisation():
        network = source.build(origin.name, origin.arguments)
    on_meta: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter not in on_meta:
                on_meta[parameter] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
            setattr(module, name, on_meta[parameter])
    return network
