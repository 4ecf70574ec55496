"""Channels that do nothing: what arrives of them at every layer that reads them is one number, whatever the input is.

A batch norm with a scale of 0, weights that are 0, or a ReLU that is never positive make such channels. Cutting them
needn't change the network at all: the layers that read them take the number up in their bias, or the batch norm behind
them in its mean. Around a padded convolution that is exact only where the number is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.graph.graph import Graph
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.record import TraceRecord, slot_numbers
from tui_prune.graph.trace import run, untouched
from tui_prune.loading.kept import axis_name
from tui_prune.recovery.bounds import Arrival, Bounds
from tui_prune.recovery.reading import Reader, Reading
from tui_prune.recovery.reconstruct import by_groups
from tui_prune.surgery.copying import named_tensors
from tui_prune.surgery.verify import TOLERANCES, NotEqual, relative_error

TRIES = 3
"""Inputs for which the outputs are compared."""


@dataclass(frozen=True, eq=False)
class Shift:
    """Where a layer takes up the numbers that some of its inputs always are."""

    target: str
    """Its bias, or the running mean of the norm behind it."""
    of_norm: bool
    numbers: Tensor
    """For each input the number; nan where it varies."""
    slots: np.ndarray
    """Of the inputs."""
    groups: int
    inputs_first: bool
    """Whether the inputs lie along the weight's first dimension."""


@dataclass(frozen=True, eq=False)
class Dead:
    """What is known of a network's channels."""

    slots: np.ndarray
    """For each slot of the trace: 1 for an input of a layer that is one number and can be taken up; -1 where a slot
    can't go without a change; 0: it says nothing."""
    shifts: Mapping[str, Shift]
    """By weight whose layer reads numbers other than 0."""


def find_dead(model: nn.Module, record: TraceRecord, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Dead:
    """Follow one forward pass by its bounds. Where the network's code reads values, or writes over its parameters,
    nothing is said to be dead."""
    slots = np.zeros(record.size, np.int8)
    tensors = named_tensors(model, record)
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    if record.reads_values or record.written or not all(bool(tensor.isfinite().all()) for tensor in floats):
        return Dead(slots, {})
    with untouched(model, record.written) as twin:
        bounds = Bounds(twin, record)
        bounds.open((tuple(args), dict(kwargs)))
        with bounds:
            run(twin, args, kwargs)
    readings: dict[str, Reading] = {}
    with untouched(model, record.written) as twin:
        reader = Reader(twin, record, reads=lambda reading: readings.setdefault(reading.weight, reading))
        with reader:
            run(twin, args, kwargs)
    calls: dict[str, list[Arrival]] = {}
    for arrival in bounds.arrivals:
        calls.setdefault(arrival.weight, []).append(arrival)
    producing = {(axis.tensor, axis.dim) for axis in record.producers}
    shifts: dict[str, Shift] = {}
    for name in record.shapes.keys() & record.parameters:
        arrivals = calls.get(name, [])
        for axis in record.axes_of(name):
            if (axis.tensor, axis.dim) in producing or len(record.shapes[name]) < 2:
                continue
            reading, numbers = readings.get(name), _numbers(arrivals, axis.size)
            if reading is None or numbers is None or reader.calls[name] != len(arrivals):
                slots[axis.slots] = -1
                continue
            target = reader.takes_up(name) if len(arrivals) == 1 and not arrivals[0].padded else None
            fine = ~numbers.isnan() if target is not None else numbers == 0
            slots[axis.slots] = np.where(fine.numpy(), 1, -1)
            if target is not None and bool((numbers.nan_to_num(nan=0.0) != 0).any()):
                shifts[name] = Shift(*target, numbers, axis.slots, reading.groups, reading.inputs_first)
    for lists in (*record.statistics.values(), *(list(dims.values()) for dims in record.bare_norms.values())):
        slots[slot_numbers(lists)] = -1
    return Dead(slots, shifts)


def _numbers(arrivals: list[Arrival], size: int) -> Tensor | None:
    """The number that each input of a layer always is, the same in each call; nan where it varies; None: not known."""
    if not arrivals or any(len(arrival.low) != size for arrival in arrivals):
        return None
    first = arrivals[0].constant
    for arrival in arrivals[1:]:
        first = torch.where(first == arrival.constant, first, torch.nan)
    return first


@torch.no_grad()
def take_up(
    original: nn.Module, cut: nn.Module, graph: Graph, keep: np.ndarray, positions: Mapping[str, Tensor], found: Dead
) -> None:
    """Add what lost inputs have always given to the biases, or the norms' means, of a cut network, which is written
    over. `keep`: bool, one per channel; `positions` as `kept_positions` has them."""
    before, after = named_tensors(original, graph.record), named_tensors(cut, graph.record)
    for name, shift in found.shifts.items():
        gone = torch.from_numpy(~keep[graph.classes.channel[shift.slots]])
        lost = torch.where(gone, shift.numbers.nan_to_num(nan=0.0), 0.0)
        if not bool(lost.any()):
            continue
        weight = by_groups(before[name].detach(), shift.groups, shift.inputs_first).double()
        by_column = lost.to(weight.device).reshape(shift.groups, -1)
        by_column = by_column.repeat_interleave(weight.shape[2] // by_column.shape[1], 1)
        rows = (weight @ by_column[:, :, None]).flatten()
        stays = positions.get(axis_name(shift.target, 0))
        rows = rows if stays is None else rows[stays.long().to(rows.device)]
        tensor = after[shift.target]
        tensor.copy_((tensor.double() + (-rows if shift.of_norm else rows)).to(tensor.dtype))


def proved(
    original: nn.Module, cut: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Tensor, ...], float]:
    """What a cut network puts out for some inputs, and the largest relative error beside the original as it is: for
    these inputs, and for random ones of the same shapes.

    Raises `NotEqual` where the error is larger than the number format explains.
    """

    def drawn(tensor: Tensor) -> Tensor:
        return 2 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor

    outputs: tuple[Tensor, ...] = ()
    worst = 0.0
    for number in range(TRIES):
        with torch.random.fork_rng([]):
            torch.manual_seed(number)
            given = map_tensors((tuple(args), dict(kwargs)), drawn if number else Tensor.clone)
        sides = []
        for model in (original, cut):
            with untouched(model) as twin:
                arguments, keywords = map_tensors(given, Tensor.clone)
                sides.append([t for t in tensors_in(run(twin, arguments, keywords)) if t.is_floating_point()])
        wanted, found = sides
        same = [t.shape for t in wanted] == [t.shape for t in found]
        errors = [relative_error(one, other) for one, other in zip(found, wanted, strict=True)] if same else [torch.inf]
        formats = {tensor.dtype for tensor in wanted}
        worst = max([worst, *errors])
        if worst > max((TOLERANCES.get(dtype, 1e-4) for dtype in formats), default=0.0):
            raise NotEqual(
                "Without the channels that seem to do nothing the network puts out something else (relative error "
                f"{worst:.2g}). Cut by another criterion."
            )
        outputs = outputs or tuple(found)
    return outputs, worst
