"""Numbers in, terminal text out. The only file that knows plotext, and it imports that when something is drawn.

plotext draws on global state by default; here each drawing has a private figure, so threads may draw at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tui_prune import wording

Color = int | tuple[int, int, int]
"""A colour of the terminal's palette, 0 to 255, or red, green and blue."""

STAY = "hd"
"""plotext's name for quarter blocks (▖▗▘▙…): two columns and two lines in a cell."""
GO = "░"
"""What is drawn with it is cut; it differs from the quarter blocks without a colour."""

_LABEL = 7
"""Cells for a figure at the left of the bars."""
LEAST_WIDTH, LEAST_HEIGHT = 3 * _LABEL, 4


def bins_for(width: int, total: int) -> int:
    """How many bins suit so many values in a histogram of this width: at most one for each half cell."""
    return max(1, min(2 * (width - _LABEL), round(2.5 * math.sqrt(total))))


@dataclass(frozen=True, eq=False)
class Bins:
    """A histogram: counts in equal steps from `low` to `high`, and what the values are like as a whole."""

    counts: np.ndarray
    low: float
    high: float
    total: int
    mean: float
    deviation: float
    zeros: int
    left_out: int
    """Values that are no finite numbers; they are in no other figure here, except `total`."""


@dataclass(frozen=True, eq=False)
class _Series:
    places: np.ndarray
    heights: np.ndarray
    symbol: str
    color: Color | None


def binned(values: Any, bins: int) -> Bins:
    """Count the values of an array or a tensor. A tensor is counted where it lies, without a copy of it to the host."""
    if hasattr(values, "histc"):
        return _binned_tensor(values, bins)
    return _binned_array(np.asarray(values, dtype=np.float64).ravel(), bins)


def histogram(bins: Bins, *, width: int, height: int, color: Color | None = None) -> str:
    """Bars of counts, `height` lines of `width` cells; without a colour it is plain text."""
    if not bins.counts.sum():
        return _nothing(width, height, "no finite values")
    if _too_small(width, height):
        return _nothing(width, height, "")
    columns = 2 * (width - _LABEL)
    shares = (np.arange(columns) + 0.5) / columns
    heights = bins.counts[(shares * len(bins.counts)).astype(int)].astype(float)
    places = bins.low + shares * (bins.high - bins.low)
    return _bars(
        [_Series(places[heights > 0], heights[heights > 0], STAY, color)],
        limits=(bins.low, bins.high),
        ticks=_ticks(bins.low, bins.high, _tick_count(width)),
        size=(width, height),
        figure=lambda number, _: wording.count(number),
    )


def scores(
    values: Any,
    kept: Any | None = None,
    *,
    width: int,
    height: int,
    color: Color | None = None,
    cut_color: Color | None = None,
) -> str:
    """The channels of a layer from the least to the most important, one bar each; shaded bars are cut."""
    values = np.asarray(values, dtype=np.float64).ravel()
    kept = np.ones(len(values), bool) if kept is None else np.asarray(kept, bool).ravel()
    finite = np.isfinite(values)
    values, kept = values[finite], kept[finite]
    if not len(values):
        return _nothing(width, height, "no finite scores")
    if _too_small(width, height):
        return _nothing(width, height, "")
    order = np.lexsort((values, kept)) if _cut_is_lowest(values, kept) else np.argsort(values, kind="stable")
    values, kept = values[order], kept[order]
    # As many bars as there are half cells: a bar stands for several channels, or a channel for several bars.
    columns = 2 * (width - _LABEL)
    places = (np.arange(columns) + 0.5) * len(values) / columns
    channels = places.astype(int)
    stays = kept[channels]
    series = [
        _Series(places[stays], values[channels][stays], STAY, color),
        _Series(places[~stays], values[channels][~stays], GO, cut_color),
    ]
    limits = (0.0, float(len(values)))
    cut = int((~kept).sum())
    marks = {0.0: "0", limits[1]: str(len(values))}
    if 0 < cut < len(values) and not kept[:cut].any():
        marks[float(cut)] = f"cut {cut}"
    ticks = _apart(sorted(marks.items()), limits, width)
    return _bars(series, limits=limits, ticks=ticks, size=(width, height), figure=_figure)


def _binned_tensor(values: Any, bins: int) -> Bins:
    values = values.detach().reshape(-1)
    total = values.numel()
    if not values.dtype.is_floating_point:
        values = values.abs() if values.dtype.is_complex else values.float()
    elif values.element_size() < 4:
        values = values.float()
    if total:
        finite = values.isfinite()
        if not bool(finite.all()):
            values = values[finite]
    if not values.numel():
        return _binned_array(np.full(total, np.nan), bins)
    low, high = _spread(float(values.min()), float(values.max()))
    counts = values.histc(bins, low, high).cpu().numpy()
    deviation = float(values.std(correction=0))
    zeros = int((values == 0).sum())
    return Bins(counts, low, high, total, float(values.mean()), deviation, zeros, total - values.numel())


def _binned_array(values: np.ndarray, bins: int) -> Bins:
    finite = values[np.isfinite(values)]
    left_out = len(values) - len(finite)
    if not len(finite):
        return Bins(np.zeros(bins), 0.0, 1.0, len(values), math.nan, math.nan, 0, left_out)
    low, high = _spread(float(finite.min()), float(finite.max()))
    counts, _ = np.histogram(finite, bins=bins, range=(low, high))
    zeros = int((finite == 0).sum())
    return Bins(counts, low, high, len(values), float(finite.mean()), float(finite.std()), zeros, left_out)


def _spread(low: float, high: float) -> tuple[float, float]:
    """Limits that are apart, also when all values are the same."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = max(abs(low) * 0.5, 0.5)
    return low - margin, high + margin


def _cut_is_lowest(values: np.ndarray, kept: np.ndarray) -> bool:
    """Whether no channel that goes has a better score than one that stays; then a tie is no reason to mix them."""
    return not kept.any() or kept.all() or values[~kept].max() <= values[kept].min()


def _tick_count(width: int) -> int:
    return max(2, min(7, width // 14))


def _ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    return [(float(place), _figure(place, high - low)) for place in np.linspace(low, high, count)]


def _figure(value: float, span: float) -> str:
    """Three digits of a place on an axis; what is next to nothing on it is 0."""
    return "0" if abs(value) < 1e-4 * span else f"{value:.3g}"


def _apart(ticks: list[tuple[float, str]], limits: tuple[float, float], width: int) -> list[tuple[float, str]]:
    """The ticks whose labels don't run into each other; the one in the middle matters most."""
    if len(ticks) < 3:
        return ticks
    first, middle, last = ticks
    cells = (width - _LABEL) / (limits[1] - limits[0])
    room = len(middle[1]) / 2 + 2
    kept = [middle]
    if (middle[0] - first[0]) * cells > room + len(first[1]):
        kept.insert(0, first)
    if (last[0] - middle[0]) * cells > room + len(last[1]):
        kept.append(last)
    return kept


def _too_small(width: int, height: int) -> bool:
    return width < LEAST_WIDTH or height < LEAST_HEIGHT


def _nothing(width: int, height: int, words: str) -> str:
    lines = [" " * width] * height
    if lines:
        lines[height // 2] = words[:width].center(width)
    return "\n".join(lines)


def _bars(
    series: list[_Series],
    *,
    limits: tuple[float, float],
    ticks: list[tuple[float, str]],
    size: tuple[int, int],
    figure: Callable[[float, float], str],
) -> str:
    import plotext

    plotext.terminal.limit(False, False)  # or the size is clamped to the terminal's
    plot = type(plotext.figure)(plotext.terminal)  # there is no public constructor of a private figure
    width, height = size
    plot.plot_size(width, height)
    plot.theme("simple")
    plot.canvas("default")
    plot.legend(False)
    plot.axes(False)
    plot.axes(True, axis=0, side=0)
    series = [one for one in series if len(one.places)]
    for one in series:
        marker = one.symbol if one.color is None else plotext.marker(one.symbol, one.color)
        plot.draw(plot.signal(one.places.tolist(), one.heights.tolist(), marker=marker).lines(False).fillx())
    # plotext puts a limit in the middle of the outermost cell. These put it on the outer edge.
    half = (limits[1] - limits[0]) / (width - _LABEL) / 2
    left, right = limits[0] + half, limits[1] - half
    plot.ruler(0, 0).lim(left, right)
    plot.ruler(0, 0).ticks([min(max(place, left), right) for place, _ in ticks], [label for _, label in ticks])
    top = max(float(one.heights.max()) for one in series)
    bottom = min(0.0, *(float(one.heights.min()) for one in series))
    top = top if top > bottom else bottom + 1.0
    ground = bottom + (top - bottom) / (2 * (height - 2) - 1)
    plot.ruler(1, 0).lim(ground, top)
    plot.ruler(1, 0).ticks([ground, top], [f"{figure(end, top - bottom):>{_LABEL - 1}} " for end in (bottom, top)])
    return plot.build().string(colorless=all(one.color is None for one in series)).rstrip("\n")
