"""Which vectors of a pass are looked at: at a few positions of each input, those of inputs that are held out last."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.nested import tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.recovery.reading import Reader, Reading, Window
from tui_prune.tasks.inputs import Inputs

LEAST_POSITIONS, MOST_POSITIONS = 4, 32
"""Of each input, of a layer."""
MOST_ROWS = 2**13
"""Of a layer."""
LEAST_INPUTS = 8
"""That are taken, however large they are."""
MEMORY = 2**30
"""Bytes that a forward pass over the inputs may need."""
TENSORS = 3
"""Of the size of the largest one, that are live at a time."""


class Sampler:
    """Where to look in each call of a layer: at the same places in the original and in the cut network."""

    def __init__(self, inputs: Inputs, per_input: int, seconds: dict[tuple[str, int], Tensor]) -> None:
        self.inputs = inputs
        self._per_input = per_input
        self._seconds = seconds
        """Of a product, the second row that arrives when the first input runs alone."""
        self._by_input: dict[tuple[str, int], bool] = {}

    @classmethod
    def of(
        cls,
        model: nn.Module,
        record: TraceRecord,
        inputs: Inputs,
        run: Callable[[nn.Module, Inputs], Any],
    ) -> Sampler:
        """Run the first input alone, to see what a pass needs."""
        alone = inputs.pick([0]) if inputs.count else inputs
        seconds: dict[tuple[str, int], Tensor] = {}
        largest, given = max((t.nbytes for t in tensors_in((alone.args, dict(alone.kwargs)))), default=1), 1

        def gives(reading: Reading, out: Tensor) -> None:
            nonlocal given, largest
            given += out.shape[1]
            largest = max(largest, reading.x.nbytes, out.nbytes)
            if reading.window is None and len(reading.x) > 1:
                seconds[reading.weight, reading.call] = reading.x[1].clone()

        with Reader(model, record, gives=gives):
            run(model, alone)
        if not inputs.count:
            return cls(inputs, MOST_ROWS // 2, seconds)
        inputs = inputs.held_last(max(LEAST_INPUTS, MEMORY // (TENSORS * largest)))
        # The samples of all layers together need no more than the largest tensor of a pass.
        room = largest // (4 * given)
        return cls(inputs, max(LEAST_POSITIONS, min(MOST_POSITIONS, room, MOST_ROWS // inputs.count)), seconds)

    def over(self, inputs: Inputs) -> Sampler:
        """The same for other inputs of the kind."""
        return Sampler(inputs, self._per_input, self._seconds)

    @property
    def holds_out(self) -> bool:
        """Whether whole inputs are held out, and not single rows."""
        return 0 < self.inputs.fitted < self.inputs.count

    def read_by(self, reading: Reading) -> Tensor:
        """What a layer reads: (groups, rows, columns of a group), a column for each kernel position of each channel."""
        x = reading.x
        if reading.window is None:
            return x[self._rows(reading, x)].float()[None]
        index, inside = _reached(x.shape, reading.window, self._places(reading))
        channels, (taps, places) = x.shape[1] // reading.groups, inside.shape
        found = torch.empty(reading.groups, len(x), places, channels, taps, dtype=torch.float, device=x.device)
        for tap in range(taps):  # one after the other: all of them are as large as many activations
            reached = x[_at([sizes[tap] for sizes in index], x)]
            if not bool(inside[tap].all()):
                reached = reached * inside[tap].to(reached)
            # (N, channels, places) as (groups, N, places, channels of a group)
            found[..., tap] = reached.unflatten(1, (reading.groups, channels)).permute(1, 0, 3, 2)
        return self._mixed(found.reshape(reading.groups, len(x) * places, channels * taps), len(x))

    def given_by(self, reading: Reading, out: Tensor) -> Tensor:
        """What a layer gives, at the same rows: (rows, outputs)."""
        if reading.window is None:
            return out[self._rows(reading, reading.x)].float()
        found = out[_at(self._places(reading), out)]
        return self._mixed(found.movedim(1, -1).reshape(1, -1, out.shape[1]), len(out))[0].float()

    def normed_rows(self, x: Tensor) -> Tensor:
        """A few positions of the input (N, channels, ...) of a norm, of the inputs that are held out."""
        start = self.fitted_inputs(x)
        held = x[start:] if start < len(x) else x
        sizes = tuple(x.shape[2:])
        if not sizes:
            return held.float()
        where = torch.unravel_index(_some(prod(sizes), self._per_input), sizes)
        found = held[_at(where, x)]
        return found.movedim(1, -1).reshape(-1, x.shape[1]).float()

    def fitted_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the channels of a norm's input (N, channels, ...), of the inputs that are fitted."""
        fitted = x[: self.fitted_inputs(x)].float()
        variance, mean = torch.var_mean(fitted, [dim for dim in range(x.dim()) if dim != 1], correction=0)
        return mean, variance

    def fitted_rows(self, rows: int) -> int:
        """How many of some rows are to be fitted; the others are held out."""
        if self.holds_out and rows % self.inputs.count == 0:
            return rows // self.inputs.count * self.inputs.fitted
        return rows - rows // 4

    def fitted_inputs(self, x: Tensor) -> int:
        """How many of a tensor's first dimension belong to inputs that are fitted."""
        if self.holds_out and len(x) % self.inputs.count == 0:
            return len(x) // self.inputs.count * self.inputs.fitted
        return len(x)

    def _rows(self, reading: Reading, x: Tensor) -> Tensor:
        """The rows of a product that are looked at."""
        count = self.inputs.count
        if not count or len(x) % count:
            return _some(len(x), self._per_input * max(count, 1)).to(x.device)
        key = reading.weight, reading.call
        if key not in self._by_input:
            self._by_input[key] = _is_by_input(x, self._seconds.get(key), count)
        per = len(x) // count
        chosen, inputs = _some(per, self._per_input), torch.arange(count)[:, None]
        index = inputs * per + chosen if self._by_input[key] else chosen * count + inputs
        return index.reshape(-1).to(x.device)

    def _places(self, reading: Reading) -> tuple[Tensor, ...]:
        """The outputs of a convolution that are looked at: an index for each dimension of space."""
        assert reading.window is not None
        sizes = _output_sizes(reading.x.shape, reading.window)
        count = len(reading.x)
        per = count // self.inputs.count if self.inputs.count and count % self.inputs.count == 0 else 1
        return torch.unravel_index(_some(prod(sizes), max(1, self._per_input // per)), sizes)

    def _mixed(self, rows: Tensor, count: int) -> Tensor:
        """Rows (groups, rows, columns), mixed where whole inputs can't be held out."""
        if self.holds_out and count % self.inputs.count == 0:
            return rows
        return rows[:, _some(rows.shape[1], rows.shape[1]).to(rows.device)]


def _at(index: Iterable[Tensor], x: Tensor) -> tuple[Any, ...]:
    """The index of some positions in space, in all inputs and channels."""
    return (slice(None), slice(None), *(one.to(x.device) for one in index))


def _some(count: int, most: int) -> Tensor:
    """At most so many of the numbers below `count`, always the same."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(count))[:most]


def _is_by_input(x: Tensor, second: Tensor | None, count: int) -> bool:
    """Whether all rows of an input lie together, and not the first rows of all inputs."""
    if second is None or second.shape != x[1].shape:
        return True
    return float((x[1] - second).abs().sum()) <= float((x[count] - second).abs().sum())


def _output_sizes(shape: torch.Size, window: Window) -> tuple[int, ...]:
    """The sizes that can be looked at; a transposed convolution may have a few more at its far end."""
    found = []
    for size, kernel, stride, padding, dilation in zip(
        shape[2:], window.kernel, window.stride, window.padding, window.dilation, strict=True
    ):
        reach = dilation * (kernel - 1) + 1
        if window.transposed:
            found.append((size - 1) * stride - 2 * padding + reach)
        else:
            found.append((size + 2 * padding - reach) // stride + 1)
    return tuple(found)


def _reached(shape: torch.Size, window: Window, places: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
    """The inputs that outputs at some places read: for each dimension of space an index (kernel positions, places), and
    which of them lie inside."""
    taps = torch.unravel_index(torch.arange(prod(window.kernel)), window.kernel)
    index, inside = [], torch.ones(prod(window.kernel), len(places[0]), dtype=torch.bool)
    for dim, (place, tap) in enumerate(zip(places, taps, strict=True)):
        stride, padding, dilation = window.stride[dim], window.padding[dim], window.dilation[dim]
        if window.transposed:
            stretched = place[None] + padding - dilation * tap[:, None]
            at = torch.div(stretched, stride, rounding_mode="floor")
            inside &= stretched % stride == 0
        else:
            at = place[None] * stride - padding + dilation * tap[:, None]
        size = shape[dim + 2]
        inside &= (at >= 0) & (at < size)
        index.append(at.clamp(0, size - 1))
    return index, inside
