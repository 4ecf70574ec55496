"""Settings: looks are tried while one moves over them, keys are typed, and what is chosen goes into the user's file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message

from tui_prune.app import keymap, theme
from tui_prune.app.cells import Cell, Line, cell_len, left, shortened
from tui_prune.app.screens.filtered import FilteredScreen
from tui_prune.app.settings_file import keep_key, keep_setting
from tui_prune.app.widgets.headed_list import HeadedList
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.row_list import RowList
from tui_prune.config import THEMES, Config, at_home, config_file
from tui_prune.errors import TuiPruneError

NO_KEYS = ("delete", "backspace")
"""They bring the default back, where a key is asked for."""


@dataclass(frozen=True)
class Theme:
    """A look, by its name in the file."""

    name: str


@dataclass(frozen=True)
class Mouse:
    """Whether the app listens to the mouse."""

    listens: bool


@dataclass(frozen=True)
class Keys:
    """The keys of a binding, by its id."""

    id: str
    are_own: bool


@dataclass(frozen=True)
class Setting:
    """A row: a heading, or something that can be chosen."""

    name: str
    value: str = ""
    words: str = ""
    leads: Theme | Mouse | Keys | None = None


def settings(config: Config, few_colors: bool) -> list[Setting]:
    """Return all settings with their present values."""
    rows = [Setting("Theme")]
    for name, words in THEMES.items():
        present = "plain" if few_colors else config.theme
        if name == present or not few_colors:
            rows.append(Setting(name, "●" if name == present else "", words, Theme(name)))
    rows += [Setting(""), Setting("Mouse")]
    said = "on" if config.mouse else "off"
    rows.append(Setting("mouse", said, "off leaves it to the terminal; from the next start on", Mouse(config.mouse)))
    rows += [Setting(""), Setting("Keys")]
    chosen, _ = keymap.check(config.keys)
    for name, one in {one.binding.id or "": one for one in keymap.known()}.items():
        keys = chosen[name].split(",") if name in chosen else one.keys
        shown = "  ".join(map(keymap.key_name, keys))
        rows.append(Setting(name, shown, one.binding.tooltip, Keys(name, name in config.keys)))
    return rows


class SettingsList(HeadedList):
    """The settings."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: Sequence[Setting] = ()

    @property
    def chosen(self) -> Theme | Mouse | Keys | None:
        """What is under the cursor."""
        return self.shown[self.cursor].leads if self.cursor < len(self.shown) else None

    def show(self, rows: Sequence[Setting], cursor: int | None = None) -> None:
        """Show other rows, with the cursor on a given one or on the first."""
        self.shown = rows
        self.start_again(cursor)

    def row_count(self) -> int:
        return len(self.shown)

    def can_choose(self, index: int) -> bool:
        return self.shown[index].leads is not None

    def header_cells(self, width: int) -> Line:
        return () if self.shown else (Cell(left(" no setting has these words; esc clears them", width), "dim"),)

    def row_cells(self, index: int, width: int) -> Line:
        row = self.shown[index]
        if row.leads is None:
            return (Cell(left(row.name, width), "strong"),)
        name = max(cell_len(one.name) for one in self.shown) + 1
        value = min(max(cell_len(one.value) for one in self.shown) + 2, width // 3)
        own = isinstance(row.leads, Keys) and row.leads.are_own
        return (
            Cell(left(row.name, name)),
            Cell(left(row.value, value), "changed" if own else "key"),
            Cell(left(row.words, max(0, width - name - value)), "dim"),
        )


class KeyCatcher(OneLine):
    """Says something, and takes the next key."""

    class Caught(Message):
        """A key was pressed, by Textual's name."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self.can_focus

    def on_blur(self) -> None:
        self.can_focus = False

    def on_key(self, event: events.Key) -> None:
        if self.can_focus:
            event.stop()
            event.prevent_default()
            self.can_focus = False
            self.post_message(self.Caught(event.key))


class SettingsScreen(FilteredScreen[None]):
    """Shows the settings and keeps what is changed."""

    guide_topic = "settings"
    TITLE_WORDS = "Settings"
    KEYS = "↑↓ choose, enter keeps it or asks for a key, esc closes"
    PLACEHOLDER = "type to find a theme or a key"

    def __init__(self, config: Config, changed: Callable[[Config], None]) -> None:
        """`changed` takes each configuration that is kept."""
        super().__init__()
        self._config, self._changed = config, changed
        self._asks: Keys | None = None
        self.rows = SettingsList()

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield KeyCatcher(id="catcher")

    def make_rows(self) -> SettingsList:
        return self.rows

    def fill(self, typed: str, cursor: int | None = None) -> None:
        words = typed.casefold().split()
        rows = settings(self._config, theme.few_colors())
        if words:
            rows = [
                row
                for row in rows
                if row.leads is not None
                and all(word in f"{row.name} {row.value} {row.words}".casefold() for word in words)
            ]
        elif cursor is None:
            present = Theme(self._config.theme)
            cursor = next((place for place, row in enumerate(rows) if row.leads == present), None)
        self.rows.show(rows, cursor)
        self._try()

    @on(RowList.Moved)
    def _moved(self) -> None:
        self._say(())
        self._try()

    def _try(self) -> None:
        """Wear the theme under the cursor; on other rows the one that is kept."""
        chosen = self.rows.chosen
        self._wear(chosen.name if isinstance(chosen, Theme) else self._config.theme)

    def _wear(self, name: str) -> None:
        if not theme.few_colors():
            self.app.theme = theme.LOOKS[name].name

    def choose(self) -> None:
        chosen = self.rows.chosen
        if isinstance(chosen, Theme):
            self._keep(lambda: keep_setting("theme", chosen.name))
        elif isinstance(chosen, Mouse):
            self._keep(lambda: keep_setting("mouse", not chosen.listens))
        elif chosen is not None:
            self._asks = chosen
            words = f"press the new key of {chosen.id}; delete: as it comes, esc: leave it"
            self._say((Cell(words, "strong"),))
            catcher = self.query_one(KeyCatcher)
            catcher.can_focus = True
            self.set_focus(catcher)

    @on(KeyCatcher.Caught)
    def _caught(self, event: KeyCatcher.Caught) -> None:
        asked, self._asks = self._asks, None
        self.set_focus(self.field)
        if asked is None or event.key == "escape":
            self._say(())
            return
        keys = None if event.key in NO_KEYS else keymap.written(event.key)
        if keys is not None:
            _, problems = keymap.check({**self._config.keys, asked.id: keys})
            wrong = next((problem for problem in problems if problem.startswith(f'"{asked.id}" ')), None)
            if wrong is not None:
                self._say((Cell(f"! {wrong}", "error"),))
                return
        self._keep(lambda: keep_key(asked.id, keys))

    def _keep(self, keep: Callable[[], Config]) -> None:
        try:
            self._config = keep()
        except TuiPruneError as error:
            self._say((Cell(f"! {error}", "error"),))
            return
        self._changed(self._config)
        self.fill(self.field.value.strip(), self.rows.cursor)
        self._say((Cell(f"kept in {at_home(config_file())}", "dim"),))

    def _say(self, line: Line) -> None:
        self.said.display = bool(line)
        self.said.show(lambda width: tuple(Cell(shortened(cell.text, width), cell.style) for cell in line))

    def action_close(self) -> None:
        self._wear(self._config.theme)
        super().action_close()
