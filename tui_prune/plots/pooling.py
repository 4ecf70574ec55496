"""More numbers than there are points to draw them: each point stands for a block of them."""

import numpy as np


def starts(count: int, points: int) -> np.ndarray:
    """Where each point's block begins, when `count` things are spread over so many points, or over fewer."""
    points = max(1, min(count, points))
    return np.arange(points) * count // points


def pooled(values: np.ndarray, down: np.ndarray, across: np.ndarray, *, sizes: bool = False) -> np.ndarray:
    """Means (of sizes: of |value|) over the blocks of a matrix that begin at these rows and columns.

    A block that holds something not finite isn't finite itself. The matrix is read once, in pieces, and not copied.
    """
    made = np.empty((len(down), len(across)))
    with np.errstate(all="ignore"):
        for place, (start, end) in enumerate(zip(down, [*down[1:], len(values)], strict=True)):
            piece = values[start:end]
            lines = (np.abs(piece) if sizes else piece).mean(axis=0, dtype=_exact(values))
            made[place] = np.add.reduceat(lines, across, dtype=np.float64)
        return made / np.diff([*across, values.shape[1]])


def pooled_shares(kept: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """The share of each block's channels that stay."""
    return np.add.reduceat(kept.astype(float), begin) / np.diff([*begin, len(kept)])


def _exact(values: np.ndarray) -> type:
    """Sums of many float32 in float32 are exact enough for a colour, and several times faster."""
    return np.float32 if values.dtype == np.float32 and values.size > 1 << 20 else np.float64
