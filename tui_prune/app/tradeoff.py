"""The Trade-off tab: accuracy over cost, a dot for each network that was measured, and the present plan among them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_prune import formatting
from tui_prune.app.cells import Cell, Line, left, shortened, wrap
from tui_prune.formatting import share
from tui_prune.session.trade_off import Axis, Trial, front
from tui_prune.session.words import in_words

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan

LABEL = 8
"""Columns of the figures at the left."""
BELOW = 6
"""Lines below the chart: its axis, what the marks mean, and what is known of the dot under the cursor."""
NEAR = 0.1
"""The axis begins at so much of the score below the uncut network's, unless all is to be seen."""
DOTS = {
    "uncut": ("□", "plain"),
    "scan": ("·", "dim"),
    "candidate": ("∘", "bar"),
    "finalist": ("◆", "bar"),
    "live": ("○", "bar"),
}
PLAN, PRESENT, UNMEASURED, STAIRS = ("●", "bar"), ("◆", "changed"), ("◇", "changed"), ("╌", "dim")
LOWER = ("▾", "dim")
"""What lies below the picture."""
KINDS = {
    "uncut": "the uncut network",
    "scan": "one layer cut alone",
    "candidate": "a candidate of a suggestion",
    "finalist": "a finalist, fine-tuned",
    "live": "a plan of yours, as it would be reconstructed",
    "plan": "a plan of yours",
}
NAMES = {"macs": "MACs", "params": "parameters", "bytes": "bytes"}
EMPTY = (
    "Accuracy over cost: each network that was measured is a dot, and the present plan is a mark that moves with each "
    "key. S suggests cuts by your task and fills it, n scans the layers, e measures the present plan."
)


@dataclass(frozen=True, eq=False)
class TradeOff:
    """All that the tab speaks of."""

    trials: tuple[Trial, ...]
    plan: "Plan"
    axis: Axis = "macs"
    wide: bool = False
    """Whether the lowest accuracies are in the picture, too."""
    doing: str = ""
    """The work that fills it right now."""

    def ordered(self, *, best: bool = False) -> tuple[Trial, ...]:
        """The dots by ascending cost; `best`: those of the front."""
        if best:
            return front(self.trials, self.axis)
        return tuple(sorted(self.trials, key=lambda one: (getattr(one.cost, self.axis), one.accuracy)))

    def part(self, trial: Trial) -> float:
        """What a network costs, as a share of the uncut one."""
        return getattr(trial.cost, self.axis) / max(1, getattr(self.plan.before, self.axis))


def trade_off_lines(found: TradeOff, chosen: Trial | None, width: int, height: int) -> tuple[Line, ...]:
    """Return the lines of the chart and of the chosen dot, for a pane of this width and height, in cells."""
    if not found.trials:
        return tuple((Cell(piece, "dim"),) for piece in wrap(found.doing or EMPTY, width - 2))
    rows, columns = max(3, height - BELOW), max(10, width - LABEL - 2)
    grid = _Grid(found, rows, columns)
    lines: list[Line] = []
    for row in range(rows):
        label = formatting.score(grid.value(row), grid.base) if row in (0, rows // 2, rows - 1) else ""
        lines.append((Cell(f"{label:>{LABEL - 1}} ", "dim"), *grid.row(row, chosen)))
    middle = f"{NAMES[found.axis]}, share of the uncut network's"
    axis = f"0 %{middle:^{max(0, columns - 8)}}100 %"
    lines.append((Cell(" " * LABEL, "dim"), Cell(left(axis, columns), "dim")))
    lines.append(_legend(found))
    return (*lines, *_about(found, chosen, width))


class _Grid:
    """Marks in cells: later ones lie over earlier ones, those of more weight last."""

    def __init__(self, found: TradeOff, rows: int, columns: int) -> None:
        self._found, self._rows, self._columns = found, rows, columns
        self.base = next((one.accuracy for one in found.trials if one.kind == "uncut"), found.trials[0].accuracy)
        values = [one.accuracy for one in found.trials]
        self._high, low = max(values), min(values)
        if not found.wide:
            plans = [one.accuracy for one in found.trials if one.kind == "plan"]
            low = max(low, min(self.base - NEAR * (abs(self.base) or 1.0), *plans, self._high))
        self._low = low if low < self._high else self._high - (abs(self._high) or 1.0) * 0.01
        self._marks: dict[tuple[int, int], tuple[str, str]] = {}
        self._owners: dict[tuple[int, int], list[Trial]] = {}
        self._stairs()
        weights = ["scan", "candidate", "uncut", "live", "finalist", "plan"]
        for trial in sorted(found.trials, key=lambda one: weights.index(one.kind)):
            place = self._place(found.part(trial), trial.accuracy)
            self._marks[place] = DOTS.get(trial.kind, PLAN) if trial.accuracy >= self._low else LOWER
            self._owners.setdefault(place, []).append(trial)
        for trial in self._best():
            place = self._place(found.part(trial), trial.accuracy)
            self._marks[place] = self._marks[place][0], "strong"
        self._present()

    def value(self, row: int) -> float:
        """The accuracy that a row stands for."""
        return self._high - (self._high - self._low) * row / max(1, self._rows - 1)

    def row(self, row: int, chosen: Trial | None) -> Line:
        """A row of the chart."""
        cells = []
        for column in range(self._columns):
            mark, style = self._marks.get((row, column), (" ", "plain"))
            if chosen is not None and chosen in self._owners.get((row, column), ()):
                mark, style = "▣", "mark"
            cells.append(Cell(mark, style))
        return tuple(cells)

    def _place(self, part: float, accuracy: float) -> tuple[int, int]:
        row = round((self._high - accuracy) / (self._high - self._low) * (self._rows - 1))
        return min(max(row, 0), self._rows - 1), min(max(round(part * (self._columns - 1)), 0), self._columns - 1)

    def _best(self) -> list[Trial]:
        """Those of the front that lie in the picture."""
        return [one for one in front(self._found.trials, self._found.axis) if one.accuracy >= self._low]

    def _stairs(self) -> None:
        """The most that can be had for each cost."""
        best = self._best()
        for trial, after in zip(best, (*best[1:], None), strict=True):
            row, first = self._place(self._found.part(trial), trial.accuracy)
            last = self._columns if after is None else self._place(self._found.part(after), after.accuracy)[1]
            for column in range(first, last):
                self._marks.setdefault((row, column), STAIRS)

    def _present(self) -> None:
        plan, axis = self._found.plan, self._found.axis
        part = getattr(plan.after, axis) / max(1, getattr(plan.before, axis))
        known = [
            one for one in self._found.trials if one.recipe == plan.recipe and one.kind in ("live", "plan", "uncut")
        ]
        if known:
            self._marks[self._place(part, known[-1].accuracy)] = PRESENT
        else:
            self._marks[self._rows - 1, self._place(part, self._low)[1]] = UNMEASURED


def _legend(found: TradeOff) -> Line:
    kinds = {trial.kind for trial in found.trials}
    parts = [(PRESENT[0], "present"), (UNMEASURED[0], "not measured"), (PLAN[0], "plan")]
    words = {"candidate": "suggestion", "finalist": "finalist", "scan": "layer alone", "live": "live", "uncut": "uncut"}
    parts += [(DOTS[kind][0], said) for kind, said in words.items() if kind in kinds]
    return (Cell("  ".join(f"{mark} {said}" for mark, said in parts), "dim"),)


def _about(found: TradeOff, chosen: Trial | None, width: int) -> list[Line]:
    if chosen is None:
        hint = "← → go through the dots, ↑ ↓ through the best; enter takes one, c compares, x: other cost, z: all"
        return [(), *((Cell(piece, "dim"),) for piece in wrap(found.doing or hint, width - 2)[:3])]
    accuracy = formatting.score(chosen.accuracy, chosen.accuracy)
    costs = ", ".join(
        f"{NAMES[axis]} {share(getattr(chosen.cost, axis), getattr(found.plan.before, axis))}" for axis in NAMES
    )
    said = f"  {chosen.name or KINDS[chosen.kind]}{', recovered' * chosen.recovered}"
    return [
        (),
        (Cell(accuracy, "strong"), Cell(shortened(said, width - 10))),
        (Cell(shortened(costs, width - 2)),),
        (Cell(shortened(in_words(chosen.recipe, width - 2), width - 2), "dim"),),
    ]
