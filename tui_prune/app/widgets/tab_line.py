"""The names of the tabs in one line; which one is open shows without a colour too."""

from typing import ClassVar

from textual import events
from textual.message import Message
from textual.reactive import var

from tui_prune.app.cells import Cell, Line, cell_len, tail
from tui_prune.app.widgets.one_line import OneLine


class TabLine(OneLine):
    """ "[Structure]  Histogram  Channels …", and the layer that they speak of, where nothing else shows it."""

    active: var[str] = var("")

    class Clicked(Message):
        """The user clicked a tab."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    NAMES: ClassVar[dict[str, str]] = {
        "structure": "Structure",
        "histogram": "Histogram",
        "channels": "Channels",
        "sensitivity": "Sensitivity",
        "print": "Print",
    }

    def on_mount(self) -> None:
        self.subject = ""
        self.show(self._words)

    def watch_active(self) -> None:
        self.refresh()

    def tell(self, subject: str) -> None:
        """Name the layer that the tabs speak of."""
        self.subject = subject
        self.show(self._words)

    def _words(self, width: int) -> Line:
        cells: list[Cell] = []
        for tab, name in self.NAMES.items():
            cells.append(Cell(f"[{name}]", "strong") if tab == self.active else Cell(f" {name} ", "dim"))
        room = width - sum(len(cell.text) for cell in cells) - 2
        if room >= 8 and (self.active != "structure" or self.screen.has_class("-narrow")):
            subject = tail(self.subject, min(room, cell_len(self.subject)))
            cells += [Cell(" " * (room + 2 - cell_len(subject))), Cell(subject, "dim")]
        return tuple(cells)

    def on_click(self, event: events.Click) -> None:
        place = 1
        for tab, name in self.NAMES.items():
            if place <= event.x < place + len(name) + 2:
                self.post_message(self.Clicked(tab))
            place += len(name) + 2
