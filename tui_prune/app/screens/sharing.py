"""Asks what to do where another window has the same network open."""

import time
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, wrap
from tui_prune.app.screens.dialog import Dialog
from tui_prune.session.autosave.claims import Holder
from tui_prune.session.autosave.saved_work import SavedWork

JOIN, COPY, TAKE = "join", "copy", "take over"
WIDTH = 66


class SharingDialog(Dialog[str]):
    """Ask what to do where another window has the same network open: returns `JOIN`, `COPY` or `TAKE`. None, when it is
    left, means a copy, which changes nothing for the other window."""

    guide_topic = "kept-work"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "j",
            "answer('join')",
            "joins",
            id="sharing.join",
            tooltip="Both windows show the same choices",
            priority=True,  # the lines above scroll by it
        ),
        Binding("c", "answer('copy')", "takes a copy", id="sharing.copy", tooltip="Go on alone; it is kept beside"),
        Binding("t", "answer('take over')", "takes over", id="sharing.take", tooltip="The other window gets the copy"),
        Binding("escape", "close", "takes a copy", id="dialog.close", show=False, tooltip="Go on alone"),
    ]

    def __init__(self, holder: Holder, work: SavedWork | None) -> None:
        super().__init__()
        self._holder, self._work = holder, work

    def on_mount(self) -> None:
        holder, words = self._holder, list[Line]()
        if self._work is not None and self._work.chosen:
            words += [(Cell(self._work.summary, "strong"),)]
        where = f" on {holder.terminal}" if holder.terminal else ""
        since = time.strftime("%H:%M", time.localtime(holder.since)) if 0 < holder.since < 2**40 else ""
        words += self._wrapped(f"Process {holder.process}{where} has it open{f' since {since}' if since else ''}.")
        words += [
            (),
            *self._wrapped("j: both windows go on with the same choices, and each sees what the other does."),
            *self._wrapped("c: this window goes on with a copy, which is kept beside the other's."),
            *self._wrapped("t: this window goes on with it; the other one is told, and keeps a copy."),
        ]
        self.say("The network is open in another window", words)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def _wrapped(self, text: str) -> list[Line]:
        return [(Cell(line),) for line in wrap(text, max(20, min(WIDTH, self.app.size.width - 6)))]
