"""Bars on a floor, seen at a slant from above: which of their sides are in sight, and where they come to lie."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

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
