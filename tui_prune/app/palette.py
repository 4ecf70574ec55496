"""The list of all commands: Textual's, made calm."""

import contextlib

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette, DiscoveryHit
from textual.widgets import Input

from tui_prune.app.screens.leaving import LeavesOnce


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
