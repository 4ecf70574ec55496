"""The last failure, with the traceback of the user's own code."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui_prune.app import tracebacks
from tui_prune.app.cells import Cell
from tui_prune.app.screens.dialog import Dialog
from tui_prune.app.tracebacks import Failure
from tui_prune.app.widgets.line_pane import LinePane

WIDEST = 120
"""Columns of the box at the most, as in app.tcss."""


class TracebackDialog(Dialog[None]):
    """What failed and where, to look at and to copy."""

    guide_topic = "tasks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copies it", id="traceback.copy", tooltip="Put it all in your terminal's clipboard"),
        Binding(
            "escape,q,exclamation_mark",
            "close",
            "closes",
            key_display="esc",
            id="traceback.close",
            tooltip="Back to where you were",
        ),
    ]

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self._failure = failure

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide"):
            yield LinePane(id="words")

    def on_mount(self) -> None:
        self._look()
        self.query_one("#words").focus()

    def on_resize(self) -> None:
        self._look()

    def _look(self, *more: str) -> None:
        width = max(20, min(self.app.size.width, WIDEST) - 7)
        lines = tracebacks.shown(self._failure, width)
        self.say("What has failed", [*lines, *((Cell(words, "dim"),) for words in more)])

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._failure.traceback or f"{self._failure.sentence}\n")
        self._look("", "Copied, with all its lines." if self._failure.traceback else "Copied.")
        self.query_one("#words", LinePane).action_scroll_edge(1)
