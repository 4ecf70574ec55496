"""Whether two forward passes carry the same channels: that of a cut network beside that of the original.

The replay proves which channel of the original each slot of the cut network is. Here both traces are compared call by
call: each tensor must hold what stays of the original's tensor at that place, taken apart in the same rows (heads,
groups, windows), with all other sizes as before. Code that infers a number of heads from a width (`view(..., -1,
head_dim)`) runs without an error at another width; its rows tell.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from math import isclose, prod
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, compact
from tui_prune.graph.record import Made, TracedCall, TraceRecord

FIXED = -1
"""Stands for a position that can't go away, and for the only channel of its axis, which carries no label."""
_GONE = np.iinfo(np.int64).max
_COPIES = frozenset({"aten::clone", "aten::contiguous", "aten::alias", "aten::detach"})
_RESHAPES = frozenset({"aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias"})
_SCALES = frozenset({"aten::mul", "aten::mul_", "aten::div", "aten::div_"})


class Slots(NamedTuple):
    """What the slots of a trace stand for."""

    channel: np.ndarray
    """For each slot, the channel of the original (or `FIXED`)."""
    stays: np.ndarray
    """For each slot, whether it stays; in the cut network all do."""
    loose: np.ndarray
    """For each slot, whether nothing is known of it (a grouped weight's own columns)."""


class Difference(NamedTuple):
    """Where the passes part."""

    step: int
    """Number of the call in the cut network's pass."""
    slots: np.ndarray
    """Of the original, involved."""


class Correspondence:
    """The comparison of two passes."""

    def __init__(self, original: TraceRecord, cut: TraceRecord, before: Slots, after: Slots, dealt: np.ndarray) -> None:
        """`dealt`: for each channel of the original, whether its group has no even blocks (`Flow`)."""
        self._original, self._cut = original, cut
        self._before, self._after = before, after
        self._dealt = dealt
        self._strict = not (original.reads_values or cut.reads_values)
        self._known: dict[tuple[Any, ...], bool] = {}

    def difference(self) -> Difference | None:
        """The first call at which the cut network doesn't do what the original does with the channels that stay."""
        ours, theirs = self._original.calls[: self._original.eval_calls], self._cut.calls[: self._cut.eval_calls]
        pairs = _in_step(ours, theirs)
        found = self._unlike_any(ours, theirs) if pairs is None else self._first_unlike(pairs, ours, theirs)
        return found or self._other_blocks(ours, theirs, both_ways=pairs is not None)

    def _first_unlike(
        self, pairs: Iterable[tuple[int, int]], ours: Sequence[TracedCall], theirs: Sequence[TracedCall]
    ) -> Difference | None:
        for i, j in pairs:
            one, other = ours[i], theirs[j]
            if not self._is_same_call(one, other):
                return Difference(j, self._slots_of(one))
        return None

    def _is_same_call(self, one: TracedCall, other: TracedCall) -> bool:
        if self._strict and one.numbers != other.numbers and not _alike(one, other):
            return False
        if not (one.labelled or other.labelled):
            return True
        if len(one.made) != len(other.made):
            return not self._strict
        return all(self._corresponds(a, b, n == 0) for n, (a, b) in enumerate(zip(one.made, other.made, strict=True)))

    def _unlike_any(self, ours: Sequence[TracedCall], theirs: Sequence[TracedCall]) -> Difference | None:
        """Where the passes don't run the same calls (values decide what runs), each must resemble some of the
        original's."""
        by_operator: dict[str, dict[tuple[Any, ...], Made]] = defaultdict(dict)
        everything = np.zeros(0, np.int64)
        for step in ours:
            for made in step.made:
                by_operator[_name(step)].setdefault((id(made.labels), made.shape), made)
        known: set[bytes] | None = None
        for number, step in enumerate(theirs):
            alike = by_operator.get(_name(step), {}).values()
            for made in step.made if step.labelled else ():
                if not made.labels or any(self._corresponds(one, made, True) for one in alike):
                    continue
                if any(0 not in one.shape for one in alike):
                    return Difference(number, everything)
                known = known or {line for step in ours for one in step.made for line in self._lines(one)}
                if not self._are_known(made, known):
                    return Difference(number, everything)
        return None

    def _lines(self, made: Made) -> Iterator[bytes]:
        """What stays of the channels along each single dimension of one of the original's tensors, as a value."""
        for dims, label in made.labels.items():
            ids = compact(label, dims).numpy()
            if len(dims) == 1 and not self._any_loose(self._before, ids):
                yield np.sort(_channels(self._before, ids)[_stays(self._before, ids)]).tobytes()

    def _are_known(self, made: Made, known: Collection[bytes]) -> bool:
        """Whether a tensor of an operator that the original has run on nothing, or not at all (a detector that found
        nothing), can't be wrong: along each dimension it has the channels of some tensor of the original, and no rows
        of them; or nothing is cut of any axis that its channels lie on."""
        for dims, label in made.labels.items():
            ids = compact(label, dims).numpy()
            channels = _channels(self._after, ids)
            if self._any_loose(self._after, ids) or not np.isin(channels, self._beside_cut).any():
                continue
            if len(dims) > 1 or np.sort(channels).tobytes() not in known:
                return False
        return True

    @cached_property
    def _beside_cut(self) -> np.ndarray:
        """The channels on all axes of the original of which something is cut."""
        axes = (axis.slots for axis in self._original.axes if not self._before.stays[axis.slots].all())
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(self._before.channel[slots] for slots in axes)]))

    def _corresponds(self, one: Made, other: Made, shaped: bool) -> bool:
        """Whether a tensor holds exactly the kept channels of another. `shaped`: compare the shapes of tensors without
        labels as well."""
        key = id(one.labels), id(other.labels), one.shape, other.shape, one.alike, shaped
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compare(one, other, shaped)
        return known

    def _compare(self, one: Made, other: Made, shaped: bool) -> bool:
        if len(one.shape) != len(other.shape):
            return not self._strict
        sizes: dict[int, int | None] = {}
        left = dict(other.labels)
        for dims, label in one.labels.items():
            ids = compact(label, dims).numpy()
            if self._any_loose(self._before, ids):
                sizes.update(dict.fromkeys(dims))
                continue
            channels, stays = _channels(self._before, ids), _stays(self._before, ids)
            if bool((channels == FIXED).any()):  # of positions that are still to be written there may be any number
                sizes.update(dict.fromkeys(dims))
                partner = left.pop(dims, None)
                if partner is not None and not self._holds(partner, dims, channels[stays]):
                    return False
                continue
            expected = next((e for e in _expected(dims, channels, stays) if self._fits(e, other.labels)), None)
            if expected is None:
                return False
            left.pop(expected.key, None)
            for d, size in zip(dims, expected.sizes, strict=True):
                sizes.setdefault(d, size)
        for dims, label in left.items():
            ids = compact(label, dims).numpy()
            if not self._any_loose(self._after, ids) and bool((_channels(self._after, ids) != FIXED).any()):
                return False
        if not self._strict or not (shaped or one.labels):
            return True
        wanted = [None if d in one.alike else sizes.get(d, size) for d, size in enumerate(one.shape)]
        return all(size is None or size == own for size, own in zip(wanted, other.shape, strict=True))

    def _any_loose(self, slots: Slots, ids: np.ndarray) -> bool:
        real = ids[ids >= 0]
        return bool(slots.loose[real].any())

    def _holds(self, label: Tensor, dims: Dims, channels: np.ndarray) -> bool:
        """Whether a label of the cut network names these channels, as often, whatever is fixed beside them."""
        ids = compact(label, dims).numpy()
        if self._any_loose(self._after, ids):
            return True
        found = _channels(self._after, ids).reshape(-1)
        return np.array_equal(np.sort(found[found != FIXED]), np.sort(channels[channels != FIXED]))

    def _fits(self, expected: "_Expected", labels: Labels) -> bool:
        label = labels.get(expected.key)
        if label is None:
            return not expected.key
        ids = compact(label, expected.key).numpy()
        if self._any_loose(self._after, ids):
            return True
        return expected.matches(_channels(self._after, ids), self._dealt)

    def _slots_of(self, step: TracedCall) -> np.ndarray:
        found = [compact(label, dims).reshape(-1).numpy() for made in step.made for dims, label in made.labels.items()]
        slots = np.concatenate(found) if found else np.zeros(0, np.int64)
        return np.unique(slots[slots >= 0])

    # Blocks: rows that the rules have named.

    def _other_blocks(
        self, ours: Sequence[TracedCall], theirs: Sequence[TracedCall], *, both_ways: bool
    ) -> Difference | None:
        """Each block of one pass must be one of the other's, without what is gone."""
        end = ours[-1] if ours else None
        before = list(_rows_of(self._original, end.blocks if end else 0, end.grouped if end else 0))
        last = theirs[-1] if theirs else None
        after = list(_rows_of(self._cut, last.blocks if last else 0, last.grouped if last else 0))
        known = {(why, row) for why, row in ((why, self._partition(self._before, rows)) for why, rows, *_ in before)}
        found = set()
        for why, rows, kind, number in after:
            own = why, self._partition(self._after, rows)
            found.add(own)
            if own[1] is not None and own not in known:
                return Difference(_step_of(theirs, kind, number), np.zeros(0, np.int64))
        if not both_ways:
            return None
        for why, rows, kind, number in before:
            own = why, self._partition(self._before, rows)
            if own[1] is not None and own not in found and self._lies_on_axes(rows):
                step = min(_step_of(ours, kind, number), len(theirs) - 1)
                slots = rows.reshape(-1)
                return Difference(step, np.unique(slots[slots >= 0]))
        return None

    def _lies_on_axes(self, rows: np.ndarray) -> bool:
        """Whether the original's slots in these rows are channels of a parameter: nothing else is followed into the cut
        network (positions that a constant is spread over)."""
        channels = np.unique(_channels(self._before, rows))
        return any(bool(np.isin(self._before.channel[axis.slots], channels).any()) for axis in self._original.axes)

    def _partition(self, slots: Slots, rows: np.ndarray) -> tuple[int, bytes] | None:
        """Rows as a value to compare; None where they say nothing: one row, rows of one, or rows of fixed positions."""
        if self._any_loose(slots, rows):
            return None
        channels, stays = _channels(slots, rows), _stays(slots, rows)
        if bool((channels == FIXED).any()) or bool(self._dealt[channels[stays]].any()):
            return None
        alive = stays.any(axis=1)
        counts = stays[alive].sum(axis=1)
        if len(counts) < 2 or counts.max() < 2 or counts.min() != counts.max():
            return None
        lines = np.unique(_sorted_lines(np.where(stays, channels, _GONE)[alive])[:, : int(counts[0])], axis=0)
        return (len(lines), lines.tobytes()) if len(lines) > 1 else None


def sizes_left(stays: np.ndarray) -> Iterator[tuple[int, ...]]:
    """What sizes a label may have once what doesn't stay of it is gone."""
    for expected in _expected(tuple(range(stays.ndim)), np.arange(stays.size).reshape(stays.shape), stays):
        yield expected.sizes


def _expected(dims: Dims, channels: np.ndarray, stays: np.ndarray) -> Iterator["_Expected"]:
    """What may become of a label: where each row along one dimension loses others, which dimension that is shows only
    in the rows themselves."""
    axes = range(channels.ndim)
    alive = [stays.any(axis=tuple(other for other in axes if other != d)) for d in axes]
    sizes = [int(own.sum()) for own in alive]
    small = np.where(stays, channels, _GONE)[np.ix_(*alive)]
    if int(stays.sum()) == prod(sizes):
        yield _Expected(dims, tuple(sizes), tuple(sizes), small, None)
        varying = small
        for d in axes:  # where heads share keys and values, all kept heads may belong to one of them
            first = varying.take([0], d)
            varying = first if bool((varying == first).all()) else varying
        if varying.shape != small.shape:
            yield _Expected(dims, tuple(sizes), varying.shape, varying, None)
        return
    for d in axes:
        counts = (small != _GONE).sum(axis=d)
        if counts.min() == counts.max():
            own = tuple(int(counts.max()) if other == d else size for other, size in enumerate(sizes))
            yield _Expected(dims, own, own, small, d)


class _Expected(NamedTuple):
    """A label of the original without what is gone."""

    dims: Dims
    sizes: tuple[int, ...]
    varying: tuple[int, ...]
    """The same, but 1 where it no longer varies."""
    channels: np.ndarray
    """With `_GONE` where rows lose different places."""
    places: int | None
    """The dimension (by its number in `dims`) along which each row loses others."""

    @property
    def key(self) -> Dims:
        """The dimensions along which it still varies."""
        return tuple(d for d, size in zip(self.dims, self.varying, strict=True) if size > 1)

    def matches(self, found: np.ndarray, dealt: np.ndarray) -> bool:
        """Whether channels that a tensor of the cut network carries are these, in the same rows."""
        if found.shape != tuple(size for size in self.varying if size > 1):
            return False
        kept = self.channels[self.channels != _GONE]
        flat = found.reshape(-1)
        if not np.array_equal(kept.reshape(-1), flat) and not np.array_equal(np.sort(kept), np.sort(flat)):
            return False
        if found.ndim < 2 or (len(kept) and bool(dealt[kept[kept >= 0]].any())):
            return True
        own = [n for n, size in enumerate(self.varying) if size > 1]
        for place, n in enumerate(own):
            if n == self.places:
                continue
            length = found.size // found.shape[place]
            lines = np.moveaxis(self.channels, n, 0).reshape(found.shape[place], -1)
            if bool(((lines != _GONE).sum(axis=1) != length).any()):
                return False
            theirs = np.moveaxis(found, place, 0).reshape(found.shape[place], -1)
            if not np.array_equal(_sorted_lines(lines)[:, :length], _sorted_lines(theirs)):
                return False
        return True


def _channels(slots: Slots, ids: np.ndarray) -> np.ndarray:
    return np.where(ids >= 0, slots.channel[np.maximum(ids, 0)], FIXED)


def _stays(slots: Slots, ids: np.ndarray) -> np.ndarray:
    return (ids < 0) | slots.stays[np.maximum(ids, 0)]


def _sorted_lines(lines: np.ndarray) -> np.ndarray:
    """Lines in an order of their own, each sorted."""
    lines = np.sort(lines, axis=1)
    return lines[np.lexsort(lines.T[::-1])]


def _rows_of(record: TraceRecord, blocks: int, grouped: int) -> Iterator[tuple[str, np.ndarray, str, int]]:
    for number, block in enumerate(record.blocks[:blocks]):
        yield block.why, block.rows.numpy(), "blocks", number
    for number, one in enumerate(record.grouped[:grouped]):
        yield f"{one.kind} in", one.inputs.numpy(), "grouped", number
        yield f"{one.kind} out", one.outputs.numpy(), "grouped", number


def _step_of(steps: Sequence[TracedCall], kind: str, number: int) -> int:
    return next((n for n, step in enumerate(steps) if getattr(step, kind) > number), len(steps) - 1)


def _name(step: TracedCall) -> str:
    name = step.operator._schema.name
    return "aten::view" if name in _RESHAPES else name


def _in_step(ours: Sequence[TracedCall], theirs: Sequence[TracedCall]) -> Sequence[tuple[int, int]] | None:
    """The calls of both passes in pairs; None where they don't run the same. Whether a reshape copies may differ."""
    if len(ours) == len(theirs) and all(a.operator is b.operator for a, b in zip(ours, theirs, strict=True)):
        return [(n, n) for n in range(len(ours))]
    mine, other = (
        [(_name(step), n) for n, step in enumerate(steps) if _name(step) not in _COPIES] for steps in (ours, theirs)
    )
    if [name for name, _ in mine] != [name for name, _ in other]:
        return None
    return [(i, j) for (_, i), (_, j) in zip(mine, other, strict=True)]


def _alike(one: TracedCall, other: TracedCall) -> bool:
    """Whether two calls get the same numbers. A factor may differ: the weights before it are scaled back."""
    if one.labelled and one.operator._schema.name in _SCALES:
        return True
    return len(one.numbers) == len(other.numbers) and all(map(_equal, one.numbers, other.numbers))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-9) or (one != one and other != other)
    return bool(one == other)
