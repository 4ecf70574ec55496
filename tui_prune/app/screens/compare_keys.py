"""What the keys of the main screen do that keeps the comparison: copy it, and write it to a file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tui_prune import paths
from tui_prune.app.cells import Cell, shortened
from tui_prune.app.columns import Part
from tui_prune.app.screens.main_parts import LONGEST_NAME, MainParts
from tui_prune.app.widgets.prompt_line import Question
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.formatting import file_name, size
from tui_prune.report.comparison import FORMS, check_export, export, markdown

if TYPE_CHECKING:
    from tui_prune.app.widgets.print_pane import PrintPane

LARGEST_COPY = 75_000
"""Bytes that a terminal takes into its clipboard at one time; many refuse more."""


class CompareKeys(MainParts):
    """The part of the main screen that copies and exports the comparison."""

    def action_open_print(self) -> None:
        self.action_open_tab("print")
        self.go_to("details")

    def on_print_pane_moved(self, event: "PrintPane.Moved") -> None:
        pane = event.pane
        self.reveal(pane.path)
        pane.told = self.node.path if self.node is not None else None

    def on_print_pane_chosen(self) -> None:
        self.go_to("tree")

    def action_copy_table(self) -> None:
        text = markdown(self.session.opened.title, self.plan, self.beside)
        self.app.copy_to_clipboard(text)
        octets = len(text.encode())
        what = "" if self.beside is None else f", beside {shortened(self.beside.name, LONGEST_NAME)}"
        said = f"copied as Markdown: {sum(layer.producer for layer in self.plan.layers)} layers{what}, {size(octets)}"
        if octets > LARGEST_COPY:
            said += "; terminals may refuse so much: E writes it to a file"
        self.remark(said)

    def action_command_log(self) -> None:
        from tui_prune.app.screens.command_log import CommandLogDialog
        from tui_prune.session.command_log import command_log

        session, app = self.session, cast("Any", self.app)  # screens don't import the app
        recovered = () if session.recovered is None else session.recovered.report.recovered
        output = session.saved_to or Path(f"{file_name(session.opened.title)}-pruned.pt")
        app.push_screen(CommandLogDialog(command_log(app.request, session.recipe, recovered, output)))

    def action_ask_export(self) -> None:
        title, replace = self.session.opened.title, set[Path]()

        def path_of(text: str) -> Path:
            return Path(os.path.expanduser(text.strip()))

        def preview(text: str) -> list[Part]:
            path = path_of(text)
            if path.suffix.casefold() not in FORMS:
                raise UsageError(f"End it in {' '.join(FORMS)}; the suffix says what is written.")
            return [Part(0, ((Cell(FORMS[path.suffix.casefold()]),),))]

        def accept(text: str) -> None:
            path = path_of(text)
            try:
                preview(text)
                if not paths.is_folder(path.parent):
                    raise UsageError(f"There is no folder {path.parent}; make it first.")
                check_export(path, force=True)
                if paths.exists(path) and path not in replace:
                    replace.add(path)
                    raise UsageError("The file is there already; enter replaces it.")
                written = export(path, title, self.session.plan, force=path in replace, beside=self.beside)
            except UsageError:
                raise
            except TuiPruneError as error:
                raise UsageError(str(error)) from error
            self.remark(f"written to {written}: {FORMS[path.suffix.casefold()]}")

        question = Question("export to:", " ".join(FORMS), f"{file_name(title)}.md", preview, accept)
        self.show_prompt(True)
        self.prompt.ask(question)
