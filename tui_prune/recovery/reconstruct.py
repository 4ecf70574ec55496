"""Accuracy after a cut, without labels or training: each layer is refitted to what it gave before.

The original runs once and leaves a sample of what its layers give. Then the cut network runs on the same inputs; each
layer is refitted when it is reached, before the pass goes on, so that it corrects what the layers before it got wrong.
Batch norms take their statistics in the same pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from tui_prune.graph.nested import tensors_in
from tui_prune.graph.record import TraceRecord, owner_of
from tui_prune.graph.trace import untouched
from tui_prune.loading.kept import axis_name
from tui_prune.progress import Progress, silent
from tui_prune.recovery.least_squares import Samples, refit
from tui_prune.recovery.reading import Norm, Reader, Reading
from tui_prune.recovery.sampling import Sampler
from tui_prune.result import LayerError, Reconstructed
from tui_prune.surgery.copying import named_tensors
from tui_prune.tasks.inputs import Inputs

Run = Callable[[nn.Module, Inputs], Any]
"""Runs a network on inputs, which it may write over."""

CHANCE = 0.05
"""Of a network being taken for better that is no better."""
LEAST_GAIN = 0.02
"""Of the error: less isn't worth other weights, and may be none for other inputs."""
MOST_INPUTS = 512
"""More bring little; calibration data may go on for ever."""


class Reconstruction(NamedTuple):
    """Other values for parameters and buffers of a cut network, and what they bring."""

    values: Mapping[str, Tensor]
    found: Reconstructed
    better: bool
    """Whether the network is nearer to the original with these values, on the inputs that were held out, by a gain
    that is worth it and more than chance would have it."""


def reconstruct(
    original: nn.Module,
    cut: nn.Module,
    record: TraceRecord,
    kept: Mapping[str, Tensor],
    inputs: Inputs,
    run: Run,
    progress: Progress = silent,
) -> Reconstruction:
    """Refit a cut network, which is used up: `cut` is a copy that shares no tensor with any other.

    `record` is the original's trace; `kept` has the positions that stay on its axes, in the order of the cut tensors.
    """
    written = record.written
    with untouched(original, written) as twin:
        sampler = Sampler.of(twin, record, inputs, run)
    inputs = sampler.inputs
    rows = slice(inputs.fitted, None) if sampler.holds_out else slice(None)
    progress("reconstruct", 0.02)
    with untouched(original, written) as twin:
        teacher = _Teacher(twin, record, kept, sampler)
        with teacher.reader:
            wanted = _outputs(run(twin, inputs), inputs, rows)
    held = inputs.pick(range(inputs.fitted, inputs.count)) if sampler.holds_out else inputs
    with untouched(cut, written) as twin:
        given = _outputs(run(twin, held), held, slice(None))
    with untouched(cut, written) as twin:
        student = _Student(twin, teacher, progress)
        with student.reader:
            reached = _outputs(run(twin, inputs), inputs, rows)
    before, after = distance(wanted, given), distance(wanted, reached)
    if before is None or after is None:  # such as boxes, of which there may be others
        before, after = (sum(getattr(layer, side) for layer in student.layers) for side in ("cut", "left"))
    better = bool(student.values) and after < (1 - LEAST_GAIN) * before
    if better and sampler.holds_out:
        gains = _gains(wanted, given, reached, held.count)
        # Student's t: with few inputs held out, a mean gain may be one input's luck.
        least = float(stdtrit(held.count - 1, 1 - CHANCE)) / math.sqrt(held.count)
        better = gains is None or float(gains.mean()) > least * float(gains.std())
    return Reconstruction(student.values, Reconstructed(inputs.count, before, after, student.layers), better)


def distance(wanted: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> float | None:
    """Root mean square difference of outputs over their root mean square; None where they can't be compared."""
    if [t.shape for t in wanted] != [t.shape for t in given]:
        return None
    shares = []
    for one, other in zip(wanted, given, strict=True):
        size = float(one.double().square().sum())
        if size > 0:
            shares.append(float((one.double() - other.double()).square().sum()) / size)
    if not shares:  # a head that starts at zero
        return 0.0 if all(not bool(other.any()) for other in given) else math.inf
    error = math.sqrt(sum(shares) / len(shares))
    return math.inf if math.isnan(error) else error


def _gains(
    wanted: tuple[Tensor, ...], given: tuple[Tensor, ...], reached: tuple[Tensor, ...], count: int
) -> Tensor | None:
    """By how much the squared error of each input's outputs is smaller now; None where these can't be told apart."""
    shapes = [[tensor.shape for tensor in tensors] for tensors in (wanted, given, reached)]
    if shapes[0] != shapes[1] or shapes[0] != shapes[2] or any(shape[:1] != (count,) for shape in shapes[0]):
        return None
    gains = torch.zeros(count, dtype=torch.float64, device=wanted[0].device)
    for target, before, after in zip(wanted, given, reached, strict=True):
        target, before, after = (tensor.double().flatten(1) for tensor in (target, before, after))
        size = target.square().sum().clamp(min=1e-300)
        gains += ((before - target).square().sum(1) - (after - target).square().sum(1)) / size
    return gains


def _outputs(found: Any, inputs: Inputs, rows: slice) -> tuple[Tensor, ...]:
    """Tensors that a network gives: of some of the inputs, where they lie along the first dimension."""
    tensors = (tensor.detach() for tensor in tensors_in(found) if tensor.is_floating_point())
    return tuple(t[rows] if t.dim() and len(t) == inputs.count else t for t in tensors)


class _Teacher:
    """The original: what its layers and its norms give, of the channels that stay."""

    def __init__(self, model: nn.Module, record: TraceRecord, kept: Mapping[str, Tensor], sampler: Sampler) -> None:
        self.record, self.kept, self.sampler = record, kept, sampler
        self.tensors = named_tensors(model, record)
        self.given: dict[tuple[str, int], Tensor] = {}
        """By weight and call: (rows, outputs)."""
        self.normed: dict[tuple[str, int], Tensor] = {}
        """By running mean and call: (rows, channels)."""
        self.arrived: dict[str, list[tuple[Tensor, Tensor]]] = {}
        """By running mean, the mean and the variance of what has arrived at each call."""
        self.reader = Reader(model, record, gives=self._gives, norms=self._norms)

    def _gives(self, reading: Reading, out: Tensor) -> None:
        rows = self.sampler.given_by(reading, out)
        if reading.bias is not None:
            rows = rows - self.tensors[reading.bias].float()
        kept = self._kept_outputs(reading)
        self.given[reading.weight, reading.call] = rows if kept is None else rows[:, kept.to(rows.device)]

    def _kept_outputs(self, reading: Reading) -> Tensor | None:
        """The outputs of a layer that stay, in the order of the cut network; None: all."""
        name, shape = reading.weight, self.tensors[reading.weight].shape
        first, second = (self.kept.get(axis_name(name, dim)) for dim in (0, 1))
        if not reading.inputs_first:
            return None if first is None else first.long()
        if second is None or second.dim() == 1:
            return None if second is None or reading.groups > 1 else second.long()
        # Of a transposed grouped weight, (inputs, outputs of a group): the inputs say which groups stay.
        inputs = torch.arange(shape[0]) if first is None else first.long()
        group = inputs.reshape(len(second), -1)[:, :1] // (shape[0] // reading.groups)
        return (group * shape[1] + second.long()).reshape(-1)

    def _norms(self, norm: Norm) -> None:
        rows = self.sampler.normed_rows(norm.x)
        rows = _normalised(rows, self.tensors[norm.mean], self.tensors[norm.variance], norm)
        arrived = self.sampler.fitted_moments(norm.x)
        kept = self.kept.get(axis_name(norm.mean, 0))
        if kept is not None:
            kept = kept.long().to(rows.device)
            rows, arrived = rows[:, kept], (arrived[0][kept], arrived[1][kept])
        self.normed[norm.mean, norm.call] = rows
        self.arrived.setdefault(norm.mean, []).append(arrived)


class _Student:
    """The cut network: refitted layer by layer while it runs."""

    def __init__(self, model: nn.Module, teacher: _Teacher, progress: Progress) -> None:
        self.values: dict[str, Tensor] = {}
        """What was changed."""
        self._teacher, self._sampler = teacher, teacher.sampler
        self._tensors = named_tensors(model, teacher.record)
        self.reader = Reader(model, teacher.record, reads=self._reads, norms=self._norms)
        self._progress = progress
        self._errors: dict[str, LayerError] = {}
        self._before: dict[str, Tensor] = {}
        """Of tensors that are to be changed in each of several calls, what they were."""
        self._samples: dict[str, list[Samples]] = {}
        self._arrived: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._work = max(1, len(teacher.given))

    @property
    def layers(self) -> tuple[LayerError, ...]:
        return tuple(self._errors.values())

    def _reads(self, reading: Reading) -> None:
        wanted = self._teacher.given.pop((reading.weight, reading.call), None)
        if wanted is None:
            return
        reads = self._sampler.read_by(reading)
        groups, rows, _ = reads.shape
        if len(wanted) == rows and wanted.shape[1] % groups == 0:
            by_group = wanted.reshape(rows, groups, -1).transpose(0, 1)
            samples = Samples(reads, by_group, self._sampler.fitted_rows(rows))
            if bool(reads.isfinite().all()) and bool(wanted.isfinite().all()):
                self._refit(reading, self._of_all_calls(reading, samples))
        self._progress("reconstruct", 1 - len(self._teacher.given) / self._work)

    def _of_all_calls(self, reading: Reading, samples: Samples) -> Samples:
        """Of this call, and of those before it where a layer runs more than once."""
        if self._teacher.reader.calls[reading.weight] == 1:
            return samples
        seen = self._samples.setdefault(reading.weight, [])
        seen.append(samples)
        return _joined(seen)

    def _refit(self, reading: Reading, samples: Samples) -> None:
        name, tensor = reading.weight, self._tensors[reading.weight]
        weight = by_groups(self._original(name), reading.groups, reading.inputs_first)
        if weight.shape != (len(samples.reads), samples.wanted.shape[2], samples.reads.shape[2]):
            return
        bias, normed = self._teacher.reader.bias(name), self._teacher.reader.is_normed(name)
        made = refit(weight, samples, shifts=bias is not None, centred=normed)
        layer, repeated = owner_of(name), self._teacher.reader.calls[name] > 1
        self._errors[layer] = LayerError(layer, made.plain, made.left)
        self._write(name, self._original(name) + from_groups(made.change, tensor, reading.inputs_first), repeated)
        if bias is not None and not normed:
            self._write(bias, self._original(bias) + made.shift.reshape(-1), repeated)

    def _norms(self, norm: Norm) -> None:
        """Move the statistics as the inputs have moved, or only the mean, where that brings the outputs nearer to what
        they were."""
        wanted = self._teacher.normed.pop((norm.mean, norm.call), None)
        if wanted is None:
            return
        old = self._original(norm.mean), self._original(norm.variance)
        self._arrived.setdefault(norm.mean, []).append(self._sampler.fitted_moments(norm.x))
        rows = self._sampler.normed_rows(norm.x)
        if rows.shape != wanted.shape:
            return
        # Running statistics needn't be those of these inputs, in the original either: only the difference counts.
        before = _of_calls(self._teacher.arrived[norm.mean][: norm.call + 1])
        now = _of_calls(self._arrived[norm.mean])
        mean = old[0] + now[0] - before[0]
        variance = old[1] * torch.where(before[1] > 0, now[1] / before[1], 1.0)
        choices = (old, (mean, variance), (mean, old[1]))
        errors = [(_normalised(rows, *choice, norm) - wanted).square().sum() for choice in choices]
        best = int(torch.stack(errors).nan_to_num(torch.inf).argmin())
        if best or norm.mean in self.values:
            for name, values in zip((norm.mean, norm.variance), choices[best], strict=True):
                self._write(name, values, self._teacher.reader.calls[norm.mean] > 1)

    def _original(self, name: str) -> Tensor:
        """What a tensor was before it was changed."""
        return self._before.get(name, self._tensors[name])

    def _write(self, name: str, values: Tensor, repeated: bool) -> None:
        """Change a tensor; `repeated`: of a layer that runs more than once."""
        tensor = self._tensors[name]
        values = values.to(tensor.dtype)
        if not bool(values.isfinite().all()) or torch.equal(values, tensor):
            return
        if repeated:
            self._before.setdefault(name, tensor.clone())
        tensor.copy_(values)
        self.values[name] = tensor


def by_groups(weight: Tensor, groups: int, inputs_first: bool) -> Tensor:
    """A weight as (groups, outputs of a group, columns of a group), a column for each kernel position of a channel."""
    parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return (parts.transpose(1, 2) if inputs_first else parts).flatten(2)


def from_groups(parts: Tensor, like: Tensor, inputs_first: bool) -> Tensor:
    """The opposite of `by_groups`, in the shape of a weight."""
    if not inputs_first:
        return parts.reshape(like.shape)
    return parts.unflatten(2, (like.shape[0] // len(parts), -1)).transpose(1, 2).reshape(like.shape)


def _normalised(rows: Tensor, mean: Tensor, variance: Tensor, norm: Norm) -> Tensor:
    found = (rows - mean.float()) * (variance.float() + norm.eps).rsqrt()
    found = found if norm.scale is None else found * norm.scale.float()
    return found if norm.shift is None else found + norm.shift.float()


def _of_calls(moments: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all calls together."""
    mean = torch.stack([one for one, _ in moments]).mean(0)
    return mean, torch.stack([variance + (one - mean).square() for one, variance in moments]).mean(0)


def _joined(seen: list[Samples]) -> Samples:
    """Of several calls, those held out at the end."""
    parts = []
    for side in ("reads", "wanted"):
        fitted = [getattr(one, side)[:, : one.fitted] for one in seen]
        held = [getattr(one, side)[:, one.fitted :] for one in seen]
        parts.append(torch.cat([*fitted, *held], 1))
    return Samples(parts[0], parts[1], sum(one.fitted for one in seen))
