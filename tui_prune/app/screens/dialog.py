"""The few questions that take the whole screen."""

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui_prune.app import keymap
from tui_prune.app.cells import Cell, Line
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.widgets.line_pane import LinePane

T = TypeVar("T")

KEPT = "It is kept: open the network again to go on with it."
KEPT_WITH = "All of it is kept: open the network again to go on with it."
KEPT_ALONE = "Your choices are kept, but not these weights."

MARKS = (
    ("├─", "joins layers whose channels stand and fall together: T goes to the next of them"),
    ("=", "the same, where there is no room for such a line"),
    ("▇░▒▓", "a layer's share of the MACs: kept, and cut (darker: more of it)"),
    ("◆", "tied to the layer under the cursor"),
    ("≡", "an alignment of its own"),
    ("#", "its channels lie in blocks (heads, groups, parts)"),
    ("own, *", "a ratio of its own"),
    ("locked", "its channels stay; the tab Channels says why"),
    ("●", "marked (m): keys change all that are, at once"),
    ("○", "some layers in it are marked"),
    ("━━━╌╌", "the share that is kept"),
    ("MACs %", "left of the uncut network's MACs; top row: the sum"),
    ("lost %", "of the score, on average over the scan's ratios"),
    ("▸ (4)", "folded, with so many layers in it"),
    ("1…5 ×5", "repeated blocks in one row; → or f unfolds"),
)


class Dialog(LeavesOnce, ModalScreen[T]):
    """A box of lines over the main screen; esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "closes", id="dialog.close", tooltip="Back to where you were"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield LinePane(id="words")

    def say(self, title: str, lines: list[Line]) -> None:
        """Show a box of lines, and below them its keys."""
        box = self.query_one(".box")
        box.border_title = title
        own = [one.binding for one in keymap.active(self) if one.node is self and one.binding.show]
        box.border_subtitle = ", ".join(f"{self.app.get_key_display(b)} {b.description}" for b in own)
        self.query_one("#words", LinePane).show(lines)

    def action_close(self) -> None:
        self.dismiss(None)


class UnsavedDialog(Dialog[str]):
    """Asks what becomes of a plan that isn't saved."""

    WHERE = ""

    def __init__(self, *, kept: bool = False, weights: str = "", kept_weights: bool = False) -> None:
        """`kept`: what was chosen is offered when the network is opened again; `weights`: recovered ones that no
        checkpoint has, in words, and whether they are kept with it."""
        super().__init__()
        self._said = kept, weights, kept_weights

    def on_mount(self) -> None:
        self.say("The plan isn't saved", unsaved(*self._said, self.WHERE))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


class QuitDialog(UnsavedDialog):
    """Asks what becomes of a plan that isn't saved: "quit", "save", or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "s,ctrl+s",
            "answer('save')",
            "saves it",
            key_display="s",
            id="quit.save",
            tooltip="Save the pruned checkpoint first",
        ),
        Binding(
            "q,ctrl+q",
            "answer('quit')",
            "quits",
            key_display="q",
            id="quit.quit",
            tooltip="Quit without a checkpoint",
            priority=True,
        ),
        Binding("escape", "close", "stays", id="dialog.close", tooltip="Back to where you were"),
    ]


class OpenDialog(UnsavedDialog):
    """Asks what becomes of a plan that isn't saved when another network is opened: "open", "save", or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,ctrl+s", "answer('save')", "saves it", key_display="s", id="leave.save", tooltip="Save it first"),
        Binding("enter", "answer('open')", "opens the other", id="leave.open", tooltip="Open it; this plan is left"),
        Binding("escape", "close", "stays", id="dialog.close", tooltip="Back to where you were"),
    ]
    WHERE = " for this network"


def unsaved(kept: bool, weights: str, kept_weights: bool, where: str = "") -> list[Line]:
    """What is in no checkpoint: choices, and recovered weights; and whether it is kept."""
    if weights and not kept_weights:
        said = Cell(f"! {weights[:1].upper()}{weights[1:]} are in no file: s saves them.", "error")
        return [(said,), *([(Cell(KEPT_ALONE, "dim"),)] if kept else [])]
    what = f"What you have chosen{where}"
    if weights:
        said = Cell(f"{what} and {weights} are in no checkpoint yet.")
        return [(said,), *([(Cell(KEPT_WITH, "dim"),)] if kept else [])]
    return [(Cell(f"{what} is in no checkpoint yet."),), *([(Cell(KEPT, "dim"),)] if kept else [])]
