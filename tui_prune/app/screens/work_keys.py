"""What the keys of the main screen do that takes long: verify, evaluate, scan, recover, save."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_prune.app.screens.main_parts import MainParts
from tui_prune.app.screens.save import SaveScreen

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan
    from tui_prune.result import Result


class WorkKeys(MainParts):
    """The part of the main screen that starts long work."""

    def action_verify(self) -> None:
        self.work.verify()

    def action_evaluate(self) -> None:
        if self._has_task(self.action_evaluate):
            self.work.evaluate()

    def action_scan(self) -> None:
        self.action_open_tab("sensitivity")
        if self._has_task(self.action_scan):
            self.work.scan()

    def action_ask_suggestion(self) -> None:
        if self._has_task(self.action_ask_suggestion):
            self.questions.suggestion()

    def action_ask_recovery(self) -> None:
        if self._has_task(self.action_ask_recovery):
            self.questions.recovery()

    def _has_task(self, then: "Callable[[], None]") -> bool:
        """Whether there is a task to work by; else it is asked for, and then the key does what it should."""
        if self.session.task is None:
            self.questions.task(then)
        return self.session.task is not None

    def action_measure_activations(self) -> None:
        self.work.measure_activations()

    def action_save(self) -> None:
        self.app.push_screen(SaveScreen(self.session, self.sum_up), self._saved)

    def _saved(self, outcome: "tuple[Plan, Result] | None") -> None:
        if outcome is not None:
            plan, result = outcome
            self.work.take(plan, None, result)
        self.sum_up()
