"""The sizes of a layer's weights as bars on a floor that can be turned."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from tui_prune.plots import palette, svg
from tui_prune.plots.pixels import half_blocks, letters
from tui_prune.plots.pooling import pooled, pooled_shares, starts
from tui_prune.plots.raster import painted
from tui_prune.plots.scene import View
from tui_prune.plots.spans import Row, Span, blank, fitted, overlaid, text_of

LEAST_WIDTH, LEAST_HEIGHT = 24, 8
ANGLE, STEP = 30, 15
"""Degrees: how the floor is turned at first, and by how much a key turns it."""
BAR, SVG_BAR, MOST = 4.0, 20.0, 32
"""Points across that a bar takes, about, in cells and in SVG, and how many there are at the most, each way."""
SVG_BELOW = 34
LETTERS = "▒█▓"
"""Without colours: the top of a bar, its left and its right side."""
GONE_LETTERS = "·::"
"""The same of a bar that goes."""


class _Bars(NamedTuple):
    """Mean sizes of weights, shape (rows, columns), and the share of each that stays."""

    sizes: np.ndarray
    kept: np.ndarray
    block: tuple[float, float]

    @property
    def range(self) -> tuple[float, float]:
        """The sizes of no height and of full height. Sizes that are all much the same don't begin at 0."""
        finite = self.sizes[np.isfinite(self.sizes)]
        if not finite.size:
            return 0.0, 0.0
        low, high = float(finite.min()), float(finite.max())
        return (low - 0.1 * (high - low) if high > low > high / 3 else 0.0), high

    @property
    def heights(self) -> np.ndarray:
        """0 to 1; what isn't finite stays so."""
        low, high = self.range
        return (self.sizes - low) / ((high - low) or 1.0)


@dataclass(frozen=True, eq=False)
class Surface:
    """Weights, and which outputs and inputs stay."""

    weights: np.ndarray
    """Shape (outputs, inputs, kernel height, kernel width)."""
    rows_kept: np.ndarray
    columns_kept: np.ndarray
    angle: int = ANGLE
    """Degrees by which the floor is turned, any whole number."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """Bars in half blocks, or in letters without colours; below them what they mean."""
        if width < LEAST_WIDTH or height < LEAST_HEIGHT or not self.weights.size:
            return blank(width, height, "" if self.weights.size else "no weights")
        tall, lines = height - 2, 2 if colors else 1
        view = View(self.angle, width, 2 * tall - 2)  # the last line of points is for labels
        bars = self._bars(view, BAR)
        numbered = ((corners * (1, lines / 2), number) for corners, number in _numbered(view, bars))
        drawn = painted(numbered, width, tall * lines)
        rows = list(half_blocks(drawn, palette.height_palette()) if colors else letters(drawn, _alphabet()))
        for words, x, y, ends in view.labels("inputs", "outputs"):
            _write(rows, words, round(x - len(words) if ends else x), round(y / 2))
        low, high = (f"{size:.2g}" for size in bars.range)
        ramp = [Span("█", color) for color in palette.TOPS] if colors else [Span("to")]
        legend = [Span(f"{low} "), *ramp, Span("   ".join([f" {high}", *self._said(bars, colors)]))]
        return (*(fitted(row, width) for row in rows), (Span(" " * width),), fitted(legend, width))

    def svg(self, width: int, height: int) -> list[str]:
        """The same as polygons."""
        if not self.weights.size:
            return [svg.text(width / 2, height / 2, "no weights", "note", anchor="middle")]
        view = View(self.angle, width, height - 2 * SVG_BELOW)
        bars = self._bars(view, SVG_BAR)
        made = svg.polygons(_numbered(view, bars), palette.height_palette())
        for words, x, y, ends in view.labels("inputs", "outputs"):
            made.append(svg.text(x, y + 10, words, "note", anchor="end" if ends else "start"))
        top = height - 8
        low, high = (f"{size:.2g}" for size in bars.range)
        start = svg.LETTER * (len(low) + 1)
        made.append(svg.text(0, top, low, "note"))
        made += [svg.rect(start + 12 * at, top - 10, 12, 12, color) for at, color in enumerate(palette.TOPS)]
        words = "   ".join([high, *self._said(bars, True)])
        return [*made, svg.text(start + 12 * len(palette.TOPS) + svg.LETTER, top, words, "note")]

    def svg_height(self, width: int, height: int) -> int:
        """All of it."""
        return height

    def _bars(self, view: View, size: float) -> _Bars:
        """As many bars as have room, or one for each weight where there are fewer."""
        most = max(2, min(MOST, int(view.scales[0] / size)))
        outputs, inputs, *kernel = self.weights.shape
        places = int(np.prod(kernel))
        down = starts(outputs, most)
        across = starts(inputs, most) * places if inputs >= most else starts(inputs * places, most)
        sizes = pooled(self.weights.reshape(outputs, inputs * places), down, across, sizes=True)
        shares = pooled_shares(np.repeat(self.columns_kept, places), across)
        kept = pooled_shares(self.rows_kept, down)[:, None] * shares[None, :]
        return _Bars(sizes, kept, (outputs / len(down), inputs * places / len(across)))

    def _said(self, bars: _Bars, colors: bool) -> list[str]:
        said = ["grey goes" if colors else f"{GONE_LETTERS[0]} goes"] if palette.goes(bars.kept).any() else []
        if bars.block != (1, 1):
            down, across = (f"{size:.3g}" for size in bars.block)
            said.append(f"a bar: mean size of {down} x {across}")
        if not np.isfinite(bars.sizes).all():
            said.append("not finite: " + ("pink" if colors else palette.BROKEN))
        return said


def _numbered(view: View, bars: _Bars) -> list[tuple[np.ndarray, int]]:
    """The faces in sight, with the numbers of their colours."""
    heights = bars.heights
    numbers = palette.height_colors(heights, bars.kept)
    finite = np.isfinite(heights)
    return [
        (face.corners, int(numbers[face.row, face.column]) + face.side * int(finite[face.row, face.column]))
        for face in view.faces(np.where(finite, heights, 0.0))
    ]


@cache
def _alphabet() -> str:
    return LETTERS * len(palette.HEIGHTS) + GONE_LETTERS * len(palette.HEIGHTS) + palette.BROKEN


def _write(rows: list[Row], words: str, x: int, y: int) -> None:
    """Put words in a row where there is nothing else."""
    if 0 <= y < len(rows) and x >= 0 and not text_of(rows[y])[x : x + len(words) + 1].strip():
        rows[y] = overlaid(rows[y], x, words, "note")
