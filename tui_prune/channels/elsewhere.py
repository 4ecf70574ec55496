"""Networks that run something other than their own layers: what to open in their place."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from tui_prune.channels.record import TraceRecord
from tui_prune.copies.modules import named_modules
from tui_prune.errors import TuiPruneError

_MOST_NAMED = 3


def check_that_it_runs_its_layers(model: nn.Module, record: TraceRecord) -> None:
    """Raise `TuiPruneError`, with the part to open, where a forward pass computes nothing with a network's tensors."""
    if record.runs_layers:
        return
    kind = type(model).__name__
    if record.parameters:
        parts = list(_parts_with_weights(model, ""))
        if parts:
            raise TuiPruneError(f"This {kind} can't be pruned: it runs none of its layers. {_advice(parts)}")
        return
    held = [(name, part) for name, part in _held(model) if next(part.parameters(), None) is not None]
    if held:
        raise TuiPruneError(
            f"This {kind} can't be pruned: it has no layers with weights among its modules. {_advice(held)}"
        )


def _advice(parts: list[tuple[str, nn.Module]]) -> str:
    named = [f"{name} (a {type(part).__name__})" for name, part in parts]
    if len(named) == 1:
        return f"Open its part {named[0]} instead."
    others = ", …" if len(named) > _MOST_NAMED else ""
    return f"Open one of its parts instead: {', '.join(named[:_MOST_NAMED])}{others}."


def _parts_with_weights(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The outermost parts that have weights and a forward pass."""
    for name, part in module._modules.items():
        if part is None or next(part.parameters(), None) is None:
            continue
        if type(part).forward is nn.Module.forward:  # a list or dict of modules
            yield from _parts_with_weights(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _held(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The networks that the model's modules keep without having them among their modules, with the way to each."""
    for prefix, part in named_modules(model):
        for name, value in vars(part).items():
            if name not in ("_modules", "_parameters", "_buffers"):
                yield from _modules_in(value, f"{prefix}.{name}" if prefix else name, 2)


def _modules_in(value: Any, place: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(value, nn.Module):
        yield place, value
    elif depth and isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _modules_in(item, f"{place}[{number}]", depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _modules_in(item, f"{place}[{key!r}]", depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType)):
        for name, item in vars(value).items():
            yield from _modules_in(item, f"{place}.{name}", depth - 1)
