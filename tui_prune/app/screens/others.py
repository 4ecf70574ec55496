"""Weights that fit several networks: which was taken, why, and the others to choose from."""

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_prune.app.cells import Cell, wrap
from tui_prune.app.entries import Entry
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.entry_list import EntryList
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.app.widgets.row_list import RowList
from tui_prune.loading.request import OpenRequest

if TYPE_CHECKING:
    from tui_prune.loading.recognised import Recognised

WIDTH = 70
MOST_ROWS = 10


class OthersDialog(LeavesOnce, ModalScreen[str | None]):
    """Gives the name of the network to take instead; None: the one that was taken stays."""

    guide_topic = "kept-work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "keeps it", id="dialog.close", tooltip="Keep the network that was taken"),
    ]

    def __init__(self, recognised: "Recognised") -> None:
        super().__init__()
        self._recognised = recognised

    def compose(self) -> ComposeResult:
        with Vertical(classes="box", id="others"):
            yield LinePane(id="words")
            yield EntryList(id="entries")

    def on_mount(self) -> None:
        found = self._recognised.to_dict()
        box = self.query_one("#others")
        box.border_title = "These weights fit several networks"
        box.border_subtitle = "enter takes it, esc keeps the first"
        words = f"All {found['tensors']} tensors fit each of these; {self._recognised.decided}."
        pane = self.query_one("#words", LinePane)
        pane.can_focus = False
        pane.show([*((Cell(line),) for line in wrap(words, WIDTH))])
        taken = Entry(found["network"], "taken", leads=OpenRequest(found["network"]))
        rows = self.query_one(EntryList)
        rows.styles.height = min(MOST_ROWS, len(found["others"]) + 1) + 1
        rows.show("", [taken, *(Entry(name, leads=OpenRequest(name)) for name in found["others"])])
        self.set_focus(rows)

    @on(RowList.Chosen)
    def _take(self) -> None:
        rows = self.query_one(EntryList)
        chosen = rows.entry.leads if rows.entry is not None else None
        self.dismiss(chosen.spec if isinstance(chosen, OpenRequest) and rows.cursor > 0 else None)

    def action_close(self) -> None:
        self.dismiss(None)
