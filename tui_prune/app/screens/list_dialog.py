"""A dialog that is a list: the main screen behind it shows what the row under the cursor would make of the network."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui_prune.app.cells import Cell, Line, left, width_of
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.choice_list import ChoiceList
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.row_list import RowList
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.formatting import count, share

if TYPE_CHECKING:
    from tui_prune.app.screens.main_parts import MainParts
    from tui_prune.cost.cost import Cost
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.session.session import Session

FRAME = 6
"""Columns of a box that its keys can't have."""
AROUND = 9
"""Lines of the screen that the rows leave free: title, foot, the dialog's own lines and its frame."""


class ListDialog(LeavesOnce, ModalScreen[None]):
    """Rows, two lines about the one under the cursor, and sometimes a field to type a name into."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "closes", id="dialog.close", tooltip="Back; all stays as it is"),
        Binding(
            "question_mark,f1", "app.help", "help", key_display="?", id="help", tooltip="All keys here", show=False
        ),
    ]
    TITLE_WORDS = ""

    def __init__(self, main: "MainParts") -> None:
        super().__init__()
        self.main = main
        self._accept: Callable[[str], str] | None = None
        self._failed = ""

    @property
    def session(self) -> "Session":
        return self.main.session

    def compose(self) -> ComposeResult:
        with Vertical(classes="box list-box"):
            yield ChoiceList(id="rows")
            yield OneLine(id="said")
            yield OneLine(id="figures")
            field = Input(id="name", compact=True, select_on_focus=True)
            field.cursor_blink = False
            yield field

    def on_mount(self) -> None:
        self.rows = self.query_one("#rows", ChoiceList)
        self.field.display = False
        self.query_one(".box").border_title = self.TITLE_WORDS
        self._say_keys()
        self.fill()
        self.set_focus(self.rows)

    def _say_keys(self) -> None:
        shown = [binding for binding in self.BINDINGS if isinstance(binding, Binding) and binding.show]
        words = [f"{self.app.get_key_display(binding)} {binding.description}" for binding in shown]
        room = (
            min(self.app.size.width, width.cells or 0 if (width := self.query_one(".box").styles.width) else 0) - FRAME
        )
        if len(", ".join(words)) > room:
            words = [*words[:-1], "? more", words[-1]]
        while len(", ".join(words)) > room and len(words) > 3:
            del words[-3]
        self.query_one(".box").border_subtitle = ", ".join(words)

    @property
    def field(self) -> Input:
        """Where a name is typed."""
        return self.query_one("#name", Input)

    @property
    def room(self) -> int:
        """The columns of the lines below the rows."""
        return self.query_one("#said").size.width

    # What a subclass gives

    def fill(self) -> None:
        """Show the rows."""
        raise NotImplementedError

    def about(self) -> tuple[Line, Line]:
        """Two lines about the row under the cursor."""
        raise NotImplementedError

    def look(self) -> None:
        """Show on the main screen what the row under the cursor would give."""

    # Showing

    def laid_out(self) -> None:
        """There are other rows: give them the room that they need, and say what the one under the cursor is."""
        self.rows.styles.height = max(2, min(self.rows.row_count() + 1, self.app.size.height - AROUND))
        self.say()

    def on_resize(self) -> None:
        self.laid_out()
        if self._accept is None:
            self._say_keys()

    def say(self) -> None:
        """Bring the two lines below the rows up to date."""
        lines = self.about()
        if self._failed:
            lines = lines[0], (Cell(f"! {self._failed}", "error"),)
        for name, line in zip(("said", "figures"), lines, strict=True):
            self.query_one(f"#{name}", OneLine).show(functools.partial(_within, line))

    def fail(self, words: str) -> None:
        """Say what won't do, until the next move."""
        self._failed = words
        self.say()

    def preview(self, recipe: "Recipe | None") -> "Plan | None":
        """Show the plan of a recipe on the main screen; None, and the session's, where it can't be shown at once."""
        if self not in self.app.screen_stack:  # what was still to be looked at when it was left
            return None
        try:
            plan = None if recipe is None else self.session.preview(recipe)
        except UsageError:
            plan = None
        if plan is None:
            self.main.settle()
        else:
            self.main.show_plan(plan)
        return plan

    @on(RowList.Moved, "#rows")
    def _moved(self) -> None:
        if self not in self.app.screen_stack:  # a key came between the move and this
            return
        self._failed = ""
        self.look()
        self.say()

    @on(RowList.Chosen, "#rows")
    def _chosen(self) -> None:
        self.choose()

    def choose(self) -> None:
        """Take the row under the cursor."""
        raise NotImplementedError

    def take(self, recipe: "Recipe") -> None:
        """Choose a recipe and close; where it needs long work first, that is begun."""
        try:
            waits_for = self.session.waits_for(recipe)
        except UsageError as error:
            self.fail(str(error))
            return
        self.leave()
        if waits_for:
            self.main.settle()
            self.main.work.prepare(recipe)
        else:
            self.main.change(lambda: self.session.apply(recipe))

    # Names

    def ask(self, words: str, value: str, accept: Callable[[str], str]) -> None:
        """Ask for a name. `accept` takes it, or says what is wrong with it, or raises `TuiPruneError`."""
        self._accept = accept
        self.query_one(".box").border_subtitle = "enter takes it, esc doesn't"
        self.query_one("#said", OneLine).show(lambda width: _within((Cell(words, "strong"),), width))
        self.query_one("#figures", OneLine).display = False
        self.field.display = True
        self.field.value = value
        self.set_focus(self.field)

    @on(Input.Submitted)
    def _named(self, event: Input.Submitted) -> None:
        event.stop()
        if self._accept is None:
            return
        try:
            wrong = self._accept(event.value)
        except TuiPruneError as error:
            wrong = str(error)
        if wrong:
            self.query_one("#said", OneLine).show(lambda width: _within((Cell(f"! {wrong}", "error"),), width))
            return
        self._end_asking()

    def _end_asking(self) -> None:
        self._accept = None
        self.field.display = False
        self.query_one("#figures", OneLine).display = True
        self._say_keys()
        self.set_focus(self.rows)
        self.fill()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._accept is None or action in ("close", "help")

    # Leaving

    def action_close(self) -> None:
        if self._accept is not None:
            self._end_asking()
            return
        self.leave()
        self.main.settle()

    def leave(self) -> None:
        """Close, whatever the main screen shows."""
        self.dismiss(None)


def shares(cost: "Cost | None", before: "Cost") -> dict[str, str]:
    """What a network needs, each with its share of the uncut one: "12.8M  50 %"."""
    if cost is None:
        return {"params": "?", "MACs": "?"}
    pairs = {"params": (cost.params, before.params), "MACs": (cost.macs, before.macs)}
    return {name: f"{count(now):>5} {share(now, then):>5}" for name, (now, then) in pairs.items()}


def _within(line: Line, width: int) -> Line:
    """A line, with an ellipsis where there is no room for all of it."""
    if width_of(line) <= width:
        return line
    cells: list[Cell] = []
    for cell in line:
        room = width - width_of(cells)
        if room <= 0:
            break
        cells.append(Cell(left(cell.text, min(room, width_of((cell,)))), cell.style))
    return tuple(cells)
