"""A layer's weights as a picture: colours for sign and size, kernels as tiles where there is room for them."""

from dataclasses import dataclass

import numpy as np

from tui_prune.plots import palette, svg
from tui_prune.plots.pixels import EMPTY, half_blocks, letters
from tui_prune.plots.spans import Row, Span, blank, fitted
from tui_prune.plots.tiling import Tiling, tiled

MARGIN = 6
"""Cells at the left: the number of an output, and a mark where outputs go."""
LEAST_WIDTH, LEAST_HEIGHT = 3 * MARGIN, 4
GOES, SOME_GO = "x", "·"
FULL = 0.995
"""The share of the points whose values the colours tell apart; those beyond have the colour of the end."""
MOST_POINTS = 800
"""Points down, at the most, where every output has its own."""
SVG_POINT, SVG_LEFT, SVG_BELOW = 5, 48, 44
"""In points of SVG: a point of the picture, and the room at the left of it and below it."""
SVG_TALLER = 3
"""How much higher an SVG may become where kernels can be shown for it."""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Weights, and which outputs and inputs stay."""

    weights: np.ndarray
    """Shape (outputs, inputs, kernel height, kernel width)."""
    rows_kept: np.ndarray
    columns_kept: np.ndarray
    zoomed: bool = False
    """Every output has its own points, and so the picture as many rows as it needs."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """Two points in each cell with colours, one letter a cell without; below them what they mean."""
        if width < LEAST_WIDTH or height < LEAST_HEIGHT or not self.weights.size:
            return blank(width, height, "" if self.weights.size else "no weights")
        lines = 2 if colors else 1
        room = 2 * (height - 2) if colors else height - 3  # letters: a row more may be needed for marks
        tiling = self._tiling(width - MARGIN, room)
        scale = _scale(tiling.values)
        points = _points(tiling, scale)
        drawn = half_blocks(points, palette.signed_palette()) if colors else _lettered(points, tiling)
        made = [
            fitted((*self._margin(tiling, line * lines, lines), *row), width)
            for line, row in enumerate(drawn[: None if self.zoomed else height - 2])
        ]
        return (*made, (Span(" " * width),), fitted(self._legend(tiling, scale, colors), width))

    def svg(self, width: int, height: int) -> list[str]:
        """A rectangle for each run of points of the same colour."""
        if not self.weights.size:
            return [svg.text(width / 2, height / 2, "no weights", "note", anchor="middle")]
        tiling = self._svg_tiling(width, height)
        scale = _scale(tiling.values)
        made = svg.points(_points(tiling, scale), palette.signed_palette(), SVG_LEFT, 0, SVG_POINT)
        marks = np.array([f" {SOME_GO}{GOES}".index(self._mark(tiling, at, 1)) for at in range(len(tiling.values))])
        made += svg.points(marks[:, None] - 1, [svg.INKS["go"], svg.INKS["mark"]], SVG_LEFT - 12, 0, SVG_POINT)
        ends = tiling.outputs[0, 0], tiling.outputs[-1, 1] - 1
        made.append(svg.text(SVG_LEFT - 16, 10, str(ends[0]), "note", anchor="end"))
        if len(tiling.values) * SVG_POINT > 30 and not tiling.strips:
            made.append(svg.text(SVG_LEFT - 16, len(tiling.values) * SVG_POINT, str(ends[1]), "note", anchor="end"))
        return made + self._svg_legend(tiling, scale, len(tiling.values) * SVG_POINT + 30)

    def svg_height(self, width: int, height: int) -> int:
        """What the picture takes of a height."""
        if not self.weights.size:
            return height
        return len(self._svg_tiling(width, height).values) * SVG_POINT + SVG_BELOW

    def _svg_tiling(self, width: int, height: int) -> Tiling:
        across, down = max(8, (width - SVG_LEFT) // SVG_POINT), max(8, (height - SVG_BELOW) // SVG_POINT)
        tall = self._tiling(across, SVG_TALLER * down)
        return tall if tall.empty.any() or tall.block == (1, 1) else self._tiling(across, down)

    def _tiling(self, width: int, height: int) -> Tiling:
        if self.zoomed:
            height = MOST_POINTS
        tiling = tiled(self.weights, self.rows_kept, self.columns_kept, width, height)
        if self.zoomed and tiling.block[0] > 1:
            return tiled(self.weights[:height], self.rows_kept[:height], self.columns_kept, width, height)
        return tiling

    def _margin(self, tiling: Tiling, at: int, lines: int) -> list[Span]:
        """The number of the first output of a row, where there is room to say it, and whether outputs of it go."""
        firsts = tiling.outputs[:, 0]
        if at >= len(firsts):
            return [Span(" " * MARGIN)]
        new = at == 0 or firsts[at] != firsts[at - lines]
        tall = len(firsts) > 1 and at + 2 * lines < len(firsts) and firsts[at] == firsts[at + 2 * lines]
        number = str(firsts[at]) if new and (tall or tiling.strips or at // lines % 4 == 0) else ""
        mark = self._mark(tiling, at, lines)
        return [Span(f"{number:>{MARGIN - 2}}"), Span(mark, "mark" if mark == GOES else "note"), Span(" ")]

    def _mark(self, tiling: Tiling, at: int, lines: int) -> str:
        """Whether the outputs of some lines of points go: all, some, or none of them."""
        if tiling.strips:
            return " "
        ends = tiling.outputs[at : at + lines]
        kept = self.rows_kept[ends.min() : ends.max()]
        return " " if kept.all() else SOME_GO if kept.any() else GOES

    def _legend(self, tiling: Tiling, scale: float, colors: bool) -> list[Span]:
        ramp = [Span("█", color) for color in palette.SIGNED]
        if not colors:
            ramp = [Span(palette.signed_letters()[: len(palette.SIGNED)], "bar")]
        said = "".join(f"   {words}" for words in self._said(tiling, colors))
        return [Span(" " * MARGIN), Span(f"{-scale:.2g} "), *ramp, Span(f" {scale:.2g}"), Span(said)]

    def _svg_legend(self, tiling: Tiling, scale: float, top: float) -> list[str]:
        low, high = f"{-scale:.2g}", f"{scale:.2g}"
        start = SVG_LEFT + svg.LETTER * (len(low) + 1)
        made = [svg.text(SVG_LEFT, top, low, "note")]
        made += [svg.rect(start + 12 * at, top - 10, 12, 12, color) for at, color in enumerate(palette.SIGNED)]
        words = "   ".join([high, *self._said(tiling, True)])
        return [*made, svg.text(start + 12 * len(palette.SIGNED) + svg.LETTER, top, words, "note")]

    def _said(self, tiling: Tiling, colors: bool) -> list[str]:
        """What a point is, where it isn't one weight that stays."""
        said = []
        shown = int(tiling.outputs[-1, 1])
        if shown < len(self.weights):
            said.append(f"the first {shown} of {len(self.weights)} outputs")
        gone = palette.goes(tiling.kept) if colors else tiling.kept.max(axis=1) == 0
        if gone.any() or (tiling.strips and not self.rows_kept.all()):
            said.append("grey goes" if colors else f"{GOES} goes")
        elif not self.rows_kept.all():
            said.append(f"{SOME_GO} some go")
        if tiling.block != (1, 1):
            down, across = (f"{size:.3g}" for size in tiling.block)
            said.append(f"a point: mean of {down} x {across}")
        if not np.isfinite(tiling.values).all():
            broken = int((~np.isfinite(self.weights)).sum())
            said.append(f"{broken} not finite " + ("(pink)" if colors else f"({palette.BROKEN})"))
        return said


def _scale(values: np.ndarray) -> float:
    """The size of a value that has the strongest colour."""
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size or not sizes.max():
        return 1.0
    return float(np.quantile(sizes, FULL)) or float(sizes.max())


def _points(tiling: Tiling, scale: float) -> np.ndarray:
    return np.where(tiling.empty, EMPTY, palette.signed_colors(tiling.values, scale, tiling.kept))


def _lettered(points: np.ndarray, tiling: Tiling) -> tuple[Row, ...]:
    """Letters; below a kernel that goes, where several outputs stand beside each other, is a mark."""
    rows = letters(points, palette.signed_letters())
    if not tiling.strips:
        return rows
    made = [rows[0]]
    for line in range(1, len(rows) + 1):
        if line < len(rows) and not tiling.empty[line].all():
            made.append(rows[line])
        elif tiling.empty.any():
            gone = (tiling.kept[line - 1] == 0) & ~tiling.empty[line - 1]
            made.append((Span("".join(GOES if one else " " for one in gone), "mark"),))
    return tuple(made)
