"""The task's calibration data as arguments of a network, and running them through it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tui_prune.errors import Cancelled, TuiPruneError, UsageError, ordinary_errors
from tui_prune.graph.model_code import failing_line
from tui_prune.graph.nested import map_tensors
from tui_prune.graph.trace import as_arguments
from tui_prune.tasks.task import Task


class Batch(NamedTuple):
    """Positional or keyword arguments of a network, and what they should lead to, where the task says."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Any


def calibration_batches(task: Task, model: nn.Module) -> Iterator[Batch]:
    """The task's calibration data on the network's device and in its number format; targets on its device.

    Each item is the inputs of one batch, or a pair of inputs and targets. Inputs are a tensor, a tuple of positional
    arguments or a dict of keyword arguments. Raises `UsageError` where the task has none or it yields nothing,
    `TuiPruneError` when its code fails.
    """
    if task.calibration is None:
        raise UsageError(f"{task.name} has no function calibration() that yields batches of inputs.")
    with task.own_errors("in calibration()"):
        items = iter(task.calibration())
    nothing = True
    while True:
        with task.own_errors("in calibration()"):
            item = next(items, items)
        if item is items:
            break
        nothing = False
        yield batch_of(item, model)
    if nothing:
        raise UsageError(f"calibration() of {task.name} yields nothing; it should yield batches of inputs.")


def batch_of(item: Any, model: nn.Module) -> Batch:
    """What a task yields as a batch, on the network's device and in its number format."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(1))

    def fitted(tensor: Tensor) -> Tensor:
        return tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)

    pair = isinstance(item, (tuple, list)) and len(item) == 2
    inputs, targets = item if pair else (item, None)
    inputs = map_tensors(inputs, fitted)
    named = isinstance(inputs, Mapping)
    targets = map_tensors(targets, lambda tensor: tensor.to(like.device))
    return Batch(() if named else as_arguments(inputs), dict(inputs) if named else {}, targets)


def forward(model: nn.Module, batch: Batch, of: str = "calibration()") -> Any:
    """What the network makes of a batch. Raises `TuiPruneError` with the line that fails; `of` says whose batch."""
    try:
        with ordinary_errors():
            return model(*batch.args, **batch.kwargs)
    except (Cancelled, TuiPruneError):
        raise
    except Exception as error:
        where = failing_line(error)
        message = str(error).strip().partition("\n")[0] or type(error).__name__
        place = f" at {where}" if where else ""
        if "more than 1 value per channel" in message:
            advice = f"Batch norm needs several inputs in each batch of {of}."
        elif of == "calibration()":
            advice = "It should yield inputs, or pairs of inputs and targets."
        else:
            advice = "Give them the size that the network takes."
        raise TuiPruneError(
            f"The model's forward pass fails on a batch of {of}{place} ({type(error).__name__}: {message}). {advice}"
        ) from error
