"""What Torch-Pruning does with the same network, and whether its result is right."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from tests.benchmarks import clock
from tests.exactness import Kept, masked_original


def prune(model: nn.Module, inputs: tuple[Any, ...], ratio: float, outputs: Sequence[str]) -> dict[str, float]:
    """Prune the module itself; seconds for "build" (the dependency graph is built by the pruner) and "step"."""
    started = clock.now()
    pruner = _pruner(model, inputs, ratio, outputs)
    built = clock.now()
    pruner.step()
    return {"build": built - started, "step": clock.now() - built}


def prune_and_remember(
    model: nn.Module, inputs: tuple[Any, ...], ratio: float, outputs: Sequence[str]
) -> dict[str, Tensor]:
    """Prune the module itself; the positions that stay, by module and side ("conv1/in", "conv1/out")."""
    pruner = _pruner(model, inputs, ratio, outputs)
    graph = pruner.DG
    names = {id(module): name for name, module in model.named_modules()}
    kept: dict[str, Tensor] = {}
    for group in pruner.step(interactive=True):
        for dependency, gone in group:
            module = dependency.target.module
            if id(module) not in names:
                continue
            out = graph.is_out_channel_pruning_fn(dependency.handler)
            size = graph.get_out_channels(module) if out else graph.get_in_channels(module)
            if size is None:
                continue
            axis = f"{names[id(module)]}/{'out' if out else 'in'}"
            stays = torch.ones(size, dtype=torch.bool)
            stays[[int(getattr(index, "idx", index)) for index in gone]] = False
            kept[axis] = kept.get(axis, torch.arange(size))[stays]
        group.prune()
    return kept


def masked(model: nn.Module, kept: dict[str, Tensor]) -> nn.Module:
    """The original with zeros in all that reads a channel which the peer has removed; norms see the kept ones only."""
    positions: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            side, axis = "out", 0
        elif isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            side, axis = "in", 1
        else:
            continue
        if f"{name}/{side}" in kept:
            positions[f"{name}.weight/{axis}"] = kept[f"{name}/{side}"]

    def mask_grouped(copy: Any, _: Kept) -> None:
        for name, module in copy.named_modules():
            depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels
            if isinstance(module, nn.Conv2d) and module.groups > 1 and not depthwise and f"{name}/in" in kept:
                alive = torch.zeros(module.groups, module.in_channels // module.groups)
                alive.view(-1)[kept[f"{name}/in"]] = 1
                rows = alive.repeat_interleave(module.out_channels // module.groups, dim=0)
                module.weight.data *= rows[:, :, None, None]

    return masked_original(model, SimpleNamespace(kept=positions), mask_grouped)


def _pruner(model: nn.Module, inputs: tuple[Any, ...], ratio: float, outputs: Sequence[str]) -> Any:
    """Default settings. The empty tables are named because their defaults are shared by all pruners of a process."""
    return torch_pruning.pruner.BasePruner(
        model,
        inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[model.get_submodule(name) for name in outputs],
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
    )
