"""The list of all commands: Textual's, made calm."""

import contextlib
from collections.abc import Iterable
from typing import Any

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits
from textual.system_commands import SystemCommandsProvider
from textual.widgets import Input

from tui_prune.app.screens.leaving import LeavesOnce

LESS = 0.5
"""What a match in an explanation counts beside one in a name."""


class Commands(SystemCommandsProvider):
    """Finds commands by their names, and by the words of their explanations; and what the screen offers beside them:
    drawings, plans, layers."""

    async def search(self, query: str) -> Hits:
        """Commands with the letters in their names, and those with the very words in their explanations."""
        matcher, words = self.matcher(query), query.strip().casefold()
        offers: Iterable[Any] = getattr(self.screen, "offers", tuple)()
        for name, says, act, *_ in (*self.app.get_system_commands(self.screen), *offers):
            match = matcher.match(name)
            if match > 0:
                yield Hit(match, matcher.highlight(name), act, help=says)
            elif words and words in says.casefold():
                yield Hit(LESS * matcher.match(says), name, act, help=says)


class Palette(LeavesOnce, CommandPalette):
    """Doesn't blink, and bears keys that come close together."""

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False

    def dismiss(self, result: object = None) -> AwaitComplete:
        if not self.is_active:  # a second enter: its command has been given already
            self._selected_command = DiscoveryHit("", lambda: None)
        return super().dismiss(result)

    def _action_command_list(self, action: str) -> None:
        with contextlib.suppress(KeyError):  # where there are no lines yet there is nothing to move through
            super()._action_command_list(action)
