"""The second moments of what layers read, from one pass of an uncut network over calibration data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tui_prune.graph.graph import Graph
from tui_prune.graph.trace import untouched
from tui_prune.planning.criteria import Gathered
from tui_prune.planning.criteria.moments import Moments
from tui_prune.progress import Progress, silent
from tui_prune.recovery.influence import influences
from tui_prune.recovery.reading import Reader, Reading
from tui_prune.recovery.reconstruct import by_groups
from tui_prune.recovery.sampling import Sampler
from tui_prune.surgery.copying import named_tensors
from tui_prune.tasks.batches import calibration_batches
from tui_prune.tasks.inputs import joined, run_inputs
from tui_prune.tasks.task import Task

MOST_INPUTS = 256
"""More change little."""
MOST_COLUMNS = 1024
"""Of a layer that reads more, the columns of a channel (kernel positions, or positions that were flattened) are taken
for samples of one column: a channel's share of the error is nearly the same then, at a fraction of the cost."""
MOST_TOGETHER = 4096
"""Columns beyond are taken in parts, as if those of different parts didn't resemble each other."""


@torch.no_grad()
def gather_moments(graph: Graph, task: Task, progress: Progress = silent) -> Gathered:
    """The moments of each layer whose inputs are channels, and the variances of outputs that no such layer reads.

    Batches of calibration data are run until `MOST_INPUTS` inputs are through; then the outputs of a
    few inputs are followed back to the layers. A depthwise convolution mixes no channels, so it has no moments; neither
    has a layer whose weight the network computes.

    Raises `UsageError` when there are no batches, `TuiPruneError` when the task's code or the network fails.
    """
    watch, sampler, done, first = _Watch(graph), None, 0, None
    for batch in calibration_batches(task, graph.model):
        inputs = joined([(batch.args, batch.kwargs)], MOST_INPUTS)
        if inputs.count > MOST_INPUTS - done:
            inputs = inputs.pick(range(MOST_INPUTS - done))
        if sampler is None:
            first = inputs
            with untouched(graph.model, graph.record.written) as twin:
                sampler = Sampler.of(twin, graph.record, inputs, run_inputs)
        watch.sampler = sampler.over(inputs)
        with untouched(graph.model, graph.record.written) as twin:
            watch.reader = Reader(twin, graph.record, reads=watch.reads, gives=watch.gives)
            with watch.reader:
                run_inputs(twin, inputs)
        done += max(inputs.count, 1)
        progress("calibrate", min(1.0, done / MOST_INPUTS))
        if done >= MOST_INPUTS:
            break
    assert first is not None
    found = watch.found(influences(graph.model, graph.record, first, run_inputs, watch.groups))
    progress("calibrate", 1.0)
    return found


class _Watch:
    """Takes in what layers read, and what those give whose outputs no layer reads."""

    sampler: Sampler
    reader: Reader

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._sums: dict[str, _Sums | None] = {}
        """None: of no use."""
        self._given: dict[str, list[Tensor]] = {}
        self._unread = {
            axis.tensor: axis.dim
            for group, axes in zip(graph.groups, graph.producers, strict=True)
            if not any(member.role == "consumer" for member in group.members)
            for axis in axes
        }

    def reads(self, reading: Reading) -> None:
        name = reading.weight
        if name not in self._sums:
            layout = _layout(self._graph, reading)
            self._sums[name] = None if layout is None else _Sums(reading, layout)
        sums = self._sums[name]
        if sums is not None and not sums.add(self.sampler.read_by(reading)):
            self._sums[name] = None

    def gives(self, reading: Reading, out: Tensor) -> None:
        if reading.weight in self._unread:
            self._given.setdefault(reading.weight, []).append(self.sampler.given_by(reading, out).double().cpu())

    @property
    def groups(self) -> dict[str, int]:
        """By weight that was seen, the groups of its outputs."""
        return {name: sums.groups for name, sums in self._sums.items() if sums is not None}

    def found(self, influence: Mapping[str, Tensor]) -> Gathered:
        tensors = named_tensors(self._graph.model, self._graph.record)
        moments = {}
        for name, sums in self._sums.items():
            if sums is not None:
                normed, shifted = self.reader.is_normed(name), self.reader.bias(name) is not None
                moments[name] = sums.moments(tensors[name], influence.get(name), normed=normed, shifted=shifted)
        variances = {
            (name, self._unread[name]): torch.cat(rows).var(0, correction=0).numpy()
            for name, rows in self._given.items()
        }
        return Gathered(moments=moments, output_variances=variances)


class _Layout:
    """Which of the columns that a sampler gives are put together."""

    def __init__(self, index: Tensor, slots: np.ndarray) -> None:
        self.index = index
        """(parts of the sampler, parts of it, columns, any): the columns taken for samples of each one."""
        self.slots = slots
        """(all parts, columns)."""

    def columns(self, reads: Tensor) -> Tensor:
        """(parts, rows, columns) of what a sampler gives."""
        groups, rows, _ = reads.shape
        _, parts, columns, samples = self.index.shape
        index = self.index.reshape(groups, 1, -1).expand(-1, rows, -1).to(reads.device)
        taken = reads.gather(2, index).reshape(groups, rows, parts, columns, samples)
        return taken.permute(0, 2, 1, 4, 3).reshape(groups * parts, rows * samples, columns)


def _layout(graph: Graph, reading: Reading) -> _Layout | None:
    """None: its inputs are no channels, or it mixes none."""
    dim = 0 if reading.inputs_first else 1
    axis = next((axis for axis in reversed(graph.record.axes_of(reading.weight)) if axis.dim == dim), None)
    if axis is None or axis.size % reading.groups or axis.size == reading.groups:
        return None
    kernel = 1 if reading.window is None else int(np.prod(reading.window.kernel))
    slots = np.repeat(axis.slots.reshape(reading.groups, -1), kernel, axis=1)
    columns = slots.shape[1]
    if columns > MOST_COLUMNS:
        channel = graph.classes.channel[slots]
        order = np.argsort(channel, axis=1, kind="stable")
        counts = {count for own in channel for count in np.unique(own, return_counts=True)[1]}
        if len(counts) == 1 and (samples := counts.pop()) > 1:
            index = order.reshape(reading.groups, 1, -1, samples)
            slots = np.take_along_axis(slots, order[:, ::samples], 1)
            if slots.shape[1] <= MOST_TOGETHER:
                return _Layout(torch.from_numpy(index), slots)
    parts = -(-columns // MOST_TOGETHER)
    if parts > 1 and columns % parts:
        parts = next(count for count in range(parts, columns + 1) if columns % count == 0)
    index = np.broadcast_to(np.arange(columns), (reading.groups, columns)).reshape(reading.groups, parts, -1, 1)
    return _Layout(torch.from_numpy(index.copy()), slots.reshape(reading.groups * parts, -1))


class _Sums:
    """What one layer has read so far."""

    def __init__(self, reading: Reading, layout: _Layout) -> None:
        self._reading, self._layout = reading, layout
        self._rows = 0
        self._origin = self._mean = self._products = torch.zeros(0)

    def add(self, reads: Tensor) -> bool:
        """Take in what a sampler has read; False where that is nothing to compute with."""
        columns = self._layout.columns(reads)
        if not columns.shape[1] or not bool(columns.isfinite().all()):
            return False
        if not self._rows:
            # Products about a point near the mean: those about zero would lose small variances to rounding.
            self._origin = columns.mean(1, keepdim=True)
            self._mean = torch.zeros_like(self._origin)
            self._products = torch.zeros(len(columns), columns.shape[2], columns.shape[2], device=columns.device)
        columns = columns - self._origin
        self._products += columns.mT @ columns
        self._mean += columns.sum(1, keepdim=True)
        self._rows += columns.shape[1]
        return True

    @property
    def groups(self) -> int:
        """Of the layer's outputs."""
        return self._reading.groups

    def moments(self, tensor: Tensor, influence: Tensor | None, *, normed: bool, shifted: bool) -> Moments:
        """`influence` is that of the layer's outputs on the network's (`influence.influences`). `normed`: a norm lies
        behind the layer. `shifted`: it has a bias."""
        reading = self._reading
        weight = by_groups(tensor.detach(), reading.groups, reading.inputs_first).float()
        rows = self._layout.columns(weight)
        counted = rows if influence is None else self._counted(rows, influence.to(rows))
        read = rows.mT @ counted
        offset = self._mean / self._rows
        centred = self._products / self._rows - offset.mT @ offset
        mean = self._origin + offset
        about_zero = centred + mean.mT @ mean
        power = 1.0 if influence is not None else float(((centred if normed else about_zero).double() * read).sum())
        second = centred if normed or shifted else about_zero
        return Moments(
            reading.weight, self._layout.slots, second.cpu(), read.cpu(), max(power, 1e-30), influence is not None
        )

    def _counted(self, rows: Tensor, influence: Tensor) -> Tensor:
        """The weight's rows (parts, outputs * samples, columns), times the influence of the outputs."""
        parts, outputs = len(rows) // len(influence), influence.shape[1]
        influence = influence.repeat_interleave(parts, 0)
        flat = rows.reshape(len(rows), outputs, -1)
        return (influence @ flat if influence.dim() == 3 else influence[:, :, None] * flat).reshape(rows.shape)
