"""The only file that knows plotext, and it imports that when something is drawn.

plotext draws on global state by default; here each drawing has a private figure, so threads may draw at once.
"""

import re
from typing import Any

import numpy as np

from tui_prune.plots.spans import Row, Span

STAY = "hd"
"""plotext's name for quarter blocks (▖▗▘▙…): two columns and two lines in a cell."""
GO = "░"
"""What is drawn with it is cut; it differs from the quarter blocks without a colour."""

LABEL = 7
"""Cells for a figure at the left of the bars."""
LEAST_WIDTH, LEAST_HEIGHT = 3 * LABEL, 4

_PIECES = re.compile(r"[▀-▐▔-▟]+|░+|[^▀-▟]+")


def bars(
    places: np.ndarray,
    heights: np.ndarray,
    gone: np.ndarray,
    *,
    limits: tuple[float, float],
    below: list[tuple[float, str]],
    beside: list[tuple[float, str]],
    size: tuple[int, int],
) -> tuple[Row, ...]:
    """Bars of a height at each place, and before them bars of what goes; with figures below and beside them.

    `size` is columns and lines, no less than `LEAST_WIDTH` and `LEAST_HEIGHT`.
    """
    plot = _figure(size)
    width, height = size
    for drawn, symbol in ((heights, STAY), (gone, GO)):
        there = drawn != 0
        if there.any():
            plot.draw(plot.signal(places[there].tolist(), drawn[there].tolist(), marker=symbol).lines(False).fillx())
    _rule_below(plot, limits, below, width)
    bottom, top = min(0.0, float(heights.min())), float(heights.max())
    top = top if top > bottom else bottom + 1.0
    ground = bottom + (top - bottom) / (2 * (height - 2) - 1)
    plot.ruler(1, 0).lim(ground, top)
    plot.ruler(1, 0).ticks([max(at, ground) for at, _ in beside], [f"{label:>{LABEL - 1}} " for _, label in beside])
    return _rows(plot, width)


def line(
    places: np.ndarray,
    heights: np.ndarray,
    *,
    limits: tuple[float, float],
    levels: tuple[float, float],
    below: list[tuple[float, str]],
    beside: list[tuple[float, str]],
    size: tuple[int, int],
) -> tuple[Row, ...]:
    """A line from point to point, between two levels; with figures below and beside it.

    `size` is columns and lines, no less than `LEAST_WIDTH` and `LEAST_HEIGHT`.
    """
    plot = _figure(size)
    width, _ = size
    drawn = plot.signal(places.tolist(), heights.tolist(), marker=STAY)
    plot.draw(drawn.lines(True) if len(places) > 1 else drawn)
    _rule_below(plot, limits, below, width)
    plot.ruler(1, 0).lim(*levels)
    plot.ruler(1, 0).ticks([at for at, _ in beside], [f"{label:>{LABEL - 1}} " for _, label in beside])
    return _rows(plot, width)


def _figure(size: tuple[int, int]) -> Any:
    """An empty private figure with an axis below."""
    import plotext

    plotext.terminal.limit(False, False)  # or the size is clamped to the terminal's
    plot = type(plotext.figure)(plotext.terminal)  # there is no public constructor of a private figure
    plot.plot_size(*size)
    plot.theme("simple")
    plot.canvas("default")
    plot.legend(False)
    plot.axes(False)
    plot.axes(True, axis=0, side=0)
    return plot


def _rule_below(plot: Any, limits: tuple[float, float], below: list[tuple[float, str]], width: int) -> None:
    """The axis below. plotext puts a limit in the middle of the outermost cell; here it is on the outer edge."""
    half = (limits[1] - limits[0]) / (width - LABEL) / 2
    left, right = limits[0] + half, limits[1] - half
    plot.ruler(0, 0).lim(left, right)
    plot.ruler(0, 0).ticks([min(max(place, left), right) for place, _ in below], [label for _, label in below])


def _rows(plot: Any, width: int) -> tuple[Row, ...]:
    lines = plot.build().string(colorless=True).rstrip("\n").split("\n")
    return tuple(_row(line.ljust(width)) for line in lines)


def _row(line: str) -> Row:
    return tuple(Span(piece, _ink(piece[0])) for piece in _PIECES.findall(line))


def _ink(letter: str) -> str:
    if letter == GO:
        return "go"
    return "bar" if "▀" <= letter <= "▟" else "note"
