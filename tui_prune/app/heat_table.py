"""The Sensitivity tab: how wrong the network gets with each layer alone cut, and what the task says of it then."""

from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line, left, right, tail, wrap
from tui_prune.formatting import error, score, seconds, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_prune.search.curves import ErrorCurves
    from tui_prune.search.sensitivity import Curve, Sensitivity
    from tui_prune.workers import WorkerState

BAR = 8
"""Cells of a worker's bar."""
COLUMN = 9
"""Columns of one ratio: a mark, and a figure such as 98.9 %."""
STEPS = ((0.01, "░", "dim"), (0.05, "▒", "plain"), (0.2, "▓", "strong"), (float("inf"), "█", "error"))
"""How much of the score is lost, up to; the mark that says so without a colour; its style."""

ERRORS = ((0.02, "░", "dim"), (0.1, "▒", "plain"), (0.3, "▓", "strong"), (float("inf"), "█", "error"))
"""The same of the outputs' error."""
RATIOS = (0.25, 0.5, 0.7, 0.85, 0.95)
"""At which errors are shown."""
CUT_ALONE = "cut alone"

EMPTY = (
    "Each layer is cut alone, at several ratios, and the cut network is asked of your task: so it shows which layers "
    "can bear it. What was measured is kept, so a scan that was stopped goes on."
)


RUNS = "The scan is on its way; esc stops it."


def worker_lines(states: "Sequence[WorkerState]") -> tuple[Line, ...]:
    """A line for each worker: where it is, its point, how far that is, and how long it will take."""
    lines: list[Line] = []
    names = max((len(state.device) for state in states), default=0)
    for number, state in enumerate(states, 1):
        cells = [Cell(f"worker {right(str(number), len(str(len(states))))}  {left(state.device, names)}  ", "dim")]
        if state.point is None:
            lines.append((*cells, Cell("starts, or waits", "dim")))
            continue
        bar = "▰" * int(BAR * state.done) + "▱" * (BAR - int(BAR * state.done))
        cells.append(Cell(f"point {right(str(state.point + 1), 4)}  {bar}"))
        if state.left is not None:
            cells.append(Cell(f"  {seconds(state.left)} left", "dim"))
        lines.append(tuple(cells))
    return (*lines, ()) if lines else ()


def points_there(found: "Sensitivity") -> str:
    """How far a scan is: "9 of 40 points"."""
    return f"{round(found.done * found.total)} of {found.total} points"


def sensitivity_lines(
    found: "Sensitivity | None",
    has_task: bool,
    width: int,
    *,
    runs: bool = False,
    errors: "ErrorCurves | None" = None,
) -> tuple[Line, ...]:
    """The errors that one pass has shown, and the scan as far as it got, or how to start one; `runs`: that is done
    already."""
    if found is None:
        how = RUNS if runs else "n starts the scan, esc stops it." if has_task else "It needs a task: n asks for one."
        said = tuple((Cell(piece, "dim"),) for piece in (*wrap(EMPTY, width - 2), "", *wrap(how, width - 2)))
        return said if errors is None else (*_error_lines(errors, width), (), *said)
    scan = _scan_lines(found, width, runs)
    return scan if errors is None else (*scan, (), *_error_lines(errors, width))


def _error_lines(errors: "ErrorCurves", width: int) -> tuple[Line, ...]:
    """A row for each layer, with the error that is left once the layers behind it are refitted."""
    whose = "the outputs" if errors.of_outputs else "the layers behind"
    above = f"error of {whose} by {errors.criterion} once refitted (R), from one pass; nothing was cut"
    names = max(len(CUT_ALONE), *(len(curve.layer) for curve in errors.curves)) if errors.curves else len(CUT_ALONE)
    names = max(8, min(names, width - COLUMN * len(RATIOS) - 2))
    header = left(CUT_ALONE, names) + "".join(right(share(ratio, 1), COLUMN) for ratio in RATIOS)
    rows = []
    for curve in errors.curves:
        cells = [Cell(tail(curve.layer, names))]
        for ratio in RATIOS:
            point = curve.at(ratio)
            if point is None:
                cells.append(Cell(right("·", COLUMN), "dim"))
                continue
            _, mark, style = next(step for step in ERRORS if point.left < step[0] ** 2)
            cells.append(Cell(right(f"{mark}{right(error(point.left), 7)}", COLUMN), style))
        rows.append(tuple(cells))
    said = [(Cell(piece, "dim"),) for piece in wrap(above, width - 2)]
    return (*said, (), (Cell(header, "header"),), *rows)


def _scan_lines(found: "Sensitivity", width: int, runs: bool) -> tuple[Line, ...]:
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
