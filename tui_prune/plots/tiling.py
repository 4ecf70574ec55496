"""Where each weight of a layer is drawn: kernels as tiles in a grid, in strips that are wrapped, or one matrix.

Where there are more numbers than points, each point stands for a block of them.
"""

from dataclasses import dataclass

import numpy as np

LARGEST = 4
"""Points that a single weight is stretched to, at most, down and across."""
GAP = 2
"""Points between two strips beside each other."""


@dataclass(frozen=True, eq=False)
class Tiling:
    """A picture in points: values, and the share of what each point stands for that stays."""

    values: np.ndarray
    """Shape (height, width)."""
    kept: np.ndarray
    empty: np.ndarray
    """Where there is nothing between tiles."""
    outputs: np.ndarray
    """Per line of points the outputs that it speaks of, shape (height, 2): the first, and the one after the last."""
    strips: bool
    """Whether several outputs stand beside each other."""
    block: tuple[float, float]
    """How many weights a point stands for, down and across; 1 and 1 where none share one."""


def tiled(weights: np.ndarray, rows_kept: np.ndarray, columns_kept: np.ndarray, width: int, height: int) -> Tiling:
    """Lay out weights (outputs, inputs, kernel height, kernel width) in so many points."""
    outputs, inputs, down, across = weights.shape
    if down * across > 1:
        for scale in range(LARGEST, 0, -1):
            if (inputs * (across * scale + 1) - 1 <= width) and (outputs * (down * scale + 1) - 1 <= height):
                return _strips(weights, rows_kept, columns_kept, 1, scale)
    if inputs == 1 or down * across > 1:
        gap = 1 if down * across > 1 else 0
        for scale in range(LARGEST, 0, -1):
            strip = inputs * (across * scale + gap) - gap
            beside = max(1, (width + GAP * gap) // (strip + GAP * gap))
            lines = -(-outputs // beside)
            if strip <= width and lines * (down * scale + gap) - gap <= height:
                return _strips(weights, rows_kept, columns_kept, min(beside, outputs), scale)
    return _matrix(weights, rows_kept, columns_kept, width, height)


def _strips(weights: np.ndarray, rows_kept: np.ndarray, columns_kept: np.ndarray, beside: int, scale: int) -> Tiling:
    """Each output's kernels side by side; so many outputs beside each other before a new line of tiles begins."""
    outputs, inputs, down, across = weights.shape
    gap = 1 if down * across > 1 else 0
    tile_down, tile_across = down * scale + gap, across * scale + gap
    strip = inputs * tile_across - gap
    lines = -(-outputs // beside)
    height, width = lines * tile_down - gap, beside * (strip + GAP * gap) - GAP * gap
    values, kept = np.zeros((height, width)), np.ones((height, width))
    empty = np.ones((height, width), bool)
    numbers = np.zeros((height, 2), int)
    for output in range(outputs):
        line, place = divmod(output, beside)
        top, start = line * tile_down, place * (strip + GAP * gap)
        numbers[top : top + tile_down] = line * beside, min(outputs, (line + 1) * beside)
        for channel in range(inputs):
            left = start + channel * tile_across
            spot = slice(top, top + down * scale), slice(left, left + across * scale)
            values[spot] = weights[output, channel].repeat(scale, 0).repeat(scale, 1)
            kept[spot] = float(rows_kept[output] and columns_kept[channel])
            empty[spot] = False
    return Tiling(values, kept, empty, numbers, beside > 1, (1, 1))


def _matrix(weights: np.ndarray, rows_kept: np.ndarray, columns_kept: np.ndarray, width: int, height: int) -> Tiling:
    """Outputs down, inputs across: each place of a kernel if there is room, else a point for one or several kernels."""
    outputs, inputs, *kernel = weights.shape
    places = int(np.prod(kernel))
    matrix = weights.reshape(outputs, inputs * places)
    whole_kernels = inputs * places > width and inputs * LARGEST > width
    down = starts(outputs, height)
    across = starts(inputs, width) * places if whole_kernels else starts(inputs * places, width)
    shares = pooled_shares(np.repeat(columns_kept, places), across)
    kept = pooled_shares(rows_kept, down)[:, None] * shares[None, :]
    scale_down, scale_across = (max(1, min(LARGEST, height // len(down))), max(1, min(LARGEST, width // len(across))))
    block = outputs / len(down), inputs * places / len(across)
    if block == (1, 1):
        scale_down = scale_across = min(scale_down, scale_across)

    def stretched(points: np.ndarray) -> np.ndarray:
        return points.repeat(scale_down, 0).repeat(scale_across, 1)

    values = stretched(pooled(matrix, down, across))
    numbers = np.stack([down, [*down[1:], outputs]], axis=1).repeat(scale_down, 0)
    return Tiling(values, stretched(kept), np.zeros(values.shape, bool), numbers, False, block)


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
