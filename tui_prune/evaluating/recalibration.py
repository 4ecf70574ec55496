"""Batch norm after a cut: its running statistics are those of the uncut network until they are estimated anew.

The cut changes what arrives at each norm. With the weights as they are, averages over some batches of data bring much
of the accuracy back (Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", sec. 3).
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tui_prune.errors import TuiPruneError
from tui_prune.evaluating.batches import calibration_batches, forward
from tui_prune.evaluating.task import Task, guess
from tui_prune.progress import Progress, silent

MOST_BATCHES = 64
"""Statistics of a few thousand images change no more; calibration data may go on for ever."""


def has_statistics(model: nn.Module) -> bool:
    """Whether there is a batch norm with running statistics."""
    return bool(_norms(model))


def recalibrate(model: nn.Module, task: Task, progress: Progress = silent, most_batches: int = MOST_BATCHES) -> None:
    """Estimate the running statistics of all batch norms anew, in place, as averages over the task's calibration data.

    Nothing else of the model changes: only batch norms are in train mode meanwhile, so that dropout stays off. A norm
    that no batch reaches keeps its statistics.

    Raises `UsageError` when there is no calibration data, `TuiPruneError` when its code or the model fails, or when
    the new statistics aren't finite; the statistics are as they were then.
    """
    norms = _norms(model)
    before = [{name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)} for norm in norms]
    try:
        with _estimating(model, norms):
            for number, batch in enumerate(itertools.islice(calibration_batches(task, model), most_batches)):
                progress("recalibrate", guess(number))
                forward(model, batch)
        for norm, values in zip(norms, before, strict=True):
            if not int(norm.num_batches_tracked):
                _put_back(norm, values)
            elif not all(bool(buffer.isfinite().all()) for buffer in norm.buffers(recurse=False)):
                raise TuiPruneError(
                    f"The calibration data of {task.name} leads to batch-norm statistics that aren't finite; "
                    "mend the data, or the weights."
                )
    except BaseException:
        for norm, values in zip(norms, before, strict=True):
            _put_back(norm, values)
        raise
    progress("recalibrate", 1.0)


def _norms(model: nn.Module) -> list[_BatchNorm]:
    found = (module for module in model.modules() if isinstance(module, _BatchNorm))
    return [norm for norm in found if norm.track_running_stats and norm.running_mean is not None]


@contextmanager
def _estimating(model: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    momentums = [norm.momentum for norm in norms]
    devices = {buffer.device.index for norm in norms for buffer in norm.buffers() if buffer.device.type == "cuda"}
    try:
        for module, _ in modes:
            module.training = False
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a cumulative average
            norm.training = True
        with torch.no_grad(), torch.random.fork_rng(sorted(index for index in devices if index is not None)):
            yield
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


@torch.no_grad()
def _put_back(norm: _BatchNorm, values: dict[str, torch.Tensor]) -> None:
    for name, value in values.items():
        norm._buffers[name].copy_(value)
