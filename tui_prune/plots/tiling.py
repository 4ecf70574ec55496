"""Where each weight of a layer is drawn: kernels as tiles in a grid, in strips that are wrapped, or one matrix."""

from dataclasses import dataclass

import numpy as np

from tui_prune.plots.pooling import pooled, pooled_shares, starts

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
