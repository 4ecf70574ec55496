"""The registry of criteria, and what a criterion may look at."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.channels.graph import Graph, Group
from tui_prune.channels.record import owner_of
from tui_prune.channels.trace import untouched
from tui_prune.errors import TuiPruneError, UsageError


@dataclass(frozen=True, eq=False)
class Evidence:
    """A group with the tensors that speak of it. Nothing here is a copy of a weight."""

    graph: Graph
    group: Group
    seed: int

    def outputs(self) -> list[tuple[str, Tensor, np.ndarray]]:
        """For each producer: its layer, its weight as (outputs, all else), the group position of each output."""
        channel = self.graph.classes.channel
        position = np.full(self.graph.classes.channels, -1)
        position[self.group.channels] = np.arange(len(self.group.channels))
        found = []
        for axis in self.graph.producers[self.group.index]:
            places = position[channel[axis.slots]]
            layer = owner_of(axis.tensor)
            weight = _effective_weight(self.graph.model, axis.tensor, layer)
            if axis.groups > 1:
                # A transposed grouped weight, (in, out / groups, ...): outputs lie along groups and dimension 1.
                parts = weight.reshape(axis.groups, -1, *weight.shape[1:]).transpose(1, 2)
                rows = parts.reshape(axis.size, -1)
            else:
                rows = weight.movedim(axis.dim, 0).reshape(axis.size, -1)
            found.append((layer, rows, places))
        return found

    def batch_norm_scales(self) -> list[tuple[str, Tensor, np.ndarray]]:
        """For each batch norm over the group's channels: its layer, |scale|, the group position of each scale."""
        channel = self.graph.classes.channel
        position = np.full(self.graph.classes.channels, -1)
        position[self.group.channels] = np.arange(len(self.group.channels))
        found = []
        for name, use in self.graph.record.layers.items():
            if use.kind == "batch norm" and use.outputs is not None:
                scale = getattr(self.graph.model.get_submodule(name), "weight", None)
                places = position[channel[use.outputs.numpy()]]
                if scale is not None and (places >= 0).any():
                    found.append((name, scale.detach().abs(), places))
        return found


Criterion = Callable[[Evidence], np.ndarray | None]

CRITERIA: dict[str, Criterion] = {}


def criterion(name: str) -> Callable[[Criterion], Criterion]:
    """Register a criterion: evidence to one score per channel of the group, or None where it has nothing to go by.

    Raises `ValueError` for a name that is taken.
    """

    def register(function: Criterion) -> Criterion:
        if name in CRITERIA:
            raise ValueError(f"two criteria called {name}")
        CRITERIA[name] = function
        return function

    return register


@torch.no_grad()
def score_groups(graph: Graph, name: str, seed: int = 0) -> tuple[np.ndarray | None, ...]:
    """The scores of every group's channels by one criterion (float64, one per channel; higher is more important).

    Raises `UsageError` for an unknown criterion, `TuiPruneError` naming the layer whose scores aren't finite.
    """
    if name not in CRITERIA:
        raise UsageError(f"There is no criterion {name!r}; there are {', '.join(CRITERIA)}.")
    computed = any(".parametrizations." in tensor for tensor in graph.record.shapes)
    # Reading a computed weight may update its module's buffers.
    with untouched(graph.model, graph.record.written) if computed else nullcontext():
        every = [CRITERIA[name](Evidence(graph, group, seed)) for group in graph.groups]
    for group, scores in zip(graph.groups, every, strict=True):
        if scores is not None and not np.isfinite(scores).all():
            raise TuiPruneError(
                f"The {name} scores of {group.name} are not finite: its weights hold NaN or infinity. "
                "Repair the checkpoint before pruning it."
            )
    return tuple(every)


def per_channel(size: int, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Sum values (one per slot) into channels, given each slot's position."""
    total = np.zeros(size)
    for values, places in parts:
        mine = places >= 0
        np.add.at(total, places[mine], values[mine])
    return total


def _effective_weight(model: nn.Module, tensor: str, layer: str) -> Tensor:
    """The parameter itself, or what the module computes from it (weight norm and other parametrizations, masks)."""
    if ".parametrizations." in tensor:
        name = tensor.partition(".parametrizations.")[2].partition(".")[0]
        return getattr(model.get_submodule(layer), name).detach()
    module = model if layer == tensor else model.get_submodule(layer)
    base = tensor.rpartition(".")[2].removesuffix("_orig").removesuffix("_mask")
    mask = getattr(module, f"{base}_mask", None)
    if isinstance(mask, Tensor) and isinstance(getattr(module, f"{base}_orig", None), Tensor):
        return getattr(module, f"{base}_orig").detach() * mask  # as torch.nn.utils.prune keeps them
    return getattr(module, tensor.rpartition(".")[2]).detach()
