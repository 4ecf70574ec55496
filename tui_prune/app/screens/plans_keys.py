"""The keys of the main screen that go back and forth between plans: presets, history, plans side by side; and why."""

from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line, cell_len, left, shortened
from tui_prune.app.headlines import GAP
from tui_prune.app.screens.history import HistoryDialog
from tui_prune.app.screens.main_parts import LONGEST_NAME, MainParts
from tui_prune.app.screens.plans import PlansDialog, measured, name_of
from tui_prune.app.screens.presets import PresetsDialog
from tui_prune.app.widgets.structure_table import StructureTable
from tui_prune.errors import UsageError
from tui_prune.report.two_plans import Beside

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe


DOT = "the dot"
"""What a plan is called that is compared and has no name: one of the Trade-off tab."""


class PlansKeys(MainParts):
    """The part of the main screen that opens these dialogs, and shows another plan beside the present one."""

    table: StructureTable
    beside: Beside | None = None

    def action_presets(self) -> None:
        self.app.push_screen(PresetsDialog(self))

    def action_history(self) -> None:
        self.app.push_screen(HistoryDialog(self))

    def action_plans(self) -> None:
        self.app.push_screen(PlansDialog(self))

    def compare_with(self, recipe: "Recipe | None") -> None:
        """Show the plan of a recipe beside the present one in the Structure tab; None: no longer.

        Raises `UsageError` where it can't be shown at once.
        """
        if recipe is None:
            self.beside = None
        else:
            self.beside = Beside(name_of(self.session, recipe) or DOT, self.session.preview(recipe))
        self.table.compare(self.plan, self.beside, lambda plan: measured(self.session, plan.recipe))
        self.sum_up()

    def keep_comparing(self) -> None:
        """Bring the other plan up to date: it may have another name, other widths, or be gone."""
        if self.beside is None:
            return
        old, recipe = self.beside, self.beside.plan.recipe
        name = name_of(self.session, recipe) or (DOT if old.name == DOT else None)
        if name == old.name and self.session.holds(old.plan):
            return
        try:
            self.compare_with(None if name is None else recipe)
        except UsageError:
            self.compare_with(None)

    def compared(self, side: Line) -> Line:
        """What the status line says while another plan is beside the present one, before what is known of this."""
        if self.beside is None:
            return ()
        words = Cell(f"beside {shortened(self.beside.name, LONGEST_NAME)} · esc ends it", "strong")
        return (words, Cell(" " * GAP), *side) if side else (words,)

    def action_why(self) -> None:
        node = self.node
        if node is None or not node.layer:
            self.remark("! Move to a layer; W says why it gets the width that it has.", "error")
            return
        from tui_prune.planning.reasons import width_reason

        words, room = width_reason(self.plan, node.path), self.app.size.width - 2
        more = " (all of it: 3)"
        self.remark(words if cell_len(words) <= room else left(words, max(1, room - len(more))) + more)
