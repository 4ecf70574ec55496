"""The names of the tabs in one line; which one is open shows without a colour too."""

from typing import ClassVar

from textual import events
from textual.message import Message
from textual.reactive import var

from tui_prune.app.cells import Cell, Line, cell_len, tail
from tui_prune.app.tabs import TABS
from tui_prune.app.widgets.one_line import OneLine

MORE = "‹ ", " ›"
"""Before and after the tabs: there are more."""
SUBJECT = 24
"""The most columns that the name of the layer has, where not all tabs have room beside it."""


class TabLine(OneLine):
    """ "[Overview]  Pictures  Channels …", and the layer that they speak of, where nothing else shows it."""

    active: var[str] = var("")

    class Clicked(Message):
        """The user clicked a tab."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    ASIDE: ClassVar[dict[str, str]] = {"recipe": "Recipe"}
    """What can lie over the tabs, with no place among them."""

    @property
    def names(self) -> dict[str, str]:
        """The names of all tabs, in their order."""
        return {key: tab.name for key, tab in TABS.items()}

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
        for tab, said in self._names(width):
            if not tab:
                cells.append(Cell(said, "dim"))
                continue
            place = [*self.names].index(tab) + 1
            style = "strong" if tab == self.active else "dim"
            cells += [Cell(str(place), "key"), Cell(said[1:], style)] if self._numbered else [Cell(said, style)]
        room = width - sum(len(cell.text) for cell in cells) - 2
        if room >= min(8, cell_len(self.subject)) and self._says_subject and not self._numbered:
            subject = tail(self.subject, min(room, cell_len(self.subject)))
            cells += [Cell(" " * (room + 2 - cell_len(subject))), Cell(subject, "dim")]
        return tuple(cells)

    @property
    def _says_subject(self) -> bool:
        return (self.active in TABS and TABS[self.active].about_rows) or self.screen.has_class("-narrow")

    def _names(self, width: int) -> list[tuple[str, str]]:
        """Each tab with its name as it is written; where not all have room, those around the open one, or while they
        are numbered the first letters of each."""
        tabs = [*self.names]
        whole = sum(len(name) + 2 for name in self.names.values())
        if self._numbered and whole > width:
            most = max(map(len, self.names.values()))
            fits = (
                n for n in range(most, 1, -1) if sum(min(n, len(name)) + 2 for name in self.names.values()) <= width
            )
            letters = next(fits, 1)
            return [(tab, f" {name[:letters]} ") for tab, name in self.names.items()]
        if self._says_subject and whole + cell_len(self.subject) + 2 > width:
            width -= min(cell_len(self.subject), SUBJECT) + 2
        first = last = tabs.index(self.active) if self.active in tabs else 0

        def needed(first: int, last: int) -> int:
            more = (first > 0) + (last < len(tabs) - 1)
            return sum(len(self.names[tab]) + 2 for tab in tabs[first : last + 1]) + len(MORE[0]) * more

        for _ in tabs:
            if last < len(tabs) - 1 and needed(first, last + 1) <= width:
                last += 1
            elif first > 0 and needed(first - 1, last) <= width:
                first -= 1
        return [
            *([("", MORE[0])] if first else []),
            *(
                (tab, f"[{self.names[tab]}]" if tab == self.active else f" {self.names[tab]} ")
                for tab in tabs[first : last + 1]
            ),
            *([("", MORE[1])] if last < len(tabs) - 1 else []),
        ]

    def on_click(self, event: events.Click) -> None:
        place = 1
        for tab, said in self._names(max(1, self.size.width - 2)) if self.active in self.names else ():
            if tab and place <= event.x < place + len(said):
                self.post_message(self.Clicked(tab))
            place += len(said)
