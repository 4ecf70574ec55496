"""The last line: the few keys that matter here, made from the bindings."""

from collections.abc import Callable

from textual import events

from tui_prune.app import keymap
from tui_prune.app.cells import Cell, Line
from tui_prune.app.columns import Part, compose
from tui_prune.app.widgets.one_line import OneLine

MOST = 6
"""Entries at the most; help and the palette have the rest."""
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
        active = keymap.active(self.screen)
        shown = [(one.binding, one.binding.description) for one in active if one.binding.show][:MOST]
        if width >= WIDE:
            by_id = {one.binding.id: one.binding for one in active}
            shown += [(by_id[name], said) for name, said in MORE.items() if name in by_id]
        parts = []
        for place, (binding, said) in enumerate(shown):
            parts.append(Part(place, ((Cell(self.app.get_key_display(binding), "key"), Cell(f" {said}", "dim")),)))
        return compose(parts, width)

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
