"""A dialog that is a list under a field: typing filters the rows, enter takes the one under the cursor."""

from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.row_list import RowList

T = TypeVar("T")
Rows = TypeVar("Rows", bound=RowList)


class FilteredScreen(LeavesOnce, ModalScreen[T]):
    """A subclass gives the rows, fills them for what is typed, and says what enter does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", id="filter.down", tooltip="The next row", show=False),
        Binding("up", "move(-1)", "Up", id="filter.up", tooltip="The row before", show=False),
        Binding("pagedown", "page(1)", "Page down", id="filter.page_down", tooltip="A page down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="filter.page_up", tooltip="A page up", show=False),
        Binding("escape", "back", "Back", id="filter.back", tooltip="All rows again; then back", show=False),
    ]
    TITLE_WORDS = ""
    KEYS = "↑↓ choose, enter takes it, esc closes"
    PLACEHOLDER = "type to filter"

    def make_rows(self) -> RowList:
        """The list."""
        raise NotImplementedError

    def fill(self, typed: str) -> None:
        """Show the rows for what is typed."""
        raise NotImplementedError

    def choose(self) -> None:
        """Do what enter does to the row under the cursor."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(classes="box filtered"):
            field = Input(placeholder=self.PLACEHOLDER, id="filter", compact=True)
            field.cursor_blink = False
            yield field
            rows = self.make_rows()
            rows.can_focus = False  # typing filters, wherever one has clicked
            yield rows
            yield OneLine(id="said")

    def on_mount(self) -> None:
        self.box = self.query_one(".box")
        self.box.border_title, self.box.border_subtitle = self.TITLE_WORDS, self.KEYS
        self.field = self.query_one("#filter", Input)
        self.said = self.query_one("#said", OneLine)
        self.said.display = False
        self.fill("")
        self.set_focus(self.field)

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self.fill(self.field.value.strip())

    @on(Input.Submitted, "#filter")
    @on(RowList.Chosen)
    def _chosen(self) -> None:
        self.choose()

    def action_move(self, by: int) -> None:
        self.query_one(RowList).action_move(by)

    def action_page(self, by: int) -> None:
        self.query_one(RowList).action_page(by)

    def action_back(self) -> None:
        if self.field.value:
            self.field.value = ""
        else:
            self.action_close()

    def action_close(self) -> None:
        self.dismiss(None)
