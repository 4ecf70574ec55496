"""The pane of the Recovery tab: figures and curves, drawn in a thread, one drawing at a time."""

from typing import ClassVar, NamedTuple

from textual import on, work
from textual.binding import BindingType
from textual.message import Message

from tui_prune.app import crashes
from tui_prune.app.cells import Cell, Line
from tui_prune.app.jobs import UNSAID
from tui_prune.app.recovery import Recovery, recovery_lines
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.line_pane import LinePane


class Wanted(NamedTuple):
    """What is to be shown, and in how many columns and lines."""

    recovery: Recovery | None
    how: str
    width: int
    height: int


class RecoveryPane(LinePane):
    """Shows a recovery. While one drawing is made only the newest news waits, so a quick loop can't flood it."""

    BINDINGS: ClassVar[list[BindingType]] = [HALF, NEXT_TAB]

    class Drawn(Message):
        """A drawing is ready."""

        def __init__(self, wanted: Wanted, lines: tuple[Line, ...]) -> None:
            super().__init__()
            self.wanted, self.lines = wanted, lines

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._recovery: Recovery | None = None
        self._how = ""
        self._shown: Wanted | None = None
        self._drawing = False

    def tell(self, recovery: Recovery | None, how: str) -> None:
        """Show a recovery; without one, `how` to start it."""
        self._recovery, self._how = recovery, how
        self._renew()

    def on_resize(self) -> None:
        self._renew()

    def _renew(self) -> None:
        wanted = Wanted(self._recovery, self._how, self.room, self.size.height)
        if wanted != self._shown and not self._drawing and self.size.height:
            self._drawing = True
            self._draw(wanted)

    @work(thread=True, group="recovery", exit_on_error=False, description=UNSAID)
    def _draw(self, wanted: Wanted) -> None:
        try:
            lines = recovery_lines(*wanted)
        except Exception as error:
            lines = ((Cell(f"! This can't be drawn; the report is {crashes.write(error)}", "error"),),)
        self.post_message(self.Drawn(wanted, lines))

    @on(Drawn)
    def _drawn(self, event: Drawn) -> None:
        self._drawing = False
        self._shown = event.wanted
        self.show(event.lines)
        self._renew()
