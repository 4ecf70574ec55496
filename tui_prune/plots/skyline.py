"""A skyline: a column for each of many things in a row, as high as what it costs; solid for what is kept."""

from collections.abc import Sequence
from typing import NamedTuple

from tui_prune.plots.spans import Row, Span

STEPS = " ▁▂▃▄▅▆▇█"
KEPT = "kept"
WIDEST = 6
"""Cells of a column at the most."""


class Column(NamedTuple):
    """What one thing costs, uncut and cut, and what its cut part is drawn with."""

    before: float
    after: float
    hatch: str = "░"
    ink: str = "go"


class Places(NamedTuple):
    """Where the columns stand: `each` cells wide with `gap` after, `pooled` things in each."""

    each: int
    gap: int
    pooled: int

    def of(self, index: int) -> range:
        """The cells of a thing."""
        start = index // self.pooled * (self.each + self.gap)
        return range(start, start + self.each)


def places(count: int, width: int) -> Places:
    """How so many columns fit: with gaps, then without; then several things share one."""
    if count < 1 or width < 1:
        return Places(1, 0, max(count, 1))
    if 2 * count - 1 <= width:
        return Places(min(WIDEST, (width + 1) // count - 1), 1, 1)
    return Places(1, 0, -(-count // width))


def skyline(columns: Sequence[Column], width: int, height: int) -> tuple[Row, ...]:
    """The columns in cells; the highest one fills them, and what costs anything can be seen."""
    where = places(len(columns), width)
    pooled = [_together(columns[start : start + where.pooled]) for start in range(0, len(columns), where.pooled)]
    most = max((column.before for column in pooled), default=0.0)
    if not most or height < 1:
        return ((),) * max(0, height)
    heights = [
        (_eighths(column.after, most, height), -(-_eighths(column.before, most, height) // 8)) for column in pooled
    ]
    rows = []
    for row in range(height - 1, -1, -1):
        spans = []
        for column, (kept, top) in zip(pooled, heights, strict=True):
            solid, cut = min(8, max(0, kept - 8 * row)), row < top and column.after < column.before
            if cut and solid < 8 and kept > 4:  # half a cell would leave a gap below what is cut
                solid = 8 * (solid > 4)
            if solid:
                spans.append(Span(STEPS[solid] * where.each, KEPT))
            elif cut:
                spans.append(Span(column.hatch * where.each, column.ink))
            else:
                spans.append(Span(" " * where.each))
            if where.gap:
                spans.append(Span(" " * where.gap))
        rows.append(tuple(spans))
    return tuple(rows)


def sparks(values: Sequence[float | None], count: int, width: int) -> str:
    """A row of small bars at the same places, the highest one full; a dot where there is no value."""
    where = places(count, width)
    most = max((value for value in values if value is not None), default=0.0)
    drawn = ""
    for start in range(0, len(values), where.pooled):
        found = [value for value in values[start : start + where.pooled] if value is not None]
        step = 1 + round(7 * max(found) / most) if found and most > 0 else 1
        drawn += (STEPS[step] if found else "·") * where.each + " " * where.gap
    return drawn


def _together(columns: Sequence[Column]) -> Column:
    first = max(columns, key=lambda column: column.before - column.after)
    return Column(sum(one.before for one in columns), sum(one.after for one in columns), first.hatch, first.ink)


def _eighths(value: float, most: float, height: int) -> int:
    return max(1, round(8 * height * value / most)) if value > 0 else 0
