"""The last line: the few keys that matter here, made from the bindings."""

from collections.abc import Callable

from textual import events

from tui_prune.app import keymap
from tui_prune.app.cells import Cell, Line, cell_len
from tui_prune.app.columns import Part, compose
from tui_prune.app.keymap import Active
from tui_prune.app.widgets.one_line import OneLine

MOST = 6
"""Entries at the most in a narrow line; help and the palette have the rest."""
HELP = "help"
"""The binding that the line always has."""
WIDE = 118
"""Columns from which there is room for more of them."""
MORE = {"align": "align", "lock": "lock", "undo": "undo", "evaluate": "evaluate", "why": "why", "plans": "plans"}
"""Those, by the ids of their bindings, with their words."""


class KeyLine(OneLine):
    """Keys and what they do, for whatever has the focus. It can also take the next key for somebody."""

    def on_mount(self) -> None:
        self._answer: Callable[[str], None] | None = None
        self.show(self._words)
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._look())

    def _look(self) -> None:
        if self.is_mounted and self.line != self._painted:
            self.refresh()

    def _words(self, width: int) -> Line:
        parts = []
        for place, (one, said) in enumerate(self._entries(width)):
            rank = 0 if one.binding.id == HELP else place + 1
            parts.append(Part(rank, ((Cell(self.app.get_key_display(one.binding), "key"), Cell(f" {said}", "dim")),)))
        return compose(parts, width)

    def _entries(self, width: int) -> list[tuple[Active, str]]:
        """What can be done here, the best first, with its words; help is always among it."""
        active = keymap.active(self.screen)
        shown = [(one, one.binding.description) for one in active if one.binding.show]
        if width < WIDE:
            helps = [entry for entry in shown[MOST:] if entry[0].binding.id == HELP]
            shown = [*shown[: MOST - len(helps)], *helps]
        else:
            by_id = {one.binding.id: one for one in active}
            shown += [(by_id[name], said) for name, said in MORE.items() if name in by_id]
        return shown

    async def on_click(self, event: events.Click) -> None:
        """Do what is written under the mouse."""
        if self._answer is not None:
            return
        column, clicked = 1, ""
        for cell in self.line:
            clicked = cell.text if cell.style == "key" else clicked if cell.text.strip() else ""
            if column <= event.x < column + cell_len(cell.text):
                break
            column += cell_len(cell.text)
        else:
            return
        for one, _ in self._entries(self.size.width - 2):
            if clicked and self.app.get_key_display(one.binding) == clicked:
                await self.app.run_action(one.binding.action, one.node)
                return

    # One key for somebody

    def ask(self, words: Line, answer: Callable[[str], None]) -> None:
        """Say something and give the next key to `answer`: its character, or nothing for one that has none."""
        self._answer = answer
        self.can_focus = True
        self.screen.set_focus(self)
        self.show(lambda width: words)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._answer is not None

    def on_key(self, event: events.Key) -> None:
        if self._answer is not None:
            event.stop()
            event.prevent_default()
            self._end(event.character if event.is_printable else "")

    def on_blur(self) -> None:
        self._end("")

    def _end(self, character: str | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self.can_focus = False
            self.show(self._words)
            answer(character or "")
