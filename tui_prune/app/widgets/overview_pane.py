"""The pane of the Overview tab: it is composed anew whenever what it speaks of, or its size, is another."""

from typing import ClassVar

from textual.binding import BindingType

from tui_prune.app.overview import Overview, overview_lines
from tui_prune.app.widgets.details_pane import HALF, NEXT_TAB
from tui_prune.app.widgets.line_pane import LinePane


class OverviewPane(LinePane):
    """Shows an overview; what hasn't changed isn't sent again."""

    BINDINGS: ClassVar[list[BindingType]] = [HALF, NEXT_TAB]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._overview: Overview | None = None

    def tell(self, overview: Overview) -> None:
        """Show another one."""
        self._overview = overview
        self._renew()

    def on_resize(self) -> None:
        self._renew()

    def _renew(self) -> None:
        if self._overview is not None and self.size.height:
            self.show(overview_lines(self._overview, self.room, self.size.height))
