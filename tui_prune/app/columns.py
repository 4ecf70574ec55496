"""Fitting things into a width: columns of a table, and words of a line that may be said shorter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from tui_prune.app.cells import Cell, Line, width_of


@dataclass(frozen=True)
class Column:
    """A column of a table; the one with the lowest rank is the last to go when there is no room."""

    name: str
    width: int
    rank: int
    least: int | None = None
    """How far it may be narrowed before another one goes; None: not at all."""


@lru_cache(maxsize=256)  # it is asked for every row
def fit(columns: tuple[Column, ...], width: int, gap: int = 1) -> Mapping[str, int]:
    """Which columns there is room for, and how wide each is; a narrowed one gets the room that is left over."""
    chosen: list[Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        least = sum(_least(one) for one in [*chosen, column]) + gap * len(chosen)
        if least <= width or not chosen:
            chosen.append(column)
    spare = width - sum(_least(column) for column in chosen) - gap * (len(chosen) - 1)
    widths = {}
    for column in chosen:  # by rank
        more = max(0, min(column.width - _least(column), spare))
        widths[column.name] = _least(column) + more
        spare -= more
    return MappingProxyType({column.name: widths[column.name] for column in columns if column.name in widths})


def _least(column: Column) -> int:
    return column.width if column.least is None else min(column.least, column.width)


@dataclass(frozen=True)
class Part:
    """A part of a line in several lengths, the longest first.

    When there is no room, first all parts are shortened, then they go; the one with the highest rank first.
    """

    rank: int
    variants: tuple[Line, ...]


def compose(parts: Sequence[Part], width: int, gap: int = 3) -> Line:
    """The parts beside each other, as long or short as the width allows; a part whose variant is empty isn't there."""
    parts = [part for part in parts if part.variants and part.variants[0]]
    chosen: dict[int, int | None] = dict.fromkeys(range(len(parts)), 0)
    by_rank = sorted(range(len(parts)), key=lambda index: -parts[index].rank)

    def line() -> Line:
        said = [parts[index].variants[variant] for index, variant in chosen.items() if variant is not None]
        said = [variant for variant in said if variant]
        cells: list[Cell] = []
        for variant in said:
            cells += [Cell(" " * gap)] * bool(cells) + list(variant)
        return tuple(cells)

    for index in by_rank:
        for variant in range(1, len(parts[index].variants)):
            if width_of(line()) > width:
                chosen[index] = variant
    for index in by_rank:
        if width_of(line()) > width:
            chosen[index] = None
    return line()
