"""Bars side by side: histograms, and channels ranked by a score. What goes is drawn apart from what stays."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tui_prune import formatting
from tui_prune.plots import bars, svg
from tui_prune.plots.binning import Bins, binned
from tui_prune.plots.spans import Row, blank, overlaid


@dataclass(frozen=True, eq=False)
class Chart:
    """Bars of equal width between `low` and `high`."""

    heights: np.ndarray
    gone: np.ndarray
    """How much of each bar stands for what goes."""
    low: float
    high: float
    figure: Callable[[float], str]
    """How a height is written."""
    marks: dict[float, str] = field(default_factory=dict)
    """What is written below the bars; figures where there is nothing."""
    log: bool = False
    line: float | None = None
    """A threshold that is drawn in."""
    words: str = ""
    """What is said where there is nothing to draw."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """The chart in cells; plain roles, with colours or without."""
        if not len(self.heights) or not np.any(self.heights):
            return blank(width, height, self.words)
        if width < bars.LEAST_WIDTH or height < bars.LEAST_HEIGHT:
            return blank(width, height)
        columns = 2 * (width - bars.LABEL)
        at = ((np.arange(columns) + 0.5) * len(self.heights) / columns).astype(int)
        places = self.low + (np.arange(columns) + 0.5) / columns * (self.high - self.low)
        rows = bars.bars(
            places,
            self._scaled(self.heights)[at],
            self._scaled(self.gone)[at],
            limits=(self.low, self.high),
            below=self._below(width),
            beside=self._beside(height),
            size=(width, height),
        )
        return self._with_line(rows, width, height)

    def svg(self, width: int, height: int) -> list[str]:
        """The chart in points."""
        if not len(self.heights) or not np.any(self.heights):
            return [svg.text(width / 2, height / 2, self.words, "note", anchor="middle")]
        left, right, ground = svg.LEFT, width, height - svg.BELOW
        heights, gone = self._scaled(self.heights), self._scaled(self.gone)
        low, high = self._limits()

        def up(value: float) -> float:
            return ground - (value - low) / (high - low) * (ground - svg.ABOVE)

        def across(place: float) -> float:
            return left + (place - self.low) / (self.high - self.low) * (right - left)

        places = np.linspace(left, right, len(heights) + 1).tolist()
        made = [
            svg.steps(places, [up(value) for value in heights], up(0.0), "bar"),
            svg.steps(places, [up(value) for value in gone], up(0.0), "go"),
            svg.line(left, ground, right, ground, "note"),
        ]
        for place, label in self._below(bars.LABEL + int((right - left) / svg.LETTER)):
            anchor = "start" if place <= self.low else "end" if place >= self.high else "middle"
            made.append(svg.text(across(place), ground + svg.BELOW - 6, label, "note", anchor=anchor))
        beside = self._beside(height // 16)
        made += [svg.text(left - 8, up(at) + 4, label, "note", anchor="end") for at, label in beside]
        if self.line is not None and self.low <= self.line <= self.high:
            at = across(self.line)
            near_end = at + svg.LETTER * (len(self._said()) + 2) > right
            made.append(svg.line(at, svg.ABOVE - 4, at, ground, "mark"))
            made.append(
                svg.text(at + (-6 if near_end else 6), 12, self._said(), "mark", anchor="end" if near_end else "start")
            )
        return made

    def svg_height(self, width: int, height: int) -> int:
        """All of it."""
        return height

    def _with_line(self, rows: tuple[Row, ...], width: int, height: int) -> tuple[Row, ...]:
        if self.line is None or not self.low <= self.line <= self.high:
            return rows
        share = (self.line - self.low) / (self.high - self.low)
        place = bars.LABEL + min(int(share * (width - bars.LABEL)), width - bars.LABEL - 1)
        made = [overlaid(row, place, "│", "mark") if number < height - 2 else row for number, row in enumerate(rows)]
        said = self._said()
        start = place + 1 if place + 1 + len(said) <= width else place - len(said)
        if start >= bars.LABEL:
            made[0] = overlaid(made[0], start, said, "mark")
        return tuple(made)

    def _said(self) -> str:
        return f" cut below {self.line:.3g} "

    def _limits(self) -> tuple[float, float]:
        heights = self._scaled(self.heights)
        low, high = min(0.0, float(heights.min())), float(heights.max())
        return low, high if high > low else low + 1.0

    def _scaled(self, heights: np.ndarray) -> np.ndarray:
        """Heights as they are drawn: on a logarithmic scale the least one that is more than nothing still shows."""
        if not self.log:
            return heights
        least, pad = self._least()
        with np.errstate(all="ignore"):
            return np.where(heights > 0, np.maximum(np.log10(heights / least), 0.0) + pad, 0.0)

    def _least(self) -> tuple[float, float]:
        positive = self.heights[self.heights > 0]
        if not len(positive):
            return 1.0, 0.0
        decades = math.log10(positive.max() / positive.min())
        return float(positive.min()), max(0.08 * decades, 0.05)

    def _below(self, width: int) -> list[tuple[float, str]]:
        if self.marks:
            return _apart(sorted(self.marks.items()), (self.low, self.high), width)
        count = max(2, min(7, width // 14))
        places = np.linspace(self.low, self.high, count)
        return [(float(place), short(place, self.high - self.low)) for place in places]

    def _beside(self, height: int) -> list[tuple[float, str]]:
        """Figures at the left, at heights as they are drawn."""
        low, high = self._limits()
        if not self.log:
            return [(low, self.figure(low)), (high, self.figure(high))]
        least, pad = self._least()
        top = least * 10 ** (high - pad)
        powers = range(math.ceil(math.log10(least)), math.ceil(math.log10(top)))
        values = [10.0**power for power in powers if least * 2 < 10.0**power < top / 2]
        every = max(1, -(-len(values) // max(1, height // 3)))
        inner = [(math.log10(value / least) + pad, self.figure(value)) for value in values[::every]]
        return [(pad, self.figure(least)), *inner, (high, self.figure(top))]


def bins_for(width: int, total: int) -> int:
    """How many bins suit so many values in a histogram of this width: at most one for each half cell."""
    return max(1, min(2 * (width - bars.LABEL), round(2.5 * math.sqrt(total))))


def histogram(bins: Bins, *, log: bool = False, kept: np.ndarray | None = None) -> Chart:
    """Bars of counts; with the counts of what is `kept`, the rest of each bar is drawn as going."""
    counts = np.asarray(bins.counts, dtype=float)
    gone = np.zeros_like(counts) if kept is None else np.maximum(counts - kept, 0.0)
    return Chart(counts, gone, bins.low, bins.high, formatting.count, log=log, words="no finite values")


def stacked(
    values: np.ndarray,
    kept: np.ndarray,
    bins: int,
    *,
    log: bool = False,
    central: bool = False,
    line: float | None = None,
) -> Chart:
    """Bars of counts of which what goes is drawn apart; `line` is a threshold to draw in."""
    whole = binned(values, bins, central=central)
    gone, _ = np.histogram(values[~kept & np.isfinite(values)], bins=bins, range=(whole.low, whole.high))
    counts = np.asarray(whole.counts, dtype=float)
    return Chart(
        counts,
        gone.astype(float),
        whole.low,
        whole.high,
        formatting.count,
        log=log,
        line=line,
        words="no finite values",
    )


def scores(values: np.ndarray, kept: np.ndarray | None = None, *, log: bool = False) -> Chart:
    """The channels of a layer from the least to the most important, one bar each."""
    values = np.asarray(values, dtype=np.float64).ravel()
    kept = np.ones(len(values), bool) if kept is None else np.asarray(kept, bool).ravel()
    finite = np.isfinite(values)
    values, kept = values[finite], kept[finite]
    order = np.lexsort((values, kept)) if _cut_is_lowest(values, kept) else np.argsort(values, kind="stable")
    values, kept = values[order], kept[order]
    cut = int((~kept).sum())
    marks = {0.0: "0", float(len(values)): str(len(values))}
    if 0 < cut < len(values) and not kept[:cut].any():
        marks[float(cut)] = f"cut {cut}"
    return Chart(
        values,
        np.where(kept, 0.0, values),
        0.0,
        float(max(1, len(values))),
        (lambda height: f"{height:.1g}") if log else (lambda height: short(height, float(np.ptp(values)))),
        marks,
        log,
        words="no finite scores" if not len(values) else "all scores are 0",
    )


def short(value: float, span: float) -> str:
    """Three digits of a place on an axis; what is next to nothing on it is 0."""
    return "0" if abs(value) < 1e-4 * span else f"{value:.3g}"


def _cut_is_lowest(values: np.ndarray, kept: np.ndarray) -> bool:
    """Whether no channel that goes has a better score than one that stays; then a tie is no reason to mix them."""
    return not kept.any() or bool(kept.all()) or bool(values[~kept].max() <= values[kept].min())


def _apart(ticks: list[tuple[float, str]], limits: tuple[float, float], width: int) -> list[tuple[float, str]]:
    """The ticks whose labels don't run into each other; the one in the middle matters most."""
    if len(ticks) < 3:
        return ticks
    first, middle, last = ticks
    cells = (width - bars.LABEL) / (limits[1] - limits[0])
    room = len(middle[1]) / 2 + 2
    kept = [middle]
    if (middle[0] - first[0]) * cells > room + len(first[1]):
        kept.insert(0, first)
    if (last[0] - middle[0]) * cells > room + len(last[1]):
        kept.append(last)
    return kept
