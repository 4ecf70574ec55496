"""The keys of the main screen that go back and forth between plans: presets, history, plans side by side; and why."""

from tui_prune.app.cells import cell_len, left
from tui_prune.app.screens.history import HistoryDialog
from tui_prune.app.screens.main_parts import MainParts
from tui_prune.app.screens.plans import PlansDialog
from tui_prune.app.screens.presets import PresetsDialog
from tui_prune.planning.reasons import width_reason


class PlansKeys(MainParts):
    """The part of the main screen that opens these dialogs."""

    def action_presets(self) -> None:
        self.app.push_screen(PresetsDialog(self))

    def action_history(self) -> None:
        self.app.push_screen(HistoryDialog(self))

    def action_plans(self) -> None:
        self.app.push_screen(PlansDialog(self))

    def action_why(self) -> None:
        node = self.node
        if node is None or not node.layer:
            self.remark("! Move to a layer; W says why it gets the width that it has.", "error")
            return
        words, room = width_reason(self.plan, node.path), self.app.size.width - 2
        more = " (all of it: 3)"
        self.remark(words if cell_len(words) <= room else left(words, max(1, room - len(more))) + more)
