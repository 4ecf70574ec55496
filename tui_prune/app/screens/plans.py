"""Several plans beside each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from tui_prune import formatting
from tui_prune.app.cells import Cell, Line, left, right
from tui_prune.app.columns import Column
from tui_prune.app.screens.list_dialog import ListDialog, shares
from tui_prune.app.widgets.choice_list import Cells
from tui_prune.errors import UsageError
from tui_prune.planning.recipe import Recipe
from tui_prune.report.two_plans import PRESENT
from tui_prune.session.words import in_words

if TYPE_CHECKING:
    from tui_prune.app.screens.main_parts import MainParts
    from tui_prune.session.session import Session
    from tui_prune.session.shelf import Figures

COLUMNS = (
    Column("_present", 1, rank=1),
    Column("plan", 24, rank=0, least=12),
    Column("params", 11, rank=3),
    Column("MACs", 11, rank=2),
    Column("bytes", 7, rank=6),
    Column("accuracy", 8, rank=4),
    Column("latency", 7, rank=5),
    Column("what it says", 60, rank=7, least=16),
)
AS_OPENED = "as opened"


@dataclass(frozen=True)
class Row:
    """A plan in the table; the network as it was opened and the present plan are there without having been kept."""

    name: str
    recipe: Recipe
    kept: bool


class PlansDialog(ListDialog):
    """A row a plan, with what is known of it; keys to keep, rename and delete plans, and to measure them all."""

    guide_topic = "suggestions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "goes", id="plans.take", tooltip="Make this the present plan; u takes it back"),
        Binding("c", "compare", "compares", id="plans.compare", tooltip="Show it beside the present one, by widths"),
        Binding("a", "add", "adds", id="plans.add", tooltip="Keep the present plan under a name"),
        Binding("e", "evaluate", "evaluates", id="plans.evaluate", tooltip="Measure the accuracy where it isn't known"),
        Binding("b", "bench", "times", id="plans.bench", tooltip="Measure the latency where it isn't known"),
        Binding("r", "rename", "renames", id="plans.rename", tooltip="Give this plan another name"),
        Binding("d", "delete", "deletes", id="plans.delete", tooltip="Let go of this plan"),
        Binding("escape", "close", "closes", id="dialog.close", tooltip="Stop what is running; back"),
    ]
    TITLE_WORDS = "Plans side by side"

    def __init__(self, main: "MainParts") -> None:
        super().__init__(main)
        self._rows: list[Row] = []
        self._deleting = ""

    def on_mount(self) -> None:
        super().on_mount()
        self.main.work.watcher = self._work_went_on
        names = [row.recipe for row in self._rows]
        if self.session.recipe in names:
            self.rows.show_cursor(names.index(self.session.recipe))
            self.say()

    def fill(self) -> None:
        session = self.session
        kept = [Row(plan.name, plan.recipe, True) for plan in session.shelf.plans]
        first = [] if session.shelf.find(Recipe()) else [Row(AS_OPENED, Recipe(), False)]
        unnamed = session.shelf.find(session.recipe) is None and session.recipe != Recipe()
        last = [Row(PRESENT, session.recipe, False)] if unnamed else []
        self._rows = [*first, *kept, *last]
        self.rows.show(COLUMNS, [self._cells(row) for row in self._rows])
        self.laid_out()

    @property
    def row(self) -> Row:
        """The one under the cursor."""
        return self._rows[self.rows.cursor]

    def _cells(self, row: Row) -> Cells:
        session, before = self.session, self.main.plan.before

        def cell(column: str, width: int) -> Cell:
            figures = session.figures(row.recipe)
            cost = figures.cost or session.cost(row.recipe)
            if column == "_present":
                beside = self.main.beside is not None and self.main.beside.plan.recipe == row.recipe
                return Cell("●" if row.recipe == session.recipe else "≠" if beside else " ", "changed")
            if column == "plan":
                return Cell(left(row.name, width), "plain" if row.kept else "dim")
            if column in ("params", "MACs"):
                return Cell(left(shares(cost, before)[column], width))
            if column == "bytes":
                return Cell(right("?" if cost is None else formatting.size(cost.bytes), width))
            if column == "accuracy":
                return _known(measured(session, row.recipe)[0], width)
            if column == "latency":
                return _known(measured(session, row.recipe)[1], width)
            return Cell(left(in_words(row.recipe, width), width), "dim")

        return cell

    def about(self) -> tuple[Line, Line]:
        words = (Cell(in_words(self.row.recipe, self.room)),)
        if self._deleting == self.row.name:
            return words, (Cell(f"d again deletes {self.row.name}", "strong"),)
        return words, (Cell(self._remark(self.session.figures(self.row.recipe)), "dim"),)

    def _remark(self, figures: "Figures") -> str:
        parts = []
        if figures.recovered is not None and figures.accuracy is not None:
            baseline = self.session.figures(Recipe()).accuracy or figures.accuracy
            cut, again = (formatting.score(value, baseline) for value in (figures.accuracy, figures.recovered))
            parts.append(f"accuracy {cut} when cut, {again} recovered")
        if figures.latency is not None and figures.uncut_latency is not None:
            whole = formatting.latency(figures.uncut_latency)
            share = formatting.share(figures.latency, figures.uncut_latency)
            parts.append(f"latency {share} of the {whole} that the uncut network took beside it")
        if not parts and self.row.name == PRESENT and not self.row.kept:
            parts.append("not kept yet: a gives it a name")
        elif not parts:
            parts.append("? isn't measured yet: e evaluates by your task, b times on this device")
        return "; ".join(parts)

    # Keys

    def action_take(self) -> None:
        self.choose()

    def choose(self) -> None:
        self.take(self.row.recipe)

    def action_compare(self) -> None:
        row, main = self.row, self.main
        if row.name == PRESENT and not row.kept:
            self.fail("This is the present plan: a keeps it; then c compares later ones with it.")
            return
        beside = main.beside is not None and main.beside.plan.recipe == row.recipe
        try:
            main.compare_with(None if beside else row.recipe)
        except UsageError as error:
            self.fail(str(error))
            return
        self.leave()
        main.settle()
        if not beside:
            main.show_tab("structure")
            main.go_to("details")

    def action_add(self) -> None:
        def accept(name: str) -> str:
            self.session.keep_plan(name)
            return ""

        known = self.session.shelf.find(self.session.recipe)
        if known is not None:
            self.fail(f"The present plan is kept already, as {known.name}.")
        else:
            self.ask("Keep the present plan as:", self.session.shelf.free_name, accept)

    def action_rename(self) -> None:
        row = self.row

        def accept(name: str) -> str:
            self.session.rename_plan(row.name, name)
            return ""

        if row.kept:
            self.ask(f"Rename {row.name} to:", row.name, accept)
        else:
            self.fail("Only a plan that was kept has a name of yours; a keeps the present one.")

    def action_delete(self) -> None:
        row = self.row
        if not row.kept:
            self.fail("Only a plan that was kept can be deleted.")
        elif self._deleting != row.name:
            self._deleting = row.name
            self._failed = ""
            self.say()
        else:
            self._deleting = ""
            self.session.drop_plan(row.name)
            self.fill()
            self._told()

    def look(self) -> None:
        self._deleting = ""

    def _end_asking(self) -> None:
        super()._end_asking()
        self._told()

    def _told(self) -> None:
        """What is kept has changed: let the main screen know, as of every choice."""
        self.main.show_plan(self.session.plan)

    def action_evaluate(self) -> None:
        task = self.session.task
        if task is None:
            self.action_close()
            self.main.questions.task(self.main.action_plans)
            return
        if task.evaluate is None:
            self.fail(f"{task.name} has no function evaluate(model).")
            return
        missing = [row.recipe for row in self._rows if self.session.figures(row.recipe).accuracy is None]
        self._measure("accuracy", self.main.work.compare, missing)

    def action_bench(self) -> None:
        missing = [row.recipe for row in self._rows if self.session.figures(row.recipe).latency is None]
        self._measure("latency", self.main.work.time, missing)

    def _measure(self, what: str, measure: Callable[[list[Recipe]], None], missing: list[Recipe]) -> None:
        self._failed = ""
        if missing:
            measure(missing)
        else:
            self.fail(f"The {what} of each is known already.")
        self.say()

    def _work_went_on(self, failure: str) -> None:
        if failure:
            self.fail(failure)
        if self._accept is None:
            self.rows.repaint()
            self.say()
        if self.main.work.job is None:
            self._told()

    # Leaving

    def action_close(self) -> None:
        if self._accept is None and self.main.work.comparing:
            self.main.work.stop()
            self.rows.repaint()
            self.fail("Stopped; what was measured before stays.")
            self.main.sum_up()
            self._told()
        else:
            super().action_close()

    def leave(self) -> None:
        self.main.work.watcher = lambda failure: None
        super().leave()


def name_of(session: "Session", recipe: Recipe) -> str | None:
    """What the plan of a recipe is called; None where it isn't kept."""
    kept = session.shelf.find(recipe)
    return kept.name if kept is not None else AS_OPENED if recipe == Recipe() else None


def measured(session: "Session", recipe: Recipe) -> tuple[str, str]:
    """The accuracy and the latency of a plan's network; empty for what nobody has measured."""
    figures = session.figures(recipe)
    value = figures.accuracy if figures.recovered is None else figures.recovered
    baseline = session.figures(Recipe()).accuracy
    return (
        "" if value is None else formatting.score(value, value if baseline is None else baseline),
        "" if figures.latency is None else formatting.latency(figures.latency),
    )


def _known(said: str, width: int) -> Cell:
    return Cell(right(said or "?", width), "plain" if said else "dim")
