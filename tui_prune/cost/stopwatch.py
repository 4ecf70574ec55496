"""What single calls take on this device: run by themselves on random tensors of their shapes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from tui_prune.cost import on_target
from tui_prune.cost.cost import SizedCall
from tui_prune.cost.measured_times import Remembered, environment
from tui_prune.cost.on_target import Run

ENOUGH = 0.015
"""Seconds for each of the functions, after which the fewest rounds are enough."""
ALONE = (RuntimeError, TypeError)
"""What an operator raises that can't have these shapes, or this number format, alone."""


class Calls:
    """Calls of one network, in its number and memory format."""

    def __init__(self, model: nn.Module) -> None:
        weights = [p for p in model.parameters() if p.is_floating_point()]
        first = max(weights, key=lambda p: p.numel(), default=torch.zeros(1))
        self.device, self.dtype = first.device, first.dtype
        self.channels_last = any(
            p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
            for p in weights
        )

    def key(self, call: SizedCall) -> str:
        """What tells a call from others."""
        shapes = [list(value) if isinstance(value, torch.Size) else value for value in call.args]
        last = " channels last" if self.channels_last else ""
        return f"{call.func} {shapes} {call.kwargs or ''} {self.dtype}{last}"

    def runnable(self, call: SizedCall) -> SizedCall | None:
        """The call with as many groups as its tensors have; None where tensors of these shapes don't fit together."""
        names = [argument.name for argument in call.func._schema.arguments]
        if "groups" not in names[: len(call.args)]:
            return call
        given = dict(zip(names, call.args, strict=False))
        inner = call.out[1] if given.get("transposed") else given["input"][1]
        groups, rest = divmod(inner, max(given["weight"][1], 1))  # whole groups may have gone
        if rest or not groups:
            return None
        place = names.index("groups")
        return replace(call, args=(*call.args[:place], groups, *call.args[place + 1 :]))

    def weight_lies_transposed(self, call: SizedCall) -> bool:
        """Whether the last tensor is the weight of a linear layer."""
        return call.func._schema.name in ("aten::mm", "aten::addmm") and bool(call.layer)


class Stopwatch(Calls):
    """Seconds that calls take on the device of a network. Each call is measured once on machines of a kind."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._generator = torch.Generator(self.device).manual_seed(0)
        self._remembered = Remembered(environment(self.device))

    def seconds(self, calls: Sequence[SizedCall]) -> list[float | None]:
        """For each call what it takes (`fastest`); None where it can't be run by itself."""
        keys = [self.key(call) for call in calls]
        missing = {key: call for key, call in zip(keys, calls, strict=True) if key not in self._remembered}
        if missing:
            runs = [self._runnable(call) for call in missing.values()]
            self._remembered.add(dict(zip(missing, fastest(runs, self.device), strict=True)))
        return [self._remembered[key] for key in keys]

    def _runnable(self, call: SizedCall) -> Run | None:
        """A function that makes this call; None where it can't be made."""
        fitting = self.runnable(call)
        if fitting is None:
            return None
        args, kwargs = [self._tensors(value) for value in fitting.args], dict(call.kwargs)
        kwargs = {name: self._tensors(value) for name, value in kwargs.items()}
        if self.weight_lies_transposed(call):
            args[-1] = args[-1].t().contiguous().t()
        return lambda: call.func(*args, **kwargs)

    def _tensors(self, value: Any) -> Any:
        if isinstance(value, torch.Size):
            made = torch.randn(value, device=self.device, generator=self._generator).to(self.dtype)
            last = self.channels_last and made.dim() == 4
            return made.contiguous(memory_format=torch.channels_last) if last else made
        if isinstance(value, (list, tuple)):
            return type(value)(self._tensors(part) for part in value)
        return value


@torch.no_grad()
def fastest(runs: Sequence[Run | None], device: torch.device) -> list[float | None]:
    """The least seconds that each of some functions takes (`on_target.fastest`); None for those that fail."""
    return on_target.fastest(runs, partial(synchronise, device), ENOUGH, ALONE)


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).synchronize()
