"""The last line: the few keys that matter here, made from the bindings."""

from tui_prune.app.cells import Cell, Line
from tui_prune.app.columns import Part, compose
from tui_prune.app.widgets.one_line import OneLine

MOST = 6
"""Entries at the most; help and the palette have the rest."""


class KeyLine(OneLine):
    """Keys and what they do, for whatever has the focus."""

    def on_mount(self) -> None:
        self.show(self._words)
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._look())

    def _look(self) -> None:
        if self.is_mounted and self.line != self._painted:
            self.refresh()

    def _words(self, width: int) -> Line:
        keys: dict[str, list[str]] = {}
        words: dict[str, str] = {}
        for key, (_, binding, enabled, _) in self.screen.active_bindings.items():
            if binding.show and enabled:
                name = binding.id or binding.action
                keys.setdefault(name, []).append(binding.key_display or self.app.get_key_display(binding) or key)
                words[name] = binding.description
        parts = []
        for place, name in enumerate([*keys][:MOST]):
            said = (Cell(keys[name][0], "key"), Cell(f" {words[name]}", "dim"))
            parts.append(Part(place, (said,)))
        return compose(parts, width)
