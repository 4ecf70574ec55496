"""What the keys of the main screen do that open something: another network, or the same one on another input."""

from typing import TYPE_CHECKING, cast

from tui_prune.app.input_question import input_question
from tui_prune.app.screens.main_parts import MainParts

if TYPE_CHECKING:
    from tui_prune.app.app import PruneApp
    from tui_prune.app.openings import Openings


class StartKeys(MainParts):
    """The part of the main screen that leads to another one."""

    def action_open_another(self) -> None:
        self._openings.choose()

    def action_ask_input(self) -> None:
        self.questions.ask(input_question(self.session.opened.input_spec, self._openings.retrace))

    @property
    def _openings(self) -> "Openings":
        return cast("PruneApp", self.app).openings
