"""The Recovery tab: what the cut has cost, what has come back so far, and the curves of the fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from tui_prune import formatting
from tui_prune.app.cells import Cell, Line, left, right, width_of, wrap
from tui_prune.plots import BEST, Curve, Row
from tui_prune.tasks.evidence import evidence

if TYPE_CHECKING:
    from tui_prune.result import Stage, TuningPoint

EMPTY = (
    "After a cut, refitted layers, new batch-norm statistics and some training win accuracy back. Here are the figures "
    "then, and the loss and the accuracy while the network trains. The best state is kept, also when you stop it."
)
NAMES = {
    "before": "before the cut",
    "after": "after the cut",
    "reconstructed": "reconstructed",
    "recalibrated": "recalibrated",
    "fine-tuned": "fine-tuned",
}
COLUMN, FIGURE = max(map(len, NAMES.values())) + 2, 9
INKS = {"bar": "bar", "mark": "changed", "note": "dim"}
LEAST, EASY = 6, 9
"""Lines of a curve with its heading: at the least, and from where on it is easily read."""
NARROWEST, GAP = 32, 2
"""Columns of a curve that stands beside another, at the least; those between them."""


@dataclass(frozen=True, eq=False)
class Recovery:
    """A recovery as far as it got."""

    stages: "tuple[Stage, ...]" = ()
    points: "tuple[TuningPoint, ...]" = ()
    headline: Line = ()
    """How far it is, or how it ended."""
    tuning: bool = False
    """Whether it is being fine-tuned."""

    @property
    def best(self) -> int | None:
        """The last point whose network was the best until then."""
        return next((place for place in range(len(self.points) - 1, -1, -1) if self.points[place].best), None)


def recovery_lines(found: Recovery | None, how: str, width: int, height: int) -> tuple[Line, ...]:
    """The recovery as far as it got, in so many columns and lines; or how to start one."""
    if found is None:
        return tuple((Cell(piece, "dim"),) for piece in (*wrap(EMPTY, width - 2), "", *wrap(how, width - 2)))
    lines = [*_wrapped(found.headline, width - 2), (), *_figures(found)]
    curves = _curves(found)
    if not curves:
        return tuple(lines)
    room = max(height - len(lines), LEAST)
    if len(curves) > 1 and room < len(curves) * EASY and width >= len(curves) * NARROWEST:
        return (*lines, *_beside(curves, (width - 1) // len(curves), room))
    room = max(room, len(curves) * LEAST)
    for number, (heading, curve) in enumerate(curves):
        rows = room // (len(curves) - number)
        room -= rows
        lines += [(), heading, *_drawn(curve.rows(width - 1, max(1, rows - 2)))]
    return tuple(lines)


def _beside(curves: "list[tuple[Line, Curve]]", width: int, rows: int) -> list[Line]:
    """Curves side by side, each in so many columns: one below the other they would be flat."""
    blocks = [[(), heading, *_drawn(curve.rows(width - GAP, max(1, rows - 2)))] for heading, curve in curves]
    return [
        tuple(cell for line in lines for cell in (*line, Cell(" " * max(0, width - width_of(line)))))
        for lines in zip_longest(*blocks, fillvalue=())
    ]


def _wrapped(line: Line, width: int) -> list[Line]:
    """Sentences are broken; a bar is not."""
    if len(line) != 1:
        return [line]
    return [(Cell(piece, line[0].style),) for piece in wrap(line[0].text, width)]


def _figures(found: Recovery) -> list[Line]:
    """What the task says of each stage, and the best state of a training that goes on."""
    known = next((stage.score for stage in found.stages if stage.score is not None), 0.0)
    baseline = found.stages[0].score if found.stages and found.stages[0].name == "before" else None
    lines: list[Line] = []
    before = None
    for stage in found.stages:
        said = formatting.score(stage.score, known) if stage.score is not None else "?" if stage.kept else ""
        style = "changed" if stage.kept and before is not None else "plain"
        words = _certainty(stage.score, baseline) if stage.kept else "  worse, so it was undone"
        lines.append(
            (Cell(left(NAMES[stage.name], COLUMN), "dim"), Cell(right(said, FIGURE), style), Cell(words, "dim"))
        )
        before = stage
    best = found.best
    tried = [point.accuracy for point in found.points if point.accuracy is not None]
    if found.tuning and best is None and tried:
        said = formatting.score(max(tried), known or max(tried))
        lines.append((Cell(left("fine-tuning", COLUMN), "dim"), Cell(right(said, FIGURE)), Cell("  not better yet")))
    if found.tuning and best is not None:
        point = found.points[best]
        said = formatting.score(point.accuracy, known or point.accuracy or 0.0)
        where = f"  {BEST} the best so far, at {100 * point.done:.0f} %"
        lines.append((Cell(left("fine-tuning", COLUMN), "dim"), Cell(right(said, FIGURE), "changed"), Cell(where)))
    return lines


def _certainty(score: float | None, baseline: float | None) -> str:
    """What stands behind an accuracy; empty where the task doesn't say which examples are right."""
    known = evidence(score, baseline)
    return "" if known is None else f"  {formatting.certainty(known.count, known.interval, known.p)}"


def _curves(found: Recovery) -> list[tuple[Line, Curve]]:
    """Loss and accuracy, as far as the loop reports them, each with a heading."""
    made = []
    points = found.points
    steps = np.array([point.done for point in points])
    if len(points) > 1 and not steps.max() > steps.min():  # a loop that doesn't say how far it is
        steps = np.linspace(0, 1, len(points))
    losses = [place for place, point in enumerate(points) if point.loss is not None]
    if losses:
        values = [point.loss for point in points if point.loss is not None]
        made.append((_heading("loss", f"{values[-1]:.3g}"), Curve(steps[losses], np.array(values), _short)))
    scores = [place for place, point in enumerate(points) if point.accuracy is not None]
    if scores:
        values = [point.accuracy for point in points if point.accuracy is not None]
        share = all(0 <= value <= 1 for value in values)
        best = found.best
        said = formatting.score(values[-1], values[-1])
        if best in scores:
            said += f", best {formatting.score(points[best].accuracy, values[-1])} {BEST}"
        curve = Curve(
            steps[scores],
            np.array(values),
            _percent if share else _short,
            scores.index(best) if best in scores else None,
        )
        made.append((_heading("accuracy" if share else "score", said), curve))
    return made


def _heading(name: str, figures: str) -> Line:
    return (Cell(f"{name}  ", "strong"), Cell(figures, "dim"))


def _drawn(rows: Sequence[Row]) -> list[Line]:
    return [tuple(Cell(text, INKS.get(ink, ink)) for text, ink in row) for row in rows]


def _short(value: float) -> str:
    return f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
