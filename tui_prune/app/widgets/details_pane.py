"""The tabs beside Structure: the description of a layer, and the drawings of it."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from tui_prune.app import crashes, theme
from tui_prune.app.cells import Cell, Line
from tui_prune.app.jobs import UNSAID
from tui_prune.app.pictures import Page, page
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.errors import TuiPruneError
from tui_prune.plots import STEP
from tui_prune.report.gallery import View
from tui_prune.report.kinds import KINDS

if TYPE_CHECKING:
    from tui_prune.session.looking import Look

REMEMBERED = 64
"""Pages that are kept, so that going back to a layer costs nothing."""

HALF = Binding("tab", "screen.other_half", "tree", id="details.half", tooltip="Back to the tree")
NEXT_TAB = Binding(
    "right_square_bracket", "screen.tab(1)", "next tab", key_display="]", id="details.tab", tooltip="The next tab"
)


class DescriptionPane(LinePane):
    """What is tied to a layer, and why: words, laid out for the width that there is."""

    BINDINGS: ClassVar[list[BindingType]] = [HALF, NEXT_TAB]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._describe: Callable[[int], tuple[Line, ...]] = lambda width: ()

    def tell(self, describe: Callable[[int], tuple[Line, ...]], *, from_start: bool = False) -> None:
        """Show what a function of the width gives."""
        self._describe = describe
        self.show(describe(self._room_to_come), from_start=from_start)

    @property
    def _room_to_come(self) -> int:
        """The columns that it has, or will have when it is shown: a hidden widget has no size."""
        if self.size.width:
            return self.room
        return next((width for above in self.ancestors if (width := getattr(above, "size", self.size).width)), 1)

    def on_resize(self) -> None:
        self.show(self._describe(self.room))


class Wanted(NamedTuple):
    """Which page is wanted: of which place by which version of the plan, how large, of what kind, seen how."""

    path: str
    version: int
    width: int
    height: int
    kind: str
    view: View


class PicturesPane(LinePane):
    """Pictures of a layer or a module, made in a thread; those that have no room are on further pages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("space", "turn_page(1)", "Next drawing", id="pictures.next", tooltip="The next drawings", show=False),
        Binding(
            "backspace",
            "turn_page(-1)",
            "Previous drawing",
            id="pictures.previous",
            tooltip="The drawings before",
            show=False,
        ),
        Binding(
            "z",
            "zoom",
            "Zoom",
            id="pictures.zoom",
            tooltip="The central 99 %; or each output by itself",
            show=False,
        ),
        Binding("l", "log", "Logarithmic", id="pictures.log", tooltip="Heights on a logarithmic scale", show=False),
        Binding(
            "less_than_sign",
            "turn(-1)",
            "Turn left",
            key_display="<",
            id="pictures.turn_left",
            tooltip="Turn the 3D picture to the left",
            show=False,
        ),
        Binding(
            "greater_than_sign",
            "turn(1)",
            "Turn right",
            key_display=">",
            id="pictures.turn_right",
            tooltip="Turn the 3D picture to the right",
            show=False,
        ),
        Binding(
            "left",
            "adjust(-1)",
            "Lower threshold",
            id="pictures.lower",
            tooltip="Lower the batch norm threshold; turn the 3D picture",
            show=False,
        ),
        Binding(
            "right",
            "adjust(1)",
            "Raise threshold",
            id="pictures.raise",
            tooltip="Raise the batch norm threshold; turn the 3D picture",
            show=False,
        ),
        Binding(
            "m",
            "screen.measure_activations",
            "Measure activations",
            id="pictures.measure",
            tooltip="Run the calibration data, to draw activations",
            show=False,
        ),
    ]

    class ThresholdMoved(Message):
        """The user moves the threshold through the batch norm scales of a place: `by` steps."""

        def __init__(self, path: str, by: int) -> None:
            super().__init__()
            self.path, self.by = path, by

    class Drawn(Message):
        """A page is ready. Whether it is still wanted is for the receiver to tell."""

        def __init__(self, wanted: Wanted, page: Page) -> None:
            super().__init__()
            self.wanted, self.page = wanted, page

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._path = ""
        self._version = 0
        self._kind = next(iter(KINDS))
        self._view = View()
        self._page = Page(())
        self._turns = 0
        self._look: Callable[[str], Look] | None = None
        self._drawn: OrderedDict[Wanted, Page] = OrderedDict()

    def look_at(self, path: str, version: int, look: "Callable[[str], Look]") -> None:
        """Draw a place, of which `look` knows all."""
        self._path, self._version, self._look = path, version, look
        self._refresh_page()

    def show_kind(self, kind: str) -> None:
        """Turn to a kind of drawing, or to the next kind that there is of this place."""
        self._kind = kind
        self._refresh_page(from_start=True)

    def forget(self) -> None:
        """Draw anew: there is more to see than before."""
        self._drawn.clear()
        self._refresh_page()

    def on_resize(self) -> None:
        self._refresh_page()

    def action_turn_page(self, by: int) -> None:
        self._turns += by
        self._turn_pages()

    def action_zoom(self) -> None:
        self._see(zoomed=not self._view.zoomed)

    def action_log(self) -> None:
        self._see(log=not self._view.log)

    def action_turn(self, by: int) -> None:
        if any(KINDS[kind].turns for kind in self._page.kinds):
            self._see(angle=(self._view.angle + by * STEP) % 360)

    def action_adjust(self, by: int) -> None:
        if any(KINDS[kind].moves_threshold for kind in self._page.kinds):
            self.post_message(self.ThresholdMoved(self._path, by))
        else:
            self.action_turn(by)

    def _turn_pages(self) -> None:
        """Turn as many pages as keys have asked for; which comes next is known once one is drawn."""
        while self._turns and self._wanted in self._drawn:
            page, by = self._drawn[self._wanted], 1 if self._turns > 0 else -1
            self._kind = (page.after if by > 0 else page.before) or self._kind
            self._turns -= by
        self._refresh_page(from_start=True)

    def _see(self, **changes: Any) -> None:
        self._view = self._view._replace(**changes)
        self._refresh_page(from_start="zoomed" in changes)

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self._path, self._version, self.room, self.size.height, self._kind, self._view)

    def _refresh_page(self, *, from_start: bool = False) -> None:
        wanted = self._wanted
        if from_start:
            self.scroll_to(y=0, animate=False, force=True)
        if wanted in self._drawn:
            self._drawn.move_to_end(wanted)
            self._show_page(self._drawn[wanted])
        elif wanted.width and wanted.height and self._look is not None:
            self._draw(wanted, self._look, theme.shows_colors(self.app))

    def _show_page(self, page: Page) -> None:
        self._page = page
        self.show(page.lines)

    @work(thread=True, exclusive=True, group="drawing", exit_on_error=False, description=UNSAID)
    def _draw(self, wanted: Wanted, look: "Callable[[str], Look]", colors: bool) -> None:
        worker = get_current_worker()
        if worker.is_cancelled:  # another layer has been asked for while this waited for a thread
            return
        try:
            made = page(look(wanted.path), wanted.kind, wanted.view, wanted.width, wanted.height, colors=colors)
        except TuiPruneError as error:
            made = Page(((Cell(f"! {error}", "error"),),))
        except Exception as error:
            made = Page(((Cell(f"! This can't be drawn; the report is {crashes.write(error)}", "error"),),))
        if not worker.is_cancelled:
            self.post_message(self.Drawn(wanted, made))

    @on(Drawn)
    def _page_drawn(self, event: Drawn) -> None:
        self._drawn[event.wanted] = event.page
        while len(self._drawn) > REMEMBERED:
            self._drawn.popitem(last=False)
        if event.wanted == self._wanted and self._turns:
            self._turn_pages()
        elif event.wanted == self._wanted:
            self._show_page(event.page)
