"""The guide in the app: the list of its chapters, filtered by typing, and the chapter that is read."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Markdown, MarkdownViewer

from tui_prune.app.cells import Cell, Line, left
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.row_list import RowList
from tui_prune.guide import Chapter, chapters, mentioning, topic_of

FIRST = "opening"
"""The chapter that the list starts on, where there is it."""


class ChapterList(RowList):
    """Chapters, each with its summary."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown: Sequence[Chapter] = ()

    @property
    def chosen(self) -> Chapter | None:
        """The chapter under the cursor."""
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    def show(self, shown: Sequence[Chapter], topic: str = "") -> None:
        """Show other chapters, with the cursor on one of them, or on the first."""
        self.shown = shown
        topics = [one.topic for one in shown]
        self.show_cursor(topics.index(topic) if topic in topics else 0)
        self.rows_changed()

    def row_count(self) -> int:
        return len(self.shown)

    def header_cells(self, width: int) -> Line:
        return () if self.shown else (Cell(left(" no chapter has these words; esc clears them", width), "dim"),)

    def row_cells(self, index: int, width: int) -> Line:
        one = self.shown[index]
        column = max(map(len, chapters())) + 2
        return (Cell(left(one.topic, column), "key"), Cell(left(one.about, max(0, width - column))))


class Reader(MarkdownViewer):
    """A chapter. Its links lead to other chapters."""

    class Followed(Message):
        """A link was chosen."""

        def __init__(self, link: str) -> None:
            super().__init__()
            self.link = link

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(show_table_of_contents=False, open_links=False, id=id)

    @on(Markdown.LinkClicked)
    def _follow(self, event: Markdown.LinkClicked) -> None:
        event.prevent_default()  # which would read a file of that name
        event.stop()
        self.post_message(self.Followed(event.href))


class GuideScreen(LeavesOnce, ModalScreen[None]):
    """Reads the guide."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="guide.back", tooltip="The list of chapters; then back", show=False),
        Binding("right_square_bracket,n", "turn(1)", "Next", id="guide.next", tooltip="The next chapter", show=False),
        Binding(
            "left_square_bracket,p", "turn(-1)", "Previous", id="guide.previous", tooltip="The one before", show=False
        ),
        Binding("down,j", "move(1)", "Down", id="guide.down", tooltip="A line, or a chapter, down", show=False),
        Binding("up,k", "move(-1)", "Up", id="guide.up", tooltip="A line, or a chapter, up", show=False),
        Binding("pagedown,space,ctrl+d", "page(1)", "Page down", id="guide.page_down", tooltip="A page", show=False),
        Binding("pageup,b,ctrl+u", "page(-1)", "Page up", id="guide.page_up", tooltip="A page up", show=False),
        Binding("home,g", "edge(0)", "Start", id="guide.first", tooltip="To the start", show=False),
        Binding("end,G", "edge(1)", "End", id="guide.last", tooltip="To the end", show=False),
    ]

    def __init__(self, topic: str = "") -> None:
        """Open on the chapter of a topic; on the list of all where there is none."""
        super().__init__()
        self.topic = topic if topic in chapters() else ""
        """The chapter that is read; none: the list is shown."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="box", id="guide"):
            field = Input(placeholder="type to find the chapters that say something of it", compact=True)
            field.cursor_blink = False
            yield field
            yield ChapterList(id="chapters")
            yield Reader(id="reader")

    async def on_mount(self) -> None:
        self.field = self.query_one(Input)
        self.rows = self.query_one("#chapters", ChapterList)
        self.rows.can_focus = False  # typing filters, wherever one has clicked
        self.reader = self.query_one("#reader", Reader)
        self._fill()
        await self.read(self.topic)

    async def read(self, topic: str) -> None:
        """Show the chapter of a topic; the list of all where it is empty."""
        last, self.topic = self.topic or self.rows.chosen, topic
        box = self.query_one("#guide")
        self.reader.display = bool(topic)
        self.field.display = self.rows.display = not topic
        if not topic:
            box.border_title = "Guide"
            box.border_subtitle = "↑↓ choose, enter reads, esc closes"
            self._fill(last if isinstance(last, str) else FIRST)
            self.set_focus(self.field)
            return
        box.border_title = f"Guide: {chapters()[topic].title}"
        box.border_subtitle = "] [ next and previous chapter, esc all chapters, f2 closes"
        self.reader.scroll_home(animate=False)
        self.set_focus(self.reader.document)
        await self.reader.document.update(chapters()[topic].text)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._fill()

    def _fill(self, topic: str = FIRST) -> None:
        words = self.field.value.strip()
        found = mentioning(words) if words else (*chapters(),)
        self.rows.show([chapters()[one] for one in found], topic)

    @on(Input.Submitted)
    @on(RowList.Chosen)
    async def _chosen(self) -> None:
        if self.rows.chosen is not None:
            await self.read(self.rows.chosen.topic)

    @on(Reader.Followed)
    async def _followed(self, event: Reader.Followed) -> None:
        topic = topic_of(event.link)
        if topic is not None:
            await self.read(topic)
        else:
            self.query_one("#guide").border_subtitle = event.link  # the browser isn't on this machine

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in ("turn", "edge") or bool(self.topic)

    async def action_turn(self, by: int) -> None:
        topics = [*chapters()]
        await self.read(topics[(topics.index(self.topic) + by) % len(topics)])

    def action_move(self, by: int) -> None:
        if self.topic:
            self.reader.scroll_relative(y=by, animate=False)
        else:
            self.rows.action_move(by)

    def action_page(self, by: int) -> None:
        if self.topic:
            self.reader.scroll_relative(y=by * max(1, self.reader.size.height - 2), animate=False)
        else:
            self.rows.action_page(by)

    def action_edge(self, end: int) -> None:
        (self.reader.scroll_end if end else self.reader.scroll_home)(animate=False)

    async def action_back(self) -> None:
        if self.topic:
            await self.read("")
        elif self.field.value:
            self.field.value = ""
        else:
            self.action_close()

    def action_close(self) -> None:
        self.dismiss(None)
