"""The task's calibration data as arguments of a network."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from tui_prune.channels.nested import map_tensors
from tui_prune.channels.trace import as_arguments
from tui_prune.errors import UsageError
from tui_prune.evaluating.task import Task


class Batch(NamedTuple):
    """Positional or keyword arguments of a network, and what they should lead to, where the task says."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any


def calibration_batches(task: Task, model: nn.Module) -> Iterator[Batch]:
    """The task's calibration data on the network's device and in its number format.

    Each item is the inputs of one batch, or a pair of inputs and targets. Inputs are a tensor, a tuple of positional
    arguments or a dict of keyword arguments. Raises `UsageError` where the task has none, `TuiPruneError` when its code
    fails.
    """
    if task.calibration is None:
        raise UsageError(f"{task.name} has no function calibration() that yields batches of inputs.")
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(1))
    with task.own_errors("in calibration()"):
        items = iter(task.calibration())
    while True:
        with task.own_errors("in calibration()"):
            item = next(items, items)
        if item is items:
            return
        pair = isinstance(item, (tuple, list)) and len(item) == 2
        inputs, targets = item if pair else (item, None)
        inputs = map_tensors(inputs, lambda t: t.to(like) if t.is_floating_point() else t.to(like.device))
        named = isinstance(inputs, Mapping)
        yield Batch(() if named else as_arguments(inputs), dict(inputs) if named else {}, targets)
