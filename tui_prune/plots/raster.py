"""Filling polygons with pixels, the later ones over the earlier."""

from collections.abc import Iterable

import numpy as np

from tui_prune.plots.pixels import EMPTY


def painted(faces: Iterable[tuple[np.ndarray, int]], width: int, height: int) -> np.ndarray:
    """Pixels (height, width) of convex polygons: corners (n, 2) in pixels, x and y, and a colour's number each."""
    pixels = np.full((height, width), EMPTY)
    for corners, color in faces:
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 1
        window = pixels[top:bottom, left:right]
        if not window.size:
            continue
        across = np.arange(left, left + window.shape[1]) + 0.5
        down = np.arange(top, top + window.shape[0])[:, None] + 0.5
        sides = []
        for (x, y), (to_x, to_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            sides.append((to_x - x) * (down - y) - (to_y - y) * (across - x))
        inside = np.all([side >= 0 for side in sides], axis=0) | np.all([side <= 0 for side in sides], axis=0)
        window[inside] = color
    return pixels
