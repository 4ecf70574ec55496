"""The Sensitivity tab: what the task says of the network with each layer alone cut, layer by ratio."""

from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line, left, right, tail, wrap
from tui_prune.formatting import score, share

if TYPE_CHECKING:
    from tui_prune.search.sensitivity import Curve, Sensitivity

COLUMN = 9
"""Columns of one ratio: a mark, and a figure such as 98.9 %."""
STEPS = ((0.01, "░", "dim"), (0.05, "▒", "plain"), (0.2, "▓", "strong"), (float("inf"), "█", "error"))
"""How much of the score is lost, up to; the mark that says so without a colour; its style."""

EMPTY = (
    "Each layer is cut alone, at several ratios, and the cut network is asked of your task: so it shows which layers "
    "can bear it. What was measured is kept, so a scan that was stopped goes on."
)


RUNS = "The scan is on its way; esc stops it."


def points_there(found: "Sensitivity") -> str:
    """How far a scan is: "9 of 40 points"."""
    return f"{round(found.done * found.total)} of {found.total} points"


def sensitivity_lines(
    found: "Sensitivity | None", has_task: bool, width: int, *, runs: bool = False
) -> tuple[Line, ...]:
    """The scan as far as it got, or how to start one; `runs`: that is done already."""
    if found is None:
        how = RUNS if runs else "n starts the scan, esc stops it." if has_task else "It needs a task: n asks for one."
        return tuple((Cell(piece, "dim"),) for piece in (*wrap(EMPTY, width - 2), "", *wrap(how, width - 2)))
    names = max(len("cut alone"), *(len(curve.layer) for curve in found.curves)) if found.curves else len("cut alone")
    names = max(8, min(names, width - COLUMN * len(found.ratios) - 2))
    header = left("cut alone", names) + "".join(right(share(ratio, 1), COLUMN) for ratio in found.ratios)
    said = f"uncut {score(found.baseline, found.baseline)}"
    if found.recalibrated:
        said += f", recalibrated {score(found.reference, found.baseline)}; each point is recalibrated, too"
    legend = "   ".join(f"{mark} {words}" for (_, mark, _), words in zip(STEPS, _LEGEND, strict=True))
    above, below = (
        [(Cell(piece, "dim"),) for piece in wrap(words, width - 2)] for words in (said, f"lost of the score: {legend}")
    )
    rows = [_row(curve, found, names) for curve in found.curves]
    if found.done < 1 and not runs:
        below.append((Cell(f"{points_there(found)}; n goes on", "strong"),))
    return (*above, (), (Cell(header, "header"),), *rows, (), *below)


_LEGEND = ("under 1 %", "under 5 %", "under 20 %", "more")


def _row(curve: "Curve", found: "Sensitivity", names: int) -> Line:
    cells = [Cell(tail(curve.layer, names))]
    known = {point.ratio: point.score for point in curve.points}
    for ratio in found.ratios:
        if ratio not in known:
            cells.append(Cell(right("·", COLUMN), "dim"))
            continue
        lost = (found.reference - known[ratio]) / (abs(found.reference) or 1.0)
        _, mark, style = next(step for step in STEPS if lost < step[0])
        cells.append(Cell(right(f"{mark}{right(score(known[ratio], found.baseline), 7)}", COLUMN), style))
    return tuple(cells)
