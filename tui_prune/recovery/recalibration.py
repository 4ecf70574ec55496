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
from tui_prune.graph.trace import standing_in
from tui_prune.progress import Progress, silent
from tui_prune.tasks.batches import calibration_batches, forward
from tui_prune.tasks.task import Task, guess

MOST_BATCHES = 64
"""Statistics of a few thousand images change no more; calibration data may go on for ever."""


def has_statistics(model: nn.Module) -> bool:
    """Whether there is a batch norm with running statistics."""
    return bool(_norms(model))


def recalibrate(model: nn.Module, task: Task, progress: Progress = silent, most_batches: int = MOST_BATCHES) -> None:
    """Estimate the running statistics of all batch norms anew, in place, as averages over the task's calibration data.

    Nothing else of the model changes. A copy over its weights is run, with only batch norms in train mode, so that
    dropout stays off. A norm that no batch reaches keeps its statistics.

    Raises `UsageError` when there is no calibration data, `TuiPruneError` when its code or the model fails, or when
    the new statistics aren't finite; the statistics are as they were then.
    """
    with standing_in(model) as twin:
        estimated = _norms(twin)
        with _estimating(twin, estimated):
            for number, batch in enumerate(itertools.islice(calibration_batches(task, twin), most_batches)):
                progress("recalibrate", guess(number))
                forward(twin, batch)
    reached = [
        (norm, new) for norm, new in zip(_norms(model), estimated, strict=True) if int(new.num_batches_tracked or 0)
    ]
    if not all(bool(buffer.isfinite().all()) for _, new in reached for buffer in new.buffers(recurse=False)):
        raise TuiPruneError(
            f"The calibration data of {task.name} leads to batch-norm statistics that aren't finite; "
            "mend the data, or the weights."
        )
    with torch.no_grad():
        for norm, new in reached:
            for name, buffer in norm.named_buffers(recurse=False):
                buffer.copy_(new.get_buffer(name))
    progress("recalibrate", 1.0)


def _norms(model: nn.Module) -> list[_BatchNorm]:
    found = (module for module in model.modules() if isinstance(module, _BatchNorm))
    return [norm for norm in found if norm.track_running_stats and norm.running_mean is not None]


@contextmanager
def _estimating(model: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    for module in model.modules():
        module.training = False
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative average
        norm.training = True
    devices = {buffer.device.index for norm in norms for buffer in norm.buffers() if buffer.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(sorted(index for index in devices if index is not None)):
        yield
