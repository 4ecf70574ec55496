"""What the task's calibration data makes of a network's layers: the values that they put out."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.trace import untouched
from tui_prune.progress import Progress, silent
from tui_prune.tasks.batches import calibration_batches, forward
from tui_prune.tasks.task import Task, guess

SAMPLE = 1 << 16
"""Values of a layer that are kept to be drawn."""
PER_BATCH = 1 << 13


@dataclass(frozen=True, eq=False)
class Activations:
    """The values that a layer has put out for all calibration data."""

    values: np.ndarray
    """Some of them, by chance, at most `SAMPLE`."""
    channels: np.ndarray | None
    """Mean size of each channel's values, shape (outputs,); None where they can't be told apart."""
    count: int
    zeros: int


def measure_activations(graph: Graph, task: Task | None, progress: Progress = silent) -> Mapping[str, Activations]:
    """Run the task's calibration data through the graph's network, which stays as it was; by layer what it put out.

    Raises `UsageError` when there is no calibration data, `TuiPruneError` when the task's code or the network fails.
    """
    if task is None or task.calibration is None:
        what = "open the network with --task FILE.py, a task with" if task is None else f"give {task.name}"
        raise UsageError(f"Activations are measured on calibration data: {what} a function calibration().")
    with untouched(graph.model) as model, ExitStack() as hooks:
        modules = dict(model.named_modules())
        watches = {layer.name: _Watch(layer.width) for layer in graph.layers if layer.name in modules}
        for name, watch in watches.items():
            hooks.callback(modules[name].register_forward_hook(watch.take).remove)
        for batches, batch in enumerate(calibration_batches(task, model), 1):
            progress("calibrate", guess(batches))
            forward(model, batch)
    progress("calibrate", 1.0)
    return {name: watch.found() for name, watch in watches.items() if watch.count}


class _Watch:
    """Takes notes of what a layer puts out."""

    def __init__(self, width: int) -> None:
        self.count = self.zeros = 0
        self._width = width
        self._chance = torch.Generator().manual_seed(0)
        self._parts: list[np.ndarray] = []
        self._sums: np.ndarray | None = None
        self._summed = 0
        """Values of each channel that the sums are of."""

    def take(self, module: nn.Module, args: Any, output: Any) -> None:
        value = next((tensor for tensor in tensors_in(output) if tensor.is_floating_point()), None)
        if value is None or not value.numel():
            return
        value = value.detach()
        self.count += value.numel()
        self.zeros += value.numel() - int(value.count_nonzero())
        if len(self._parts) < SAMPLE // PER_BATCH:
            places = torch.randint(value.numel(), (PER_BATCH,), generator=self._chance).to(value.device)
            self._parts.append(value.reshape(-1)[places].float().cpu().numpy())
        dim = _channel_dim(module, value, self._width)
        if dim is not None:
            sums = value.abs().float().movedim(dim, 0).flatten(1).sum(1).double().cpu().numpy()
            self._sums = sums if self._sums is None else self._sums + sums
            self._summed += value.numel() // self._width

    def found(self) -> Activations:
        channels = None if self._sums is None else self._sums / self._summed
        return Activations(np.concatenate(self._parts), channels, self.count, self.zeros)


def _channel_dim(module: nn.Module, value: Tensor, width: int) -> int | None:
    """The dimension that a layer's channels lie along: the last of a linear layer's or a layer norm's output, or else
    the second."""
    last = isinstance(module, (nn.Linear, nn.LayerNorm, nn.Embedding)) or value.dim() < 3
    dim = value.dim() - 1 if last else 1
    return dim if dim > 0 and value.shape[dim] == width else None
