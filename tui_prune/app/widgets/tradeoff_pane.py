"""The pane of the Trade-off tab: a chart with a cursor that goes from dot to dot."""

from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from tui_prune.app.tradeoff import TradeOff, trade_off_lines
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.session.trade_off import AXES, Axis, Trial


class TradeOffPane(LinePane):
    """Shows what was measured; the user moves to a dot and takes or compares it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("enter", "take", "takes it", id="tradeoff.take", tooltip="Make this dot's recipe the present plan"),
        Binding("c", "compare", "compares", id="tradeoff.compare", tooltip="Show its widths beside the present ones"),
        Binding("right,l", "go(1)", "Next dot", id="tradeoff.next", tooltip="The next dot that costs more", show=False),
        Binding(
            "left,h", "go(-1)", "Dot before", id="tradeoff.previous", tooltip="The next that costs less", show=False
        ),
        Binding("down,j", "best(-1)", "Smaller", id="tradeoff.smaller", tooltip="Along the front: smaller", show=False),
        Binding("up,k", "best(1)", "Larger", id="tradeoff.larger", tooltip="Along the front: larger", show=False),
        Binding("x", "axis", "other cost", id="tradeoff.axis", tooltip="Over MACs, parameters or bytes"),
        Binding(
            "z", "range", "Range", id="tradeoff.range", tooltip="All accuracies, or those near the best", show=False
        ),
    ]

    class Taken(Message):
        """The user takes a dot's recipe."""

        def __init__(self, trial: Trial) -> None:
            super().__init__()
            self.trial = trial

    class Compared(Taken):
        """The user wants to see its widths beside the present ones."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._found: TradeOff | None = None
        self._axis: Axis = AXES[0]
        self._wide = False
        self._chosen: Trial | None = None

    @property
    def chosen(self) -> Trial | None:
        """The dot under the cursor."""
        return self._chosen

    def tell(self, found: TradeOff) -> None:
        """Show what is known now."""
        self._found = replace(found, axis=self._axis, wide=self._wide)
        if self._chosen not in found.trials:
            self._chosen = None
        self._renew()

    def on_resize(self) -> None:
        self._renew()

    def _renew(self) -> None:
        if self._found is not None and self.size.height:
            self.show(trade_off_lines(self._found, self._chosen, self.room, self.size.height))

    def action_go(self, by: int) -> None:
        self._move(by, best=False)

    def action_best(self, by: int) -> None:
        self._move(by, best=True)

    def _move(self, by: int, *, best: bool) -> None:
        """To the next dot, from the chosen one or from where the present plan is."""
        if self._found is None or not self._found.trials:
            return
        found, dots = self._found, self._found.ordered(best=best)
        axis = found.axis
        if self._chosen in dots:
            place = dots.index(self._chosen) + by
        else:
            start = found.plan.after if self._chosen is None else self._chosen.cost
            cost = getattr(start, axis)
            costs = [getattr(dot.cost, axis) for dot in dots]
            place = sum(one <= cost for one in costs) if by > 0 else sum(one < cost for one in costs) - 1
        self._chosen = dots[min(max(place, 0), len(dots) - 1)]
        self._renew()

    def action_axis(self) -> None:
        self._axis = AXES[(AXES.index(self._axis) + 1) % len(AXES)]
        self._again()

    def action_range(self) -> None:
        self._wide = not self._wide
        self._again()

    def _again(self) -> None:
        if self._found is not None:
            self.tell(self._found)

    def action_take(self) -> None:
        if self._chosen is not None:
            self.post_message(self.Taken(self._chosen))

    def action_compare(self) -> None:
        if self._chosen is not None:
            self.post_message(self.Compared(self._chosen))
