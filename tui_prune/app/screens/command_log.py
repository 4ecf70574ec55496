"""The command log: what was done here as a command line, a recipe file and Python, to be copied."""

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line
from tui_prune.app.screens.dialog import Dialog
from tui_prune.app.widgets.line_pane import LinePane

if TYPE_CHECKING:
    from tui_prune.session.command_log import CommandLog


class CommandLogDialog(Dialog[None]):
    """Shows the three forms; a key for each copies it."""

    guide_topic = "commands"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,Y", "copy_form(0)", "copies the command", key_display="c", id="log.command", tooltip="Copy it"),
        Binding("t", "copy_form(1)", "the recipe", id="log.toml", tooltip="Copy the recipe as TOML"),
        Binding("p", "copy_form(2)", "Python", id="log.python", tooltip="Copy the lines of Python"),
        Binding("escape", "close", "closes", id="dialog.close", tooltip="Back to where you were"),
    ]

    def __init__(self, log: "CommandLog") -> None:
        super().__init__()
        self.log_of_commands = log
        self._forms = (
            ("As a command line", f"{log.command}\n"),
            ("As a recipe file", log.toml or "# nothing is chosen\n"),
            ("In Python", log.python),
        )

    def on_mount(self) -> None:
        self.query_one(".box").add_class("wide")
        self._show()
        self.query_one("#words").focus()

    def _show(self, copied: int | None = None) -> None:
        lines: list[Line] = []
        for number, (title, text) in enumerate(self._forms):
            said = Cell("   sent to your terminal's clipboard", "changed")
            lines += [(Cell(title, "strong"), *((said,) if number == copied else ()))]
            lines += [(Cell(f"  {line}", "code"),) for line in text.splitlines()]
            lines.append(())
        self.say(
            "What you did, to be done again", [*lines, *((Cell(note, "dim"),) for note in self.log_of_commands.notes)]
        )

    def action_copy_form(self, number: int) -> None:
        self.app.copy_to_clipboard(self._forms[number][1])
        self._show(number)
        self.query_one("#words", LinePane).scroll_home(animate=False)
