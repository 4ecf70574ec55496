"""What can be opened: what was opened before, a file, a name, a bundled network. A box over the main screen."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_prune import paths
from tui_prune.app.entries import (
    Entry,
    Factories,
    Folder,
    Networks,
    Page,
    TypeName,
    WeightsOf,
    can_be_opened,
    factory_entries,
    folder_entries,
    found_entries,
    network_entries,
    path_entries,
    weights_entries,
)
from tui_prune.app.jobs import UNSAID
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.typed_paths import common_start, complete, is_path
from tui_prune.app.widgets.entry_list import EntryList
from tui_prune.app.widgets.row_list import RowList
from tui_prune.loading.known_names import find_names, known_names
from tui_prune.loading.request import OpenRequest
from tui_prune.session.autosave import SavedWork, recent

GUIDED = "w"
"""The key of the guided way on the screen below."""
PLACEHOLDER = "/ to type a name or a path"


@dataclass(frozen=True)
class Place:
    """Where somebody is on the start screen, to be there again when the screen below it has come."""

    pages: tuple[Page, ...] = (Networks(),)
    text: str = ""
    typing: bool = False
    cursor: int | None = None


class StartScreen(LeavesOnce, ModalScreen[OpenRequest | None]):
    """Asks what to open; None: nothing else."""

    guide_topic = "opening"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "type", "types", id="start.type", tooltip="Type a name or a path", show=False),
        Binding("tab", "complete", "Complete", id="start.complete", tooltip="Complete what is typed", show=False),
        Binding("down", "move(1)", "Down", id="start.down", tooltip="The next row", show=False),
        Binding("up", "move(-1)", "Up", id="start.up", tooltip="The row before", show=False),
        Binding("backspace,left", "parent", "Up", id="start.parent", tooltip="The directory above", show=False),
        Binding("full_stop", "hidden", "Hidden", id="start.hidden", tooltip="Hidden files too, or not", show=False),
        Binding("escape", "back", "Back", id="start.back", tooltip="Back; from the list: close it", show=False),
        Binding("q,ctrl+q", "app.quit", "quit", id="start.quit", tooltip="Back to the shell", show=False),
    ]

    class Filled(Message):
        """Rows were read."""

        def __init__(self, screen: "StartScreen", number: int, entries: list[Entry]) -> None:
            super().__init__()
            self.screen, self.number, self.entries = screen, number, entries

    class NamesFound(Message):
        """The names of torchvision's and timm's networks are known."""

        def __init__(self, names: tuple[str, ...]) -> None:
            super().__init__()
            self.names = names

    def __init__(
        self,
        place: Place | None = None,
        *,
        passes: Callable[[str], bool] = lambda key: False,
        closes_to: str = "",
        chosen: str | None = None,
    ) -> None:
        """`passes` says whether a key is for the screen below; `closes_to` is what esc goes back to, in words;
        `chosen` the name of the network that the cursor is on at first."""
        super().__init__()
        self._at = place or Place()
        self._passes, self._closes_to, self._chosen = passes, closes_to, chosen
        self._works: list[SavedWork] = []
        self._names: Sequence[str] | None = None
        self._looking_up = False
        self._left = ""
        """The directory that was left by going up."""
        self._number = 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="box", id="start"):
            field = Input(self._at.text, placeholder=PLACEHOLDER, id="start-field", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield EntryList(id="entries")

    def on_mount(self) -> None:
        self._works = recent()
        self._names = known_names()
        self.field.cursor_position = len(self._at.text)
        self.set_focus(self.field if self._at.typing else self.rows)
        self._fill(self._at.cursor)

    # Where one is

    @property
    def field(self) -> Input:
        """Where one types."""
        return self.query_one("#start-field", Input)

    @property
    def rows(self) -> EntryList:
        """What there is to choose from."""
        return self.query_one("#entries", EntryList)

    @property
    def page(self) -> Page:
        """What the rows are of."""
        return self._at.pages[-1]

    @property
    def place(self) -> Place:
        """Where one is, for another start screen to go on from."""
        return Place(self._at.pages, self.field.value, self.field.has_focus, self.rows.cursor)

    def _go_to(self, *pages: Page) -> None:
        self._at, self._left = Place(pages), ""
        self.set_focus(self.rows)
        if self.field.value:
            self.field.value = ""  # which fills the rows
        else:
            self._fill()

    # What is shown

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self._say()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._fill()

    def _fill(self, cursor: int | None = None) -> None:
        """Show the rows of the page, or those for what is typed; directories are read in a thread."""
        self._number += 1
        self._say()
        page, text = self.page, self.field.value.strip()
        base, network = self._base, self._network
        if is_path(text):
            self._read(self._number, functools.partial(path_entries, text, base, network))
        elif isinstance(page, Folder):
            self._read(self._number, functools.partial(_with_letters, page, text))
        elif text and isinstance(page, Networks):
            self._look_up_names()
            self._show(found_entries(text, self._works, self._names))
        elif isinstance(page, Factories):
            self._show([entry for entry in factory_entries(page) if text in entry.name or entry.leads is None])
        elif isinstance(page, WeightsOf):
            self._show(weights_entries(page, base))
        else:
            entries = network_entries(self._works)
            self._show(entries, self._first(entries) if cursor is None else cursor)

    @property
    def _base(self) -> Path:
        """Where a relative path begins."""
        return self.page.path if isinstance(self.page, Folder) else paths.browsed_folder()

    @property
    def _network(self) -> str | None:
        """The factory that weights are looked for."""
        return self.page.network if isinstance(self.page, Folder | WeightsOf) else None

    def _first(self, entries: list[Entry]) -> int | None:
        """Where the cursor is at first: on what was opened last, else on the bundled network that is open."""
        names = [entry.name for entry in entries]
        return names.index(self._chosen) if not self._works and self._chosen in names else None

    def _show(self, entries: list[Entry], cursor: int | None = None) -> None:
        if cursor is not None and not (cursor < len(entries) and entries[cursor].leads is not None):
            cursor = None
        self.rows.show(_heading(self.page), entries, cursor)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False, description=UNSAID)
    def _read(self, number: int, read: Callable[[], list[Entry]]) -> None:
        self.post_message(self.Filled(self, number, read()))

    @on(Filled)
    def _filled(self, event: Filled) -> None:
        if event.number == self._number:
            self._show(event.entries, self._where(event.entries))

    def _where(self, entries: list[Entry]) -> int | None:
        """Where the cursor is in a directory: on the one that was left by going up, else below "../"."""
        names = [entry.name for entry in entries]
        if self._left and self._left in names:
            return names.index(self._left)
        return 1 if len(names) > 1 and names[0] == "../" else None

    def _look_up_names(self) -> None:
        if self._names is None and not self._looking_up:
            self._looking_up = True
            self._find_names()

    @work(thread=True, group="names", exit_on_error=False)
    def _find_names(self) -> None:
        self.post_message(self.NamesFound(find_names()))

    @on(NamesFound)
    def _names_found(self, event: NamesFound) -> None:
        self._names = event.names
        if self.field.value and isinstance(self.page, Networks):
            self._fill()

    def _say(self) -> None:
        box = self.query_one("#start")
        titles = {Networks: "Open a network", Folder: "Open a file", Factories: "What makes the network?"}
        box.border_title = titles.get(type(self.page), "Which weights?")
        if isinstance(self.page, Folder) and self.page.network is not None:
            box.border_title = "Which weights?"
        keys = ["enter opens"]
        if self.field.has_focus:
            keys += ["↑↓ choose", "tab completes", "esc back to the list"]
        elif len(self._at.pages) == 1:
            guides = ["w guides"] if self._passes(GUIDED) else []
            keys += ["/ types", *guides, f"esc {self._closes_to}"]
        else:
            keys += ["/ types", *(["← up", ". hidden files"] if isinstance(self.page, Folder) else []), "esc back"]
        box.border_subtitle = ", ".join(keys)

    # Keys

    def action_type(self) -> None:
        self.set_focus(self.field)

    def action_complete(self) -> None:
        if not self.field.has_focus:
            self.action_type()
            return
        self.field.value = self._completed(self.field.value)
        self.field.cursor_position = len(self.field.value)

    def _completed(self, text: str) -> str:
        if is_path(text):
            return complete(text, self._base, lambda name: can_be_opened(name, self._network)).text
        names = [entry.name for entry in self.rows.entries if entry.leads is not None and entry.name.startswith(text)]
        return common_start([name for name in names if name != text] or names) or text

    def action_move(self, by: int) -> None:
        self.rows.action_move(by)

    def action_parent(self) -> None:
        page = self.page
        if isinstance(page, Folder):
            self._go_up(Folder(page.path.parent, page.hidden, page.network))
        elif len(self._at.pages) > 1:
            self.action_back()

    def _go_up(self, parent: Folder) -> None:
        left = self.page.path.name if isinstance(self.page, Folder) else ""
        self._go_to(*self._at.pages[:-1], parent)
        self._left = f"{left}/"

    def action_hidden(self) -> None:
        if isinstance(self.page, Folder):
            other = Folder(self.page.path, not self.page.hidden, self.page.network)
            self._go_to(*self._at.pages[:-1], other)

    def action_back(self) -> None:
        if self.field.has_focus:
            self.field.value = ""
            self.set_focus(self.rows)
        elif len(self._at.pages) > 1:
            self._go_to(*self._at.pages[:-1])
        else:
            self.dismiss(None)

    @on(RowList.Chosen)
    @on(Input.Submitted)
    def _chosen_one(self) -> None:
        leads = self.rows.entry.leads if self.rows.entry is not None else None
        if isinstance(leads, OpenRequest):
            self.dismiss(leads)
        elif isinstance(leads, TypeName):
            self.action_type()
        elif isinstance(leads, Folder):
            if isinstance(self.page, Folder) and leads.path == self.page.path.parent:
                self._go_up(leads)
            else:
                self._go_to(*(self._at.pages[:-1] if isinstance(self.page, Folder) else self._at.pages), leads)
        elif leads is not None:
            self._go_to(*self._at.pages, leads)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted:
            return True
        if action == "hidden":
            return isinstance(self.page, Folder) and not self.field.has_focus
        if action == "complete":
            return isinstance(self.page, Folder) or self.field.has_focus
        if action == "parent":
            return len(self._at.pages) > 1 and not self.field.has_focus
        return True

    def lets_pass(self, key: str) -> bool:
        """Whether a key is none of this screen's own, and means something on the screen below."""
        at_start = self.focused is self.rows and len(self._at.pages) == 1
        return at_start and key not in self.active_bindings and self._passes(key)


def _with_letters(page: Folder, text: str) -> list[Entry]:
    """The rows of a directory whose names have the typed letters."""
    entries = folder_entries(page)
    return [entry for entry in entries if text.lower() in entry.name.lower()] if text else entries


def _heading(page: Page) -> str:
    if isinstance(page, Folder):
        return f"{page.path}{'/' if str(page.path) != '/' else ''}"
    if isinstance(page, Factories):
        return str(page.file)
    return page.network if isinstance(page, WeightsOf) else ""
