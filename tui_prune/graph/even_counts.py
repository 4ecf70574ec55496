"""Numbers of channels that keep the rows of all blocks even, where the cells have no common size: halves, thirds and
quarters of one stream overlap in any way.

An integer programme for each share: the counts are next to that share of each cell, and every row of a block keeps as
many positions as its sibling rows.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from tui_prune.graph.cells import Families, Rows, is_in_order, taken_alike
from tui_prune.graph.findings import Flow

LEVELS = 16
"""The number of shares of the whole that are tried."""
MOST_CELLS = 500

Matrix = tuple[tuple[int, ...], ...]


def even_flows(
    families: Families, channels: np.ndarray, blocks: Sequence[Rows], outputs: Sequence[np.ndarray], count: int
) -> tuple[tuple[np.ndarray, ...], tuple[Flow, ...]] | None:
    """The cells of a group in one row, and the widths at which all rows stay even; None where there are none, or where
    the blocks interleave channels.

    `outputs`: of each producer, the channels that it puts out. `count`: of all channels of the network.
    """
    position = np.full(count, -1)
    position[channels] = np.arange(len(channels))
    if not all(is_in_order(rows, position) for rows, _ in blocks):
        return None
    held = [position[rows] for rows, _ in blocks]
    made = [position[own] for own in outputs]
    taken = [np.bincount(own[own >= 0], minlength=len(channels)) for own in (*(h.reshape(-1) for h in held), *made)]
    cells = tuple(run for cells in families for cell in cells for run in taken_alike(cell, taken))
    if len(cells) > MOST_CELLS:
        return None
    number = np.zeros(len(channels), np.int64)
    for n, cell in enumerate(cells):
        number[cell] = n
    sizes = np.array([len(cell) for cell in cells])

    def weights(places: np.ndarray) -> tuple[int, ...]:
        return tuple((np.bincount(number[places[places >= 0]], minlength=len(cells)) // sizes).tolist())

    rows = tuple(tuple(dict.fromkeys(weights(row) for row in own)) for own in held)
    widths = np.array([weights(own) for own in made])
    found = []
    for counts in _counts(tuple(sizes.tolist()), rows, tuple(map(tuple, widths.tolist()))):
        own = tuple((widths @ np.array(counts)).tolist())
        found.append(Flow(own[0], counts, own))
    return (cells, tuple(found)) if len(found) > 1 else None


@lru_cache(maxsize=256)
def _counts(sizes: tuple[int, ...], blocks: tuple[Matrix, ...], producers: Matrix) -> tuple[tuple[int, ...], ...]:
    """The counts for each share at which there are any, the smallest first; all of each cell is the last."""
    half = list(_nearest(0.5, sizes, blocks, producers))
    if half in ([], [sizes]):  # nothing near the half: blocks that don't fit
        return (sizes,)
    found = [counts for level in range(1, LEVELS) for counts in _nearest(level / LEVELS, sizes, blocks, producers)]
    return tuple(dict.fromkeys([*found, sizes]))


def _nearest(
    share: float, sizes: tuple[int, ...], blocks: tuple[Matrix, ...], producers: Matrix
) -> Iterator[tuple[int, ...]]:
    """The counts next to a share of each cell; none where no counts keep the rows even."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes a while, and few networks need it

    cells = len(sizes)
    nothing, one = np.zeros((1, cells)), np.eye(cells)
    even = [np.array(row) - np.array(rows[0]) for rows in blocks for row in rows[1:]]
    equal = np.stack(even) if even else nothing
    some = np.array([*(rows[0] for rows in blocks), *producers])
    wanted = share * np.array(sizes)

    def beside(counts: np.ndarray, distances: np.ndarray | None = None) -> np.ndarray:
        return np.hstack([counts, np.zeros_like(counts) if distances is None else distances])

    constraints = [
        LinearConstraint(beside(equal), 0, 0),
        LinearConstraint(beside(some), 1, np.inf),
        LinearConstraint(beside(one, -one), -np.inf, wanted),
        LinearConstraint(beside(one, one), wanted, np.inf),
    ]
    solved = milp(
        np.concatenate([np.zeros(cells), np.ones(cells)]),
        integrality=np.concatenate([np.ones(cells), np.zeros(cells)]),
        bounds=Bounds(0, np.concatenate([sizes, np.full(cells, np.inf)])),
        constraints=constraints,
        options={"time_limit": 2.0},
    )
    if solved.success:
        yield tuple(np.round(solved.x[:cells]).astype(int).tolist())
