"""From ties to channels: connected components, and how each grouped convolution and each group norm is taken."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tui_prune.graph.record import GROUP_NORM, Axis, Grouped, TraceRecord, slot_numbers

Pairs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Classes:
    """`atom[slot]`: slots that are the same position of the data. `channel[slot]`: slots that are cut together.

    `whole` names the grouped convolutions and norms (by number) of which only whole groups go, `whole_heads` the rows
    of heads.
    """

    atom: np.ndarray
    channel: np.ndarray
    channels: int
    whole: frozenset[int]
    whole_heads: frozenset[int] = frozenset()
    heads: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """For each channel, whether it is a whole head."""
    axes: Sequence[Axis] = ()
    """All axes of the record, in their order."""

    @cached_property
    def signatures(self) -> dict[int, tuple[int, ...]]:
        """For each channel, the numbers of the axes that it lies on, each as often as it does."""
        return axis_signatures(self.axes, self.channel)


def axis_signatures(axes: Sequence[Axis], class_of_slot: np.ndarray) -> dict[int, tuple[int, ...]]:
    """For each class of slots, the numbers of the axes that it lies on, each as often as it does."""
    numbers = np.concatenate([np.full(axis.size, n) for n, axis in enumerate(axes)])
    slots = np.concatenate([axis.slots for axis in axes])
    order = np.lexsort((numbers, class_of_slot[slots]))
    owners, numbers = class_of_slot[slots][order], numbers[order]
    found, starts = np.unique(owners, return_index=True)
    each, ends = numbers.tolist(), [*starts[1:].tolist(), len(numbers)]
    return {
        owner: tuple(each[start:end]) for owner, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True)
    }


def components(size: int, pairs: Pairs) -> tuple[int, np.ndarray]:
    """The number of classes and the class of each of `size` things, given arrays of pairs that belong together."""
    if not pairs:
        return size, np.arange(size)
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    graph = coo_matrix((np.ones(len(left)), (left, right)), shape=(size, size))
    return connected_components(graph, directed=False)


def atoms(record: TraceRecord, original: TraceRecord | None = None, fixed_sizes: Collection[int] = ()) -> np.ndarray:
    """The class of each slot by ties alone; a convolution with one channel in and out per group ties the two.

    Of a network that is cut from another, only where it did so in that one too: groups that have shrunk to one channel
    still aren't the channels that they read. `fixed_sizes`: the free sizes, by number, that follow nothing.
    """
    pairs: Pairs = []
    if record.ties:
        pairs.append((torch.cat([tie.left for tie in record.ties]).numpy(),
                      torch.cat([tie.right for tie in record.ties]).numpy()))  # fmt: skip
    followed = [guess for guess in record.guesses if guess.size not in fixed_sizes]
    pairs.extend((guess.left.numpy(), guess.right.numpy()) for guess in followed)
    tying = [grouped.ties_sides for grouped in record.grouped]
    if original is not None and len(original.grouped) == len(tying):  # the same calls in the same order
        tying = [grouped.ties_sides for grouped in original.grouped]
    for grouped, ties in zip(record.grouped, tying, strict=True):
        if ties:
            pairs.append((grouped.inputs.flatten().numpy(), grouped.outputs.flatten().numpy()))
    return components(record.size, pairs)[1]


def classes(
    record: TraceRecord, atom: np.ndarray, whole: frozenset[int], whole_heads: frozenset[int] = frozenset()
) -> Classes:
    """The channels of a trace when only whole groups go of these grouped convolutions and norms, and only whole heads
    of these rows of heads (by number)."""
    count, channel = _channels(record, atom, whole, whole_heads)
    heads = np.zeros(count, bool)
    for i in whole_heads:
        rows = record.head_rows[i].rows
        heads[channel[slot_numbers([rows])]] |= rows.shape[1] > 1
    return Classes(atom, channel, count, whole, whole_heads, heads, record.axes)


def taken_whole(record: TraceRecord, atom: np.ndarray, mode: str) -> frozenset[int]:
    """The grouped convolutions and norms of which only whole groups go; `mode` is "auto", "even" or "whole".

    One with a single channel in and out per group, or with normalised weights, has no other way. "auto" takes whole
    groups where they are the finer step: where a group has one channel on a side, or no more channels than there are
    groups (fewer, of a norm), unless what is tied to them makes the groups fall together.
    """
    whole = frozenset(i for i, grouped in enumerate(record.grouped) if _whole_at_first(grouped, mode))
    if mode != "auto":
        return whole
    while whole:
        _, channel = _channels(record, atom, whole)
        fallen = {i for i in whole if _has_fallen_together(record.grouped[i], channel)}
        if not fallen:
            break
        whole -= fallen
    return whole


def whole_heads(record: TraceRecord, mode: str) -> frozenset[int]:
    """The rows of heads of which only whole ones go, before it is known what is stuck; `mode` is "width", "whole" or
    "auto"."""
    return frozenset(range(len(record.head_rows))) if mode == "whole" else frozenset()


def with_their_own(record: TraceRecord, atom: np.ndarray, some: frozenset[int]) -> frozenset[int]:
    """These rows of heads, and all others of the same heads: queries, keys, values and what is added to each head."""
    slots = [np.unique(atom[slot_numbers([one.heads, one.rows])]) for one in record.head_rows]
    known = np.zeros(int(atom.max(initial=-1)) + 1, bool)
    found: set[int] = set()
    more = set(some)
    while more:
        found |= more
        for i in more:
            known[slots[i]] = True
        more = {i for i, own in enumerate(slots) if i not in found and known[own].any()}
    return frozenset(found)


def are_heads(rows: np.ndarray, sorted_classes: Classes) -> bool:
    """Whether each of these rows of channels is one head that can go whole: then none need be as long as another."""
    real = rows >= 0
    if not real.any(axis=1).all():
        return False
    first = np.where(real, rows, rows.max()).min(1)
    return bool(((rows == first[:, None]) | ~real).all()) and bool(sorted_classes.heads[first].all())


def in_heads(record: TraceRecord, atom: np.ndarray) -> np.ndarray:
    """For each slot, whether it is a place in a row of heads, or stands for one."""
    inside = np.zeros(int(atom.max(initial=-1)) + 1, bool)
    inside[atom[slot_numbers([part for one in record.head_rows for part in (one.rows, one.heads)])]] = True
    return inside[atom]


def has_choice(grouped: Grouped) -> bool:
    """Whether a grouped convolution or norm can be cut in either way."""
    return not grouped.ties_sides and grouped.way == "either"


def _whole_at_first(grouped: Grouped, mode: str) -> bool:
    if not has_choice(grouped):
        return grouped.way != "even" or grouped.ties_sides
    groups = grouped.inputs.shape[0]
    sides = grouped.inputs.shape[1], grouped.outputs.shape[1]
    if mode == "auto":
        return min(sides) == 1 or max(sides) + (grouped.kind == GROUP_NORM) <= groups
    return mode == "whole"


def _has_fallen_together(grouped: Grouped, channel: np.ndarray) -> bool:
    """Whether taking whole groups is coarser than taking evenly many from each."""
    groups, size = grouped.inputs.shape
    if min(size, grouped.outputs.shape[1]) == 1 or not has_choice(grouped):
        return False
    steps = len(np.unique(channel[grouped.inputs.flatten().numpy()]))
    return groups * size > steps * groups


def _channels(
    record: TraceRecord, atom: np.ndarray, whole: Iterable[int], whole_heads: Iterable[int] = ()
) -> tuple[int, np.ndarray]:
    if not whole and not whole_heads:
        return (int(atom.max()) + 1 if len(atom) else 0), atom
    pairs: Pairs = []
    for i in whole:
        grouped = record.grouped[i]
        first = atom[grouped.inputs[:, 0].numpy()]
        for side in (grouped.inputs, grouped.outputs):
            slots = atom[side.numpy()]
            pairs.append((np.repeat(first, slots.shape[1]), slots.reshape(-1)))
    for i in whole_heads:
        rows, heads = record.head_rows[i].rows.numpy(), record.head_rows[i].heads.numpy()
        both = np.concatenate([heads[:, None], rows], 1)
        first = np.where(both >= 0, both, record.size).min(1)  # some slot of each row, where it has any
        real = both >= 0
        pairs.append((atom[np.repeat(first, real.sum(1))], atom[both[real]]))
    count, of_atom = components(int(atom.max()) + 1 if len(atom) else 0, pairs)
    return count, of_atom[atom]


def channel_rows(rows: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Block rows of slots as rows of channels; fixed positions stay negative."""
    return np.where(rows >= 0, channel[np.maximum(rows, 0)], -1)


def locked_channels(record: TraceRecord, channel: np.ndarray, whole_heads: frozenset[int]) -> dict[int, np.ndarray]:
    """For each lock that has slots, by number, the channels that it holds."""
    found: dict[int, list[np.ndarray]] = {}
    for slots, lock in record.locked:
        found.setdefault(lock, []).append(np.unique(channel[slot_numbers([slots])]))
    for i, rows in enumerate(record.head_rows):
        if i not in whole_heads:
            found.setdefault(rows.lock, []).append(np.unique(channel[slot_numbers([rows.heads])]))
            continue
        both = np.concatenate([rows.heads.numpy()[:, None], rows.rows.numpy()], 1)
        for code in np.unique(both[both < 0]).tolist():
            with_it = both[(both == code).any(1)]
            found.setdefault(-1 - code, []).append(np.unique(channel[with_it[with_it >= 0]]))
    return {lock: np.concatenate(parts) for lock, parts in found.items()}
