"""The names of the tabs in one line; which one is open shows without a colour too."""

from typing import ClassVar

from textual import events
from textual.message import Message
from textual.reactive import var

from tui_prune.app.cells import Cell, Line, cell_len, tail
from tui_prune.app.widgets.one_line import OneLine

SHORTEST = 4
"""Letters that are left of a tab's name, with its full stop."""


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
        "recovery": "Recovery",
    }
    ASIDE: ClassVar[dict[str, str]] = {"recipe": "Recipe"}
    """What can lie over the tabs, with no place among them."""

    def on_mount(self) -> None:
        self.subject = ""
        self._numbered = False
        self.show(self._words)

    def watch_active(self) -> None:
        self.refresh()

    def tell(self, subject: str) -> None:
        """Name the layer that the tabs speak of."""
        self.subject = subject
        self.show(self._words)

    def number(self, numbered: bool) -> None:
        """Put the number of each tab before its name, or take it away."""
        self._numbered = numbered
        self.show(self._words)

    def _words(self, width: int) -> Line:
        if self.active in self.ASIDE:
            return (Cell(f"[{self.ASIDE[self.active]}]", "strong"), Cell("  esc: back to the tabs", "dim"))
        cells: list[Cell] = []
        for place, (tab, said) in enumerate(self._names(width), 1):
            style = "strong" if tab == self.active else "dim"
            cells += [Cell(str(place), "key"), Cell(said[1:], style)] if self._numbered else [Cell(said, style)]
        room = width - sum(len(cell.text) for cell in cells) - 2
        if room >= 8 and (self.active != "structure" or self.screen.has_class("-narrow")):
            subject = tail(self.subject, min(room, cell_len(self.subject)))
            cells += [Cell(" " * (room + 2 - cell_len(subject))), Cell(subject, "dim")]
        return tuple(cells)

    def _names(self, width: int) -> list[tuple[str, str]]:
        """Each tab with its name as it is written; where there is no room, the longest names end early."""
        names = dict(self.NAMES)
        while sum(map(len, names.values())) + 2 * len(names) > width:
            longest = max((tab for tab in names if tab != self.active), key=lambda tab: len(names[tab]))
            if len(names[longest]) <= SHORTEST:
                break
            names[longest] = names[longest].rstrip(".")[:-1] + "."
        return [(tab, f"[{name}]" if tab == self.active else f" {name} ") for tab, name in names.items()]

    def on_click(self, event: events.Click) -> None:
        place = 1
        for tab, said in self._names(max(1, self.size.width - 2)) if self.active in self.NAMES else ():
            if place <= event.x < place + len(said):
                self.post_message(self.Clicked(tab))
            place += len(said)
