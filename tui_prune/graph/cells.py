"""How a group's channels fall into cells, of which equally many must stay, and cells into families."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tui_prune.graph.classes import components

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


def in_common_units(families: Families, channels: np.ndarray, blocks: list[Rows], count: int) -> Families:
    """Take apart the cells of each family whose cells are of unequal size into runs of the size that divides all: where
    each run keeps equally many channels, so does each row of every block, however the blocks overlap. Channels that
    stand for more positions of a row than others are runs of their own.

    Left as they are: families without such a size, those of which a row holds fixed positions too, and those whose
    rows interleave channels. How code deals such channels out at another width isn't told by their rows.
    """
    position = np.full(count, -1)
    position[channels] = np.arange(len(channels))
    held = [position[rows[rows >= 0]] for rows, _ in blocks]
    taken = [np.bincount(own[own >= 0], minlength=len(channels)) for own in held]
    found = []
    for cells in families:
        alike = [run for cell in cells for run in taken_alike(cell, taken)]
        sizes = {len(run) for run in alike}
        unit = int(np.gcd.reduce(list(sizes)))
        if len(sizes) == 1 or unit == 1:
            found.append(cells if len(alike) == len(cells) or unit == 1 else tuple(alike))
            continue
        inside = np.zeros(count, bool)
        inside[channels[np.concatenate(cells)]] = True
        rows = [own for own, _ in blocks if inside[own[own >= 0]].any()]
        ordered = all(is_in_order(own, position) for own in rows)
        runs = tuple(part for run in alike for part in np.split(run, len(run) // unit))
        found.append(runs if ordered else cells)
    return tuple(found)


def taken_alike(cell: np.ndarray, taken: list[np.ndarray]) -> list[np.ndarray]:
    """The channels of a cell by how often the blocks hold each."""
    if all((times[cell] == times[cell[0]]).all() for times in taken):
        return [cell]
    _, kind = np.unique(np.stack([times[cell] for times in taken]), axis=1, return_inverse=True)
    return [cell[kind.reshape(-1) == n] for n in range(int(kind.max()) + 1)]


def is_in_order(rows: np.ndarray, position: np.ndarray) -> bool:
    """Whether the rows of a block hold channels of the group alone, most of them next to each other as in the group."""
    if bool((rows < 0).any()) or bool((position[rows] < 0).any()):
        return False
    steps = np.diff(position[rows].reshape(-1))
    return not len(steps) or 2 * int(((steps == 0) | (steps == 1)).sum()) > len(steps)


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


def signature_cells(signatures: Mapping[int, tuple[int, ...]], channels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Positions of the channels that run through the same axes as often: the cells of an uneven group.

    `signatures`: those of all channels, `Classes.signatures`.
    """
    cells: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, channel in enumerate(channels.tolist()):
        cells[signatures[channel]].append(position)
    return tuple(np.array(positions) for _, positions in sorted(cells.items()))
