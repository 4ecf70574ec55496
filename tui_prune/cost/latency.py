"""Latency of a network for any choice of channels, from what its layers take on this device at some widths.

Each call that takes multiply-accumulates is measured by itself as it is, with its outputs cut to some shares, and with
its inputs cut. Between those it is interpolated, and for both together the two shares of the time are multiplied. What
the whole network takes beyond its calls (norms, additions, activation functions) is taken to go with the bytes that
pass through memory, until a cut network that was measured shows what really becomes of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
import torch

from tui_prune.cost.cost import CostModel, SizedCall, Work
from tui_prune.cost.stopwatch import Stopwatch
from tui_prune.cost.whole import Share, WholeNetwork
from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.record import CostedCall, Extent
from tui_prune.progress import Progress, silent

SHARES = (0.03, 0.125, 0.25, 0.5, 0.75)
"""The shares of a call's channels at which it is measured, beside all of them."""

STEP = 8
"""Beyond it only multiples are measured: a width between two steps of a device would stand for its neighbours."""

SWEPT = 3
"""Of so many kinds of calls one is swept width by width to find the multiple that suits the device."""

SWEPT_MACS = (1e6, 2e8)
"""Calls of this size are swept first: they take long enough to be told from the clock's noise, and not for ever."""


class Measuring(Protocol):
    """Where the seconds of calls come from."""

    def seconds(self, calls: Sequence[SizedCall]) -> list[float | None]:
        """For each call what it takes; None where that can't be told."""
        ...


@dataclass(frozen=True, eq=False)
class Curve:
    """A call's time against a share of its width, both as shares of the uncut call's; never falls with the width."""

    shares: np.ndarray
    seconds: np.ndarray

    def at(self, share: float) -> float:
        return float(np.interp(share, self.shares, self.seconds))


LINEAR = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
CONSTANT = Curve(np.array([0.0, 1.0]), np.array([1.0, 1.0]))


@dataclass(frozen=True, eq=False)
class _Timed:
    """A call as it is, and how its time goes with its outputs and with its inputs."""

    layer: str
    seconds: float
    outputs: Curve
    inputs: Curve


class LatencyModel:
    """What a graph's network takes on the device that it is on. Measuring runs single calls, never the model."""

    def __init__(self, graph: Graph, stopwatch: Measuring | None = None, whole: WholeNetwork | None = None) -> None:
        """`whole`: what is known of the network as a whole; None: its calls are taken for all."""
        self._graph = graph
        self._costs = CostModel(graph)
        self._watch = Stopwatch(graph.model) if stopwatch is None else stopwatch
        self._whole = whole
        self._channel_group = np.full(graph.classes.channels, -1)
        for group in graph.groups:
            self._channel_group[group.channels] = group.index
        self._all = np.ones(graph.classes.channels, bool)
        self._uncut = self._costs.work(self._all)
        self._calls: tuple[_Timed, ...] | None = None
        self._multiple: int | None = None

    # What it says once it has been measured.

    @property
    def multiple(self) -> int:
        """Widths that are multiples of this number suit the device. Needs `find_multiple`."""
        if self._multiple is None:
            raise ValueError("the multiple hasn't been measured")
        return self._multiple

    def seconds(self, keep: np.ndarray) -> float:
        """What the network takes when these channels (bool, one per channel of the graph) are kept. Needs
        `measure`."""
        known = self._by_calls(keep)
        if self._whole is None:
            return known
        return self._whole.share(known / self._all_calls) * self._all_calls

    def learn(self, keep: np.ndarray, measured: Share) -> bool:
        """Correct predictions by what a network with these channels was measured to take of the uncut one's time; gives
        whether that had been predicted."""
        return self._whole is None or self._whole.learn(self._by_calls(keep) / self._all_calls, measured)

    @property
    def known_share(self) -> float:
        """The share of the uncut network's multiply-accumulates whose calls could be measured."""
        known = [call.seconds > 0 for call in self._calls or ()]
        return float(self._uncut.macs[known].sum() / (self._uncut.macs.sum() or 1.0))

    def by_layer(self, keep: np.ndarray) -> Mapping[str, float]:
        """The same for each layer that has calls."""
        found: dict[str, float] = {}
        for call, seconds in zip(self._calls or (), self._predicted(self._costs.work(keep)), strict=True):
            found[call.layer] = found.get(call.layer, 0.0) + seconds
        return found

    def _by_calls(self, keep: np.ndarray) -> float:
        """What the network takes as far as its calls tell."""
        work = self._costs.work(keep)
        return sum(self._predicted(work)) + self._rest * work.traffic / (self._uncut.traffic or 1.0)

    @cached_property
    def _all_calls(self) -> float:
        return self._by_calls(self._all) or 1.0

    def _predicted(self, work: Work) -> list[float]:
        if self._calls is None:
            raise ValueError("the latency hasn't been measured")
        outputs = work.outputs / np.maximum(self._uncut.outputs, 1)
        inputs = work.macs / np.maximum(self._uncut.macs, 1) / np.maximum(outputs, 1e-12)
        if self._multiple is not None and self._multiple > 1:
            outputs, inputs = (self._stepped(*side) for side in zip((outputs, inputs), self._widths, strict=True))
        return [
            call.seconds * call.outputs.at(out) * call.inputs.at(within)
            for call, out, within in zip(self._calls, outputs, inputs, strict=True)
        ]

    def _stepped(self, shares: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """Shares of some widths, up to the next step of the device: a width between two steps takes as long."""
        steps = np.ceil(np.round(shares * widths, 3) / self.multiple) * self.multiple
        return np.where(shares < 1, np.minimum(steps / widths, 1.0), shares)

    @cached_property
    def _widths(self) -> tuple[np.ndarray, np.ndarray]:
        """The channels that each call puts out and takes in, uncut."""
        calls = [self._costs.sized_call(number, self._all) for number in range(len(self._graph.record.costs))]
        shapes = [call.out for call in calls], [_taken(call) for call in calls]
        out, within = (np.array([max(1, shape[1 if len(shape) > 3 else -1]) for shape in side]) for side in shapes)
        return out, within

    @cached_property
    def _rest(self) -> float:
        """What the whole network takes beyond its calls."""
        latency = 0.0 if self._whole is None else self._whole.latency
        return max(latency - sum(self._predicted(self._uncut)), 0.0)

    # Measuring.

    def ready_for(self, seconds: bool, multiple: bool) -> bool:
        """Whether what is wanted of it has been measured."""
        return not (seconds and self._calls is None) and not (multiple and self._multiple is None)

    def measure(self, progress: Progress = silent) -> None:
        """Measure every call, unless that is done. What was measured on such a machine before isn't measured again."""
        if self._calls is not None:
            return
        calls = []
        costed = self._graph.record.costs
        for number, call in enumerate(costed):
            progress("measure layers", number / len(costed))
            calls.append(self._time(number, call))
        self._calls = tuple(calls)
        progress("measure layers", 1.0)

    def find_multiple(self, progress: Progress = silent) -> None:
        """Sweep the widths of some layers, one by one, for steps of the device; unless that is done."""
        if self._multiple is not None:
            return
        sweeps = self._sweeps()
        curves = []
        for number, sweep in enumerate(sweeps):
            progress("measure widths", number / len(sweeps))
            seconds = self._watch.seconds([self._costs.sized_call(sweep.call, self._only(sweep.group, n))
                                           for n in sweep.widths])  # fmt: skip
            if None not in seconds:
                curves.append((sweep, [float(value) for value in seconds if value is not None]))
        self._multiple = best_multiple(curves)
        progress("measure widths", 1.0)

    def _time(self, number: int, call: CostedCall) -> _Timed:
        """Measure a call as it is, with its outputs cut, and with its inputs cut; all in one go."""
        whole = self._costs.sized_call(number, self._all)
        out = self._groups_of(call.out)
        within = self._groups_of(_extents(call.args)) - out
        by_output = self._cut_calls(number, out, lambda cut: prod(cut.out) / prod(whole.out))
        by_input = self._cut_calls(number, within, lambda cut: cut.macs / whole.macs * prod(whole.out) / prod(cut.out))
        calls = [whole, *by_output.values(), *by_input.values()]
        first, *rest = self._watch.seconds(calls)
        if first is None:
            return _Timed(call.layer or "", 0.0, CONSTANT, CONSTANT)
        times = iter(rest)
        outputs, inputs = ([(share, next(times)) for share in side] for side in (by_output, by_input))
        return _Timed(call.layer or "", first, _curve(outputs, first, bool(out)), _curve(inputs, first, bool(within)))

    def _cut_calls(
        self, number: int, groups: frozenset[int], share_of: Callable[[SizedCall], float]
    ) -> dict[float, SizedCall]:
        """A call with all channels of these groups cut alike, by the share of it that is left."""
        found: dict[float, SizedCall] = {}
        for share in SHARES if groups else ():
            keep = self._all.copy()
            for group in groups:
                keep[self._graph.groups[group].channels] = _first(self._graph.groups[group], share)
            call = self._costs.sized_call(number, keep)
            left = share_of(call) if call.macs else 0.0
            if 0 < left < 1:
                found.setdefault(left, call)
        return found

    def _groups_of(self, extents: Sequence[Extent]) -> frozenset[int]:
        """The groups, of those that may be cut, whose channels lie along some dimensions."""
        found: set[int] = set()
        for extent in extents:
            if extent.slots is not None:
                slots = extent.slots.numpy().reshape(-1)
                channels = self._graph.classes.channel[slots[slots >= 0]]
                found |= set(np.unique(self._channel_group[channels]).tolist())
        return frozenset(n for n in found if n >= 0 and not self._graph.groups[n].locked_inside.all())

    def _sweeps(self) -> "list[Sweep]":
        """One call of each of the kinds that do most of the work, over the widths of the one group of plain channels
        that it puts out, and of the one that it takes in."""
        macs = self._uncut.macs
        kinds = [self._kind(number) for number in range(len(macs))]
        work = {kind: sum(m for k, m in zip(kinds, macs, strict=True) if k == kind) for kind in kinds}
        suits = (macs >= SWEPT_MACS[0]) & (macs <= SWEPT_MACS[1])
        found: dict[str, list[Sweep]] = {}
        for number in np.lexsort((np.where(suits, -macs, np.abs(macs - SWEPT_MACS[1])), ~suits)).tolist():
            call, kind = self._graph.record.costs[number], kinds[number]
            out = self._groups_of(call.out)
            sides = [out, self._groups_of(_extents(call.args)) - out]
            groups = [self._graph.groups[next(iter(side))] for side in sides if len(side) == 1]
            plain = [g for g in groups if not g.blocked and not g.flows and g.width == len(g.channels)]
            sweeps = [s for g in plain if (s := Sweep.over(number, g.index, g.width, work[kind])) is not None]
            if len(sweeps) > len(found.get(kind, ())):
                found[kind] = sweeps
        most = sorted(found, key=lambda kind: -work[kind])[:SWEPT]
        return [sweep for kind in most for sweep in found[kind]]

    def _kind(self, number: int) -> str:
        """The operator, and the size of its kernel if it has one."""
        sized = self._costs.sized_call(number, self._all)
        shapes = [value for value in sized.args if isinstance(value, torch.Size)]
        return f"{sized.func} {list(shapes[1][2:]) if len(shapes) > 1 else ''}"

    def _only(self, group: int, width: int) -> np.ndarray:
        """All channels but those of one group beyond the first `width`."""
        keep = self._all.copy()
        keep[self._graph.groups[group].channels[width:]] = False
        return keep


def _curve(known: Sequence[tuple[float, float | None]], whole: float, cut: bool) -> Curve:
    """Time against share from what was measured; where nothing could be, in proportion, or constant if nothing of the
    call is cut."""
    times = sorted((share, seconds) for share, seconds in known if seconds is not None)
    if not times:
        return LINEAR if cut else CONSTANT
    falling = np.minimum.accumulate([1.0, *(seconds / whole for _, seconds in reversed(times))])
    return Curve(np.array([*(share for share, _ in times), 1.0]), falling[::-1])


def _first(group: Group, share: float) -> np.ndarray:
    """A mask that keeps about this share of a group's channels, equally many in each cell."""
    kept = np.ones(len(group.channels), bool)
    if group.flows:
        flow = min(group.flows, key=lambda flow: abs(flow.width - share * group.width))
        (cells,) = group.families
        for cell, count in zip(cells, flow.counts, strict=True):
            kept[cell[count:]] = False
        return kept
    for cells in group.families:
        for cell in cells:
            count = max(1, round(len(cell) * share))
            kept[cell[count - count % STEP if count > STEP else count :]] = False
    return kept


def _taken(call: SizedCall) -> torch.Size:
    """The shape of what a call takes in."""
    given = dict(zip([argument.name for argument in call.func._schema.arguments], call.args, strict=False))
    shapes = [given[name] for name in ("input", "mat1", "self") if isinstance(given.get(name), torch.Size)]
    return shapes[0] if shapes else call.out


def _extents(value: object) -> list[Extent]:
    """All dimensions of the tensors among a call's arguments."""
    if isinstance(value, Extent):
        return [value]
    if isinstance(value, (list, tuple)):
        return [extent for part in value for extent in _extents(part)]
    return []


LARGEST = 32
"""Of the multiples that are tried: all powers of two up to this one."""

RANGES = ((2 * LARGEST, 3 * LARGEST), (LARGEST, 2 * LARGEST), (LARGEST // 2, LARGEST))
"""Widths that are swept: the first range that a group is wide enough for."""

CLEAR = 0.02
"""Widths between multiples must take so much more than the line says, as a share, for a multiple to count; beyond twice
what chance makes of it."""

NEAR = 0.8
"""The smallest multiple counts that explains at least this share of what the best one does."""


@dataclass(frozen=True)
class Sweep:
    """The widths of one group to run a call at."""

    call: int
    group: int
    widths: tuple[int, ...]
    """All from the first to the last."""
    weight: float = 1.0
    """How much it counts beside others."""

    @classmethod
    def over(cls, call: int, group: int, width: int, weight: float) -> "Sweep | None":
        """From one multiple of a power of two to the next; None: the group is too narrow to tell. Far below the width
        of a wide group, where a step is a larger share of the whole."""
        for first, last in RANGES:
            if width >= last:
                return cls(call, group, tuple(range(first, last + 1)), weight)
        return None


def best_multiple(curves: Sequence[tuple[Sweep, Sequence[float]]]) -> int:
    """The multiple (1: none) that suits the device best, from the seconds at each width of some sweeps."""
    excess, sure = {}, {}
    for multiple in (2**power for power in range(1, LARGEST.bit_length())):
        known = [(_excess(sweep.widths, seconds, multiple), sweep.weight) for sweep, seconds in curves]
        told = [(found, weight) for found, weight in known if found is not None]
        if told:
            total = sum(weight for _, weight in told)
            excess[multiple] = sum(mean * weight for (mean, _), weight in told) / total
            error = sum((deviation * weight) ** 2 for (_, deviation), weight in told) ** 0.5 / total
            sure[multiple] = excess[multiple] - 2 * error
    best = max(sure, key=lambda multiple: sure[multiple], default=1)
    if sure.get(best, 0.0) < CLEAR:
        return 1
    return next(multiple for multiple, found in excess.items() if found >= NEAR * excess[best])


def _excess(widths: Sequence[int], seconds: Sequence[float], multiple: int) -> tuple[float, float] | None:
    """How far times between multiples lie above the line through those at multiples, as a share: the mean and its
    standard error; None: too few."""
    width, time = np.array(widths), np.array(seconds)
    on = width % multiple == 0
    if on.sum() < 2 or on.all():
        return None
    between = ~on & (width > width[on][0]) & (width < width[on][-1])
    line = np.interp(width[between], width[on], time[on])
    found = time[between] / line - 1
    return (float(found.mean()), float(found.std() / len(found) ** 0.5)) if len(found) else None
