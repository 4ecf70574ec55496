"""All that was chosen, as a list that can be walked."""

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, left
from tui_prune.app.columns import Column
from tui_prune.app.screens.list_dialog import ListDialog, shares
from tui_prune.app.widgets.choice_list import Cells
from tui_prune.session.words import in_words

if TYPE_CHECKING:
    from tui_prune.app.screens.main_parts import MainParts
    from tui_prune.session.steps import Step

COLUMNS = (
    Column("_present", 1, rank=1),
    Column("step", 60, rank=0, least=20),
    Column("params", 11, rank=3),
    Column("MACs", 11, rank=2),
)


class HistoryDialog(ListDialog):
    """Each choice in words; up and down show what it was, enter goes there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "goes there", id="history.take", tooltip="Go to this step; none is lost"),
        Binding("escape", "close", "stays", id="dialog.close", tooltip="Back; all stays as it is"),
    ]
    TITLE_WORDS = "What you have chosen"

    def __init__(self, main: "MainParts") -> None:
        super().__init__(main)
        self._steps: tuple[Step, ...] = main.session.steps

    def fill(self) -> None:
        self.rows.show(COLUMNS, [self._row(number) for number in range(len(self._steps))])
        self.rows.show_cursor(self.session.place)
        self.laid_out()

    def _row(self, number: int) -> Cells:
        step, present = self._steps[number], number == self.session.place
        later = number > self.session.place

        def cell(column: str, width: int) -> Cell:
            if column == "_present":
                return Cell("●" if present else " ", "changed")
            if column == "step":
                return Cell(left(step.words, width), "strong" if present else "dim" if later else "plain")
            return Cell(left(shares(self.session.cost(step.recipe), self.main.plan.before)[column], width), "dim")

        return cell

    def about(self) -> tuple[Line, Line]:
        number = self.rows.cursor
        step, distance = self._steps[number], number - self.session.place
        steps = f"{abs(distance)} step{'s' if abs(distance) != 1 else ''}"
        where = "where you are" if not distance else f"{steps} back" if distance < 0 else f"{steps} on"
        in_all = Cell("in all: ", "dim")
        words = in_words(step.recipe, self.room - len(in_all.text))
        return (in_all, Cell(words)), (Cell(where, "dim"),)

    def look(self) -> None:
        self.preview(self._steps[self.rows.cursor].recipe)

    def action_take(self) -> None:
        self.choose()

    def choose(self) -> None:
        number = self.rows.cursor
        self.leave()
        self.main.change(lambda: self.session.go_to(number))
