"""What the keys of the main screen do that change the plan."""

from typing import TYPE_CHECKING

from tui_prune.app.screens.main_parts import MainParts
from tui_prune.errors import UsageError
from tui_prune.formatting import dead as dead_words
from tui_prune.session import changes
from tui_prune.session.selection import NETWORK
from tui_prune.session.words import what_changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe


class PlanKeys(MainParts):
    """The part of the main screen that changes the plan."""

    _lifting: str | None = None
    """The layer for which the user was asked, by the last `l`, whether the lock of its output is to be lifted."""

    def _apply(self, change: "Callable[[Plan], Recipe]") -> None:
        self.change(lambda: self.session.apply(change(self.session.plan)))

    def action_step(self, by: float) -> None:
        self._apply(lambda plan: changes.with_stepped_ratio(plan, self.target, by))

    def action_clear(self) -> None:
        self._apply(lambda plan: changes.without_ratio(plan, self.target))

    def action_lock(self) -> None:
        target, asked, self._lifting = self.target, self._lifting, None
        if not target:
            self.remark("! Move to the layer that you want to lock.", "error")
            return
        output = changes.lifted_output(self.session.plan, target)
        if output is None or output == asked:
            self._apply(lambda plan: changes.with_lock_toggled(plan, target))
        else:
            self._lifting = output
            self.remark(f"{output} puts out the model's output: L again lets it be cut, which changes it", "strong")

    def action_dead(self) -> None:
        dead = self.session.dead_channels()
        if dead:
            self._apply(lambda plan: changes.dead_only(plan.recipe))
            self.remark(f"{dead_words(dead)}: s saves the network without them, which puts out the same", "strong")
        else:
            self.remark("no channel does nothing whatever the input is", "dim")

    def action_scope(self) -> None:
        scope = "local" if self.session.recipe.scope == "global" else "global"
        self._apply(lambda plan: plan.recipe.changed(scope=scope))

    def action_undo(self) -> None:
        if self.session.can_undo:
            self._go("undone", self.session.undo)
        else:
            self.remark("there is nothing to undo", "dim")

    def action_redo(self) -> None:
        if self.session.can_redo:
            self._go("done again", self.session.redo)
        else:
            self.remark("there is nothing to redo", "dim")

    def _go(self, how: str, step: "Callable[[], Plan]") -> None:
        """Go a step back or on, and say which choice that was, unless more is known of the plan that holds again."""
        before = self.session.recipe
        if self.change(step) and not self.work.side(self.session.recipe):
            earlier, later = sorted((before, self.session.recipe), key=lambda one: (one == before) == (how == "undone"))
            self.remark(f"{how}: {what_changed(earlier, later)}", "dim")

    def action_ask_ratio(self) -> None:
        try:
            target = changes.that_can_be_cut(self.session.plan, self.target)
        except UsageError as error:
            self.remark(f"! {error}", "error")
        else:
            self.questions.ratio(target)

    def action_ask_global(self) -> None:
        self.questions.ratio(NETWORK)

    def action_ask_target(self) -> None:
        self.questions.target()

    def action_ask_alignment(self) -> None:
        target = self.target
        self.questions.alignment(target if target.marked else NETWORK)

    def action_ask_own_alignment(self) -> None:
        self.questions.alignment(self.target)

    def action_ask_criterion(self) -> None:
        self.questions.criterion()
