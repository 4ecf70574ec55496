"""How a group's channels fall into cells, of which equally many must stay, and cells into families."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tui_prune.channels.classes import Classes, components
from tui_prune.channels.record import Axis, TraceRecord

Rows = tuple[np.ndarray, str]
"""A block: rows of channels (-1: none), and why."""
Families = tuple[tuple[np.ndarray, ...], ...]
"""Cells as positions in a group, by family."""


def parts_by_producer(shares: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Positions by who puts them out: where some producers put out a part only, each part keeps its own ratio."""
    if not shares:
        return [np.arange(size)]
    key = np.zeros((size, len(shares)), bool)
    for n, share in enumerate(shares):
        key[share, n] = True
    _, part = np.unique(key, axis=0, return_inverse=True)
    return [np.flatnonzero(part.reshape(-1) == n) for n in range(int(part.max()) + 1)]


def families_of(channels: np.ndarray, blocks: list[Rows], parts: list[np.ndarray], count: int) -> Families:
    """Cells are the channels that lie in the same rows of all blocks; families are the cells that blocks connect.
    Without blocks, each part is a family of its own."""
    if not blocks:
        return tuple((part,) for part in parts)
    position = np.full(count, -1)
    position[channels] = np.arange(len(channels))
    cell = np.zeros(len(channels), np.int64)
    in_block = []
    for rows, _ in blocks:
        places = np.where(rows >= 0, position[np.maximum(rows, 0)], -1)
        row = _row_sets(places, len(channels))
        in_block.append(row >= 0)
        _, cell = np.unique(cell * (row.max() + 2) + row + 1, return_inverse=True)
    _, first = np.unique(cell, return_index=True)
    order = np.argsort(first)  # cells, and then families, in the order of their first channels
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    cell = rank[cell]
    cells = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell))[:-1])
    pairs = []
    for inside in in_block:
        own = np.unique(cell[inside])
        pairs.append((own[:-1], own[1:]))
    _, family = components(len(cells), pairs)
    families: dict[int, list[np.ndarray]] = defaultdict(list)
    for number, positions in zip(family.tolist(), cells, strict=True):
        families[number].append(positions)
    return tuple(map(tuple, families.values()))


def _row_sets(places: np.ndarray, size: int) -> np.ndarray:
    """For each of `size` positions, a number for the rows that it lies in (-1: none); `places` is -1 where none is."""
    places = np.stack(list({row.tobytes(): row for row in places}.values()))
    row, column = np.nonzero(places >= 0)
    # Each position's rows, one after the other, each once.
    pairs = np.unique(places[row, column] * len(places) + row)
    position, row = np.divmod(pairs, len(places))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(position)) + 1]) if len(position) else position
    nth = np.arange(len(position)) - np.repeat(starts, np.diff(np.append(starts, len(position))))
    found = np.full(size, -1)
    for n in range(int(nth.max(initial=-1)) + 1):
        own = np.full(size, -1)
        own[position[nth == n]] = row[nth == n]
        _, found = np.unique(found * (len(places) + 1) + own, return_inverse=True) if n else (None, own)
    if nth.any():
        outside = np.ones(size, bool)
        outside[position] = False
        found[outside] = -1
    return found


def signature_cells(record: TraceRecord, sorted_classes: Classes, channels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Positions of the channels that run through the same axes as often: the cells of an uneven group."""
    signatures = axis_signatures(record.axes, sorted_classes.channel)
    cells: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, channel in enumerate(channels.tolist()):
        cells[signatures[channel]].append(position)
    return tuple(np.array(positions) for _, positions in sorted(cells.items()))


def axis_signatures(axes: Sequence[Axis], class_of_slot: np.ndarray) -> dict[int, tuple[int, ...]]:
    """For each class of slots, the numbers of the axes that it lies on, each as often as it does."""
    numbers = np.concatenate([np.full(axis.size, n) for n, axis in enumerate(axes)])
    slots = np.concatenate([axis.slots for axis in axes])
    order = np.lexsort((numbers, class_of_slot[slots]))
    owners, numbers = class_of_slot[slots][order], numbers[order]
    found, starts = np.unique(owners, return_index=True)
    parts = np.split(numbers, starts[1:])
    return {int(owner): tuple(part.tolist()) for owner, part in zip(found, parts, strict=True)}
