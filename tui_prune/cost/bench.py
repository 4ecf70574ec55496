"""What whole networks take on this device: time and memory of a forward pass."""

import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tui_prune.cost.cost import Cost, CostModel
from tui_prune.cost.measured_times import environment
from tui_prune.cost.on_target import timed
from tui_prune.cost.stopwatch import synchronise
from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.grouping import build_graph
from tui_prune.graph.trace import record_trace, untouched
from tui_prune.loading.open_model import open_model
from tui_prune.loading.sources.factory_file import is_factory_spec, load_factory
from tui_prune.progress import Progress, silent

ROUNDS = 15
FEWEST_ROUNDS = 5
WARM_UP = 3
LONGEST = 5.0
"""Seconds after which the fewest rounds are enough."""


@dataclass(frozen=True)
class Measured:
    """A forward pass on the example input."""

    latency: float
    """Seconds: the median of several passes, once the device is warm."""
    memory: int
    """Bytes of the weights and of all that is alive beside them when most is."""
    passes: tuple[float, ...]
    """Seconds of each pass, in turn with those of what it was measured beside."""


def measure(
    models: Sequence[nn.Module],
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> tuple[Measured, ...]:
    """Latency and memory of networks that take the same input, each on its device and left as it was.

    They are run in turn, so that what else the machine does meanwhile meets them alike.
    """
    passes: list[list[float]] = [[] for _ in models]
    with ExitStack() as stack:
        models = [stack.enter_context(_as_used(model)) for model in models]
        runs = [lambda model=model: model(*inputs, **(kwargs or {})) for model in models]
        memory = [peak_memory(model, inputs, kwargs or {}) for model in models]
        started = time.perf_counter()
        for done in range(WARM_UP + ROUNDS):
            if done >= WARM_UP + FEWEST_ROUNDS and time.perf_counter() - started > LONGEST:
                break
            progress("measure latency", done / (WARM_UP + ROUNDS))
            for run, model, found in zip(runs, models, passes, strict=True):
                seconds = timed(run, partial(synchronise, device_of(model)))
                if done >= WARM_UP:
                    found.append(seconds)
    progress("measure latency", 1.0)
    return tuple(Measured(median(found), size, tuple(found)) for found, size in zip(passes, memory, strict=True))


def benchmark(
    spec: str,
    output: str | None = None,
    *,
    weights: str | None = None,
    input_spec: str | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The object of `bench --json`, and what should be said of the networks.

    `spec` is what `open_model` opens, `output` a pruned checkpoint of it. Both run on the same example input. Raises
    `UsageError`, `TuiPruneError` when one of them can't be opened or run.
    """
    opened = [open_model(spec, weights=weights, input_spec=input_spec, device=device, progress=progress)]
    if output is not None:
        own = load_factory(spec)() if is_factory_spec(spec) else None
        shape = opened[0].input_spec or None
        opened.append(open_model(output, input_spec=shape, device=device, model=own, progress=progress))
    models, inputs, kwargs = [one.module for one in opened], opened[0].example_inputs, opened[0].example_kwargs
    costs = [_cost(model, inputs, kwargs) for model in models]
    measured = measure(models, inputs, kwargs, progress=progress)

    def pair(values: Sequence[Any]) -> dict[str, Any]:
        return {"before": values[0], "after": values[1] if len(values) > 1 else None}

    report = {
        "model": opened[0].title,
        "output": output,
        "input": opened[0].input_spec,
        "device": environment(device_of(models[0])),
        "latency": pair([one.latency for one in measured]),
        "memory": pair([one.memory for one in measured]),
        "macs": pair([cost.macs for cost in costs]),
        "params": pair([cost.params for cost in costs]),
        "bytes": pair([cost.bytes for cost in costs]),
    }
    return report, opened[0].notes


def _cost(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Cost:
    graph = build_graph(record_trace(model, inputs, kwargs))
    return CostModel(graph).measure(np.ones(graph.classes.channels, bool))[0]


def device_of(model: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def peak_memory(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Bytes of a network's parameters and buffers, and of all other tensors alive at a time when they are most.

    On CUDA what the allocator has handed out, workspace included; elsewhere the tensors that operators make.
    """
    device = device_of(model)
    storages = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    weights = {storage._cdata: storage.nbytes() for storage in storages}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        model(*inputs, **kwargs)
        return sum(weights.values()) + torch.cuda.max_memory_allocated(device) - before
    with _AliveTensors() as alive:
        model(*inputs, **kwargs)
    return sum(weights.values()) + alive.most


class _AliveTensors(OperatorMode):
    """Counts the bytes of memory that operators have taken and that some tensor still holds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in given:
                storage = tensor.untyped_storage()
                given.add(storage._cdata)
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return out

    def _change(self, octets: int) -> None:
        self.now += octets
        self.most = max(self.most, self.now)


@contextmanager
def _as_used(model: nn.Module) -> Iterator[nn.Module]:
    """What stands in for a model, in eval mode without gradients, with the user's own settings of attention and
    precision."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with untouched(model) as twin:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
        yield twin
