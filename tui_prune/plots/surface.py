"""The sizes of a layer's weights as bars on a floor that can be turned, seen at a slant from above."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from tui_prune.plots import palette, svg
from tui_prune.plots.pixels import half_blocks, letters, painted
from tui_prune.plots.spans import Row, Span, blank, fitted, overlaid, text_of
from tui_prune.plots.tiling import pooled, pooled_shares, starts

SLANT = math.radians(28)
"""How far above the floor the eye is."""
TALLEST = 0.55
"""The highest bar, of the floor's side."""
STRETCH = 1.6
"""How much wider the picture may be drawn than it is, to fill its room."""
REACH = math.sqrt(0.5)
"""From the middle of the floor to a corner, of the floor's side."""

TOP, LEFT, RIGHT = range(3)
"""The sides of a bar that are in sight: what looks up, to the left and to the right."""


class Face(NamedTuple):
    """One side of a bar: its corners on the screen, shape (4, 2), x and y; the bar's row and column; which side."""

    corners: np.ndarray
    row: int
    column: int
    side: int


class Label(NamedTuple):
    """Words that begin at a place of the screen, or end there."""

    words: str
    x: float
    y: float
    ends: bool


@dataclass(frozen=True)
class View:
    """A square floor, turned by an angle in degrees, within a width and a height."""

    angle: float
    width: float
    height: float

    @property
    def scales(self) -> tuple[float, float]:
        """What the side of the floor is on the screen, across and down; the same for every angle."""
        down = self.height / (2 * REACH * math.sin(SLANT) + TALLEST * math.cos(SLANT))
        across = min(self.width / (2 * REACH), STRETCH * down)
        return across, min(down, across)

    @property
    def turn(self) -> tuple[float, float]:
        """Cosine and sine of the angle."""
        return math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far from the eye a place of the floor is."""
        cosine, sine = self.turn
        return x * sine + y * cosine

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) come to lie on the screen, shape (n, 2): x, y from -0.5 to 0.5, heights from 0 to 1."""
        cosine, sine = self.turn
        across, down = self.scales
        x, y, up = points.T
        right = x * cosine - y * sine
        lower = -self.depth(x, y) * math.sin(SLANT) - up * TALLEST * math.cos(SLANT)
        top = REACH * math.sin(SLANT) + TALLEST * math.cos(SLANT)
        return np.stack([self.width / 2 + right * across, (top + lower) * down], axis=1)

    def faces(self, heights: np.ndarray) -> Iterator[Face]:
        """All that can be seen of bars of heights 0 to 1, in rows along y and columns along x; the farthest first."""
        rows, columns = heights.shape
        xs, ys = np.linspace(-0.5, 0.5, columns + 1), np.linspace(-0.5, 0.5, rows + 1)
        cosine, sine = self.turn
        near_x, near_y = (xs[1:] if sine < 0 else xs[:-1]), (ys[1:] if cosine < 0 else ys[:-1])
        # Of the two sides that look to the eye the one looks to the left, and the other to the right.
        side_x, side_y = (LEFT, RIGHT) if cosine * sine > 0 else (RIGHT, LEFT)
        depths = self.depth(*np.meshgrid((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2))
        for place in np.argsort(-depths, axis=None, kind="stable"):
            row, column = divmod(int(place), columns)
            tall, x, y = float(heights[row, column]), near_x[column], near_y[row]
            (left, right), (front, back) = xs[column : column + 2], ys[row : row + 2]
            if tall > 0 and abs(sine) > 1e-6:
                yield Face(self._wall([(x, front), (x, back)], tall), row, column, side_x)
            if tall > 0 and abs(cosine) > 1e-6:
                yield Face(self._wall([(left, y), (right, y)], tall), row, column, side_y)
            top = [(left, front, tall), (right, front, tall), (right, back, tall), (left, back, tall)]
            yield Face(self.seen(np.array(top)), row, column, TOP)

    def labels(self, along_x: str, along_y: str) -> list[Label]:
        """Names of the floor's edges that are nearest to the eye, and a 0 where rows and columns begin."""
        cosine, sine = self.turn
        places = np.array([(0, -math.copysign(0.54, cosine), 0), (-math.copysign(0.54, sine), 0, 0), (-0.54, -0.54, 0)])
        words = along_x, along_y, "0"
        return [
            Label(said, float(x), float(y), bool(x < self.width / 2))
            for said, (x, y) in zip(words, self.seen(places), strict=True)
        ]

    def _wall(self, ends: list[tuple[float, float]], tall: float) -> np.ndarray:
        corners = [(*end, 0.0) for end in ends] + [(*end, tall) for end in reversed(ends)]
        return self.seen(np.array(corners))


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
