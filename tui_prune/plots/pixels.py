"""Pixels in a terminal: two of them in a cell, one above the other; or one letter for each.

Polygons are filled with them, the later ones over the earlier.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from tui_prune.plots.spans import Row, Span

EMPTY = -1
"""A pixel with nothing in it."""


def half_blocks(pixels: np.ndarray, palette: Sequence[str]) -> tuple[Row, ...]:
    """Rows of half the height. `pixels` (height, width) are places in the palette, or `EMPTY`.

    As many neighbours as can be said with two colours share a span: a change of colours costs more bytes than a cell.
    """
    if len(pixels) % 2:
        pixels = np.vstack([pixels, np.full((1, pixels.shape[1]), EMPTY)])
    return tuple(
        _row(above.tolist(), below.tolist(), palette) for above, below in zip(pixels[::2], pixels[1::2], strict=True)
    )


def letters(pixels: np.ndarray, alphabet: str, ink: str = "bar") -> tuple[Row, ...]:
    """Rows of one letter a pixel, for terminals without colours."""
    table = np.array([*alphabet, " "])  # -1 is the last
    return tuple((Span("".join(row), ink),) for row in table[pixels])


def _row(above: list[int], below: list[int], palette: Sequence[str]) -> Row:
    spans = []
    inks: set[int] = set()
    start = 0
    for place, pair in enumerate(zip(above, below, strict=True)):
        if len(inks.union(pair)) > 2:
            spans.append(_span(above[start:place], below[start:place], inks, palette))
            inks, start = set(), place
        inks.update(pair)
    return (*spans, _span(above[start:], below[start:], inks, palette)) if above else ()


def _span(above: list[int], below: list[int], inks: set[int], palette: Sequence[str]) -> Span:
    front, back = (*sorted(inks, reverse=True), EMPTY)[:2]  # what is empty shows the ground of the terminal
    blocks = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}
    text = "".join(blocks[top == front, bottom == front] for top, bottom in zip(above, below, strict=True))
    if front == EMPTY:
        return Span(" " * len(text))
    ground = "" if back == EMPTY else f" on {palette[back]}"
    return Span(text, f"{palette[front]}{ground}")


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
