"""The tabs beside Structure: the description of a layer, and the drawings of it."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from tui_prune.app import crashes
from tui_prune.app.cells import Cell, Line
from tui_prune.app.pictures import pictures
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.errors import TuiPruneError

if TYPE_CHECKING:
    from tui_prune.session import LayerDetails

REMEMBERED = 64
"""Drawings that are kept, so that going back to a layer costs nothing."""

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
        self.show(describe(self.room), from_start=from_start)

    def on_resize(self) -> None:
        self.show(self._describe(self.room))


class Wanted(NamedTuple):
    """Which drawings are wanted: of which layer by which version of the plan, how large, starting with which."""

    layer: str
    version: int
    width: int
    height: int
    first: int


class PicturesPane(LinePane):
    """Drawings of a layer, made in a thread; where not all have room, they take turns."""

    BINDINGS: ClassVar[list[BindingType]] = [
        HALF,
        NEXT_TAB,
        Binding("space", "next_picture", "Next drawing", id="pictures.next", tooltip="The next drawing", show=False),
    ]

    class Drawn(Message):
        """Drawings are ready. Whether they are still wanted is for the receiver to tell."""

        def __init__(self, wanted: Wanted, lines: tuple[Line, ...]) -> None:
            super().__init__()
            self.wanted, self.lines = wanted, lines

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._layer: str | None = None
        self._version = 0
        self._first = 0
        self._details: Callable[[str], LayerDetails] | None = None
        self._drawn: OrderedDict[Wanted, tuple[Line, ...]] = OrderedDict()

    def look_at(self, layer: str | None, version: int, details: "Callable[[str], LayerDetails]") -> None:
        """Draw a layer, of which `details` knows all; None is a module that is no layer."""
        self._layer, self._version, self._details = layer, version, details
        self._look()

    def on_resize(self) -> None:
        self._look()

    def action_next_picture(self) -> None:
        self._first += 1
        self._look()

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self._layer or "", self._version, self.room, self.size.height, self._first)

    def _look(self) -> None:
        wanted = self._wanted
        if not wanted.layer:
            self.show([(Cell("Move to a layer to see its weights and scores.", "dim"),)], from_start=True)
        elif wanted in self._drawn:
            self._drawn.move_to_end(wanted)
            self.show(self._drawn[wanted])
        elif wanted.width and wanted.height and self._details is not None:
            self._draw(wanted, self._details)

    @work(thread=True, exclusive=True, group="drawing", exit_on_error=False)
    def _draw(self, wanted: Wanted, details: "Callable[[str], LayerDetails]") -> None:
        worker = get_current_worker()
        if worker.is_cancelled:  # another layer has been asked for while this waited for a thread
            return
        try:
            lines = pictures(details(wanted.layer), wanted.width, wanted.height, wanted.first)
        except TuiPruneError as error:
            lines = ((Cell(f"! {error}", "error"),),)
        except Exception as error:
            lines = ((Cell(f"! This can't be drawn; the report is {crashes.write(error)}", "error"),),)
        if not worker.is_cancelled:
            self.post_message(self.Drawn(wanted, lines))

    @on(Drawn)
    def _show_drawn(self, event: Drawn) -> None:
        self._drawn[event.wanted] = event.lines
        while len(self._drawn) > REMEMBERED:
            self._drawn.popitem(last=False)
        if event.wanted == self._wanted:
            self.show(event.lines)
