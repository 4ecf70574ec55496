"""A line through points that were measured one after the other: a loss, an accuracy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tui_prune.plots import bars
from tui_prune.plots.spans import Row, blank, overlaid

BEST = "◆"
"""Marks the best point."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Values at shares of the way, 0 to 1; those that aren't finite are left out."""

    places: np.ndarray
    values: np.ndarray
    figure: Callable[[float], str]
    """How a value is written."""
    best: int | None = None
    """Which point is marked."""
    words: str = ""
    """What is said where there is nothing to draw."""

    def rows(self, width: int, height: int) -> tuple[Row, ...]:
        """The curve in cells. Of more points than half cells, each half cell gets the mean of its own."""
        places, values = self._finite()
        if not len(values):
            return blank(width, height, self.words)
        if width < bars.LEAST_WIDTH or height < bars.LEAST_HEIGHT:
            return blank(width, height)
        places, values = pooled(places, values, 2 * (width - bars.LABEL))
        low, high = float(values.min()), float(values.max())
        marked = self._marked()
        if marked is not None:
            low, high = min(low, marked[1]), max(high, marked[1])
        beside = [(low, self.figure(low)), (high, self.figure(high))]
        if not high > low:
            beside = beside[:1]
            low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
        below = [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")]
        levels = low, high
        rows = bars.line(
            places, values, limits=(0.0, 1.0), levels=levels, below=below, beside=beside, size=(width, height)
        )
        return rows if marked is None else _with_mark(rows, marked, levels, width, height)

    def _finite(self) -> tuple[np.ndarray, np.ndarray]:
        places, values = np.asarray(self.places, float), np.asarray(self.values, float)
        finite = np.isfinite(values)
        return places[finite], values[finite]

    def _marked(self) -> tuple[float, float] | None:
        if self.best is None or not np.isfinite(self.values[self.best]):
            return None
        return float(self.places[self.best]), float(self.values[self.best])


def pooled(places: np.ndarray, values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """No more than so many points: the means of those that fall together."""
    if len(values) <= most:
        return places, values
    groups = np.minimum((np.asarray(places) * most).astype(int), most - 1)
    _, groups = np.unique(groups, return_inverse=True)
    counts = np.bincount(groups)
    return np.bincount(groups, places) / counts, np.bincount(groups, values) / counts


def _with_mark(
    rows: tuple[Row, ...], point: tuple[float, float], levels: tuple[float, float], width: int, height: int
) -> tuple[Row, ...]:
    """Rows with the best point drawn in."""
    low, high = levels
    lines, columns = height - 2, width - bars.LABEL
    line = round((high - point[1]) / (high - low) * (2 * lines - 1)) // 2  # there are two lines in a cell
    place = bars.LABEL + min(int(point[0] * columns), columns - 1)
    return tuple(overlaid(row, place, BEST, "mark") if number == line else row for number, row in enumerate(rows))
