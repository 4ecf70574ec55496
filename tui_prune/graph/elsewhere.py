"""Networks that run something other than their own layers: what to open in their place."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from tui_prune.copies.modules import named_modules
from tui_prune.errors import TuiPruneError
from tui_prune.graph.functions import functions_of
from tui_prune.graph.record import TraceRecord

_MOST_NAMED = 3


def check_that_it_runs_its_layers(model: nn.Module, record: TraceRecord) -> None:
    """Raise `TuiPruneError`, with the part to open, where a forward pass computes nothing with a network's tensors."""
    if record.runs_layers:
        return
    kind = type(model).__name__
    held = {id(part): (name, part) for name, part in _held(model) if next(part.parameters(), None) is not None}
    parts = [*_parts_with_weights(model, ""), *held.values()]
    if not parts:
        return
    why = "it runs none of its layers" if record.parameters else "it has no layers with weights among its modules"
    raise TuiPruneError(f"This {kind} can't be pruned: {why}. {_advice(sorted(parts, key=_size, reverse=True))}")


def _size(part: tuple[str, nn.Module]) -> int:
    return sum(parameter.numel() for parameter in part[1].parameters())


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
    """The networks that a model's modules, or their classes' code, reach without having them among their modules, with
    the way to each."""
    parts = named_modules(model)
    own = {id(part) for _, part in parts}
    for prefix, part in parts:
        for name, value in _attributes(part):
            for place, found in _modules_in(value, f"{prefix}.{name}" if prefix else name, 2):
                if id(found) not in own:
                    yield place, found
    for _, function in (entry for kind in {type(part) for _, part in parts} for entry in functions_of(kind)):
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, nn.Module) and id(value) not in own:
                yield name, value


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    kind = type(module)
    for base in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        yield from ((name, value) for name, value in vars(base).items() if isinstance(value, nn.Module))
    for name, value in vars(module).items():
        if name not in ("_modules", "_parameters", "_buffers"):
            yield name, value


def _modules_in(value: Any, place: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(value, nn.Module):
        yield place, value
    elif depth and not isinstance(value, (type, ModuleType)):
        for step, item in _contents(value):
            yield from _modules_in(item, step.format(place), depth - 1)


def _contents(value: Any) -> Iterator[tuple[str, Any]]:
    """What a container, a function or an object holds, each with how to write the way to it."""
    if isinstance(value, (list, tuple)):
        yield from ((f"{{}}[{number}]", item) for number, item in enumerate(value))
    elif isinstance(value, Mapping):
        yield from ((f"{{}}[{_braced(key)}]", item) for key, item in value.items())
    elif isinstance(value, functools.partial):
        yield from ((f"{{}}.args[{number}]", item) for number, item in enumerate(value.args))
        yield from ((f"{{}}.keywords[{name!r}]", item) for name, item in value.keywords.items())
        yield "{}.func", value.func
    elif isinstance(value, MethodType):
        yield "{}.__self__", value.__self__
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with suppress(ValueError):  # nothing is in it yet
                yield f"{name} in {{}}", cell.cell_contents
        yield from ((f"{{}}.__defaults__[{number}]", item) for number, item in enumerate(value.__defaults__ or ()))
    else:
        yield from ((f"{{}}.{name}", item) for name, item in getattr(value, "__dict__", {}).items())


def _braced(key: object) -> str:
    return repr(key).replace("{", "{{").replace("}", "}}")
