"""Rails beside the rows of the tree, as `git log --graph` has them.

They join the rows of layers whose channels stand and fall together.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

MOST_LANES = 3
"""Rails beside each other. Groups beyond are marked by a sign, not by a rail."""
STARTS, GOES_ON, JOINS, ENDS, CROSSES, LEADS = "╭", "│", "├", "╰", "┼", "─"
LIT = "◆"
"""In place of the last stroke of a rail, before a row that is tied to the one under the cursor."""


class Rails(NamedTuple):
    """What stands before each row, and which groups are drawn."""

    before: tuple[str, ...]
    groups: frozenset[int]

    @property
    def width(self) -> int:
        """The columns that they take."""
        return len(self.before[0]) if self.before else 0


def rails(groups_of_rows: Sequence[Collection[int]]) -> Rails:
    """Rails for rows, of which each has layers of some groups.

    A group has a rail where at least two rows have layers of it. Rails that start earlier stand further to the left,
    and a lane is used again below the end of the rail in it.
    """
    spans: dict[int, tuple[int, int]] = {}
    for row, groups in enumerate(groups_of_rows):
        for group in groups:
            spans[group] = spans.get(group, (row, row))[0], row
    wanted = sorted((first, -last, group) for group, (first, last) in spans.items() if last > first)
    lanes: list[list[tuple[int, int, int]]] = []
    for first, minus_last, group in wanted:
        lane = next((lane for lane in lanes if lane[-1][1] < first), None)
        if lane is None and len(lanes) < MOST_LANES:
            lane = []
            lanes.append(lane)
        if lane is not None:
            lane.append((first, -minus_last, group))
    strokes = [[" "] * len(lanes) for _ in groups_of_rows]
    for place, lane in enumerate(lanes):
        for first, last, group in lane:
            for row in range(first, last + 1):
                joins = group in groups_of_rows[row]
                strokes[row][place] = STARTS if row == first else ENDS if row == last else JOINS if joins else GOES_ON
    drawn = frozenset(group for lane in lanes for _, _, group in lane)
    return Rails(tuple(_line(row) for row in strokes) if lanes else (), drawn)


def _line(strokes: Iterable[str]) -> str:
    """The strokes of a row, with a line from the first one that joins to the row."""
    line, leading = "", False
    for stroke in strokes:
        if leading:
            stroke = {" ": LEADS, GOES_ON: CROSSES}.get(stroke, stroke)
        line += stroke
        leading = leading or stroke in (STARTS, JOINS, ENDS)
    return line + (LEADS if leading else " ")
