"""What the keys of the main screen do about the recipe's fields, the recovery and the last failure."""

import functools

from tui_prune.app.screens.main_parts import MainParts
from tui_prune.app.screens.traceback import TracebackDialog
from tui_prune.app.widgets.recipe_pane import RecipePane
from tui_prune.app.widgets.recovery_pane import RecoveryPane
from tui_prune.errors import UsageError


class TuningKeys(MainParts):
    """The part of the main screen that shows the recipe and the recovery."""

    _tab_before = "overview"

    # The recipe

    def action_recipe(self) -> None:
        if self.tabs.active == "recipe":
            self.close_recipe()
            self.go_to("tree")
        else:
            self._tab_before = self.tabs.active
            self.show_tab("recipe")
            self.go_to("details")

    def show_recipe(self) -> None:
        """Show the fields of the recipe whose plan is on the screen."""
        if self.tabs.active == "recipe":
            self._recipe_pane.tell(self.plan.recipe)

    def close_recipe(self) -> None:
        """Show the tab again that was there before the recipe."""
        if self.tabs.active == "recipe":
            self.show_tab(self._tab_before)

    def action_edit_field(self) -> None:
        self.questions.field(self._recipe_pane.field)

    def action_reset_field(self) -> None:
        field = self._recipe_pane.field
        self.change(lambda: self.session.apply(field.reset(self.session.recipe)))

    def action_cycle_field(self, by: int) -> None:
        """Choose the next value of few; those that can't be planned, or not at once, are passed over."""
        field, recipe = self._recipe_pane.field, self.session.recipe
        if not field.choices:
            self.action_edit_field()
            return
        place = field.choices.index(field.value(recipe))
        for step in range(1, len(field.choices)):
            chosen = field.changed(recipe, field.choices[(place + by * step) % len(field.choices)])
            try:
                at_once = not self.session.waits_for(chosen)
            except UsageError:
                at_once = False
            if at_once:
                self.change(functools.partial(self.session.apply, chosen))
                return

    @property
    def _recipe_pane(self) -> RecipePane:
        return self.query_one("#recipe", RecipePane)

    # The recovery

    def show_recovery(self) -> None:
        """Show the recovery as far as it got."""
        if self.tabs.active == "recovery":
            report = self.work.recovery
            how = "R starts it." if self.session.task is not None else "It needs a task: R asks for one."
            self.query_one("#recovery", RecoveryPane).tell(None if report is None else report.snapshot(), how)

    # What has failed

    def action_show_failure(self) -> None:
        if self.failure is None:
            self.remark("nothing has failed", "dim")
        else:
            self.app.push_screen(TracebackDialog(self.failure))
