"""The application: opens a session in a thread, shows the screens, and leaves a clean terminal whatever happens."""

import asyncio
import functools
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.keys import key_to_character
from textual.screen import Screen
from textual.worker import get_current_worker

from tui_prune.app import theme
from tui_prune.app.jobs import Job, JobEnded, JobProgressed, carry_out
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.typed_ahead import TypedAhead
from tui_prune.request import OpenRequest

if TYPE_CHECKING:
    from tui_prune.app.keeper import Keeper
    from tui_prune.progress import Progress
    from tui_prune.session import Session

OpenSession = Callable[[OpenRequest, "Progress"], "Session"]
"""Opens what the app is to show; it runs in a thread and may import torch."""

HINTS = [
    "tui-prune takes the name of a torchvision model (resnet50), of timm's (timm:resnet50), of a bundled one (nin), "
    "file.py:factory, a weights file, or a checkpoint that it has written itself. tui-prune --help has the rest.",
]


KEY_NAMES = {
    "escape": "esc",
    "pagedown": "page down",
    "pageup": "page up",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "plus": "+",
    "minus": "-",
    "underscore": "_",
    "equals_sign": "=",
    "slash": "/",
    "full_stop": ".",
}


def key_name(key: str) -> str:
    """A key as it is written on the keyboard: ctrl+s, ?, page down."""
    *modifiers, last = key.split("+")
    character = key_to_character(last) or ""
    return "+".join([*modifiers, KEY_NAMES.get(last) or (character.strip() if character.isprintable() else "") or last])


class PruneApp(App[None]):
    """The app; `open_session` is the one seam to everything below it."""

    TITLE = "tui-prune"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "q,ctrl+q",
            "quit",
            "quit",
            id="quit",
            tooltip="Back to the shell; asks when the plan isn't saved",
            show=False,
        ),
        Binding(
            "ctrl+z", "suspend_process", "Suspend", id="suspend", tooltip="To the shell; fg comes back", show=False
        ),
    ]

    def __init__(self, open_session: OpenSession, request: OpenRequest) -> None:
        super().__init__(ansi_color=True if theme.few_colors() else None)
        theme.apply(self)
        self.animation_level = "none"
        self.session: Session | None = None
        self.keeper: Keeper | None = None
        self.crash: Exception | None = None
        self._open_session = open_session
        self.request = request
        self._opening: Job | None = None
        self._failed = 0
        self._typed_ahead = TypedAhead(self)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and self._typed_ahead.holds(event):
            return
        await super().on_event(event)

    def get_default_screen(self) -> Screen[Any]:
        return OpeningScreen(self.request.name)

    def on_mount(self) -> None:
        self._answer_signals()
        # Importing torch holds the interpreter: let the first frame out before.
        self.call_after_refresh(self._open)

    # Opening

    def _open(self) -> None:
        self._opening = Job("opening", functools.partial(self._open_session, self.request))
        self._run_opening(self._opening)

    @work(thread=True, exclusive=True, group="opening", exit_on_error=False)
    def _run_opening(self, job: Job) -> None:
        carry_out(job, get_current_worker(), self.post_message)

    @on(JobProgressed)
    def _opening_progressed(self, event: JobProgressed) -> None:
        if isinstance(self.screen, OpeningScreen):
            self.screen.progress(event.stage, event.done)

    @on(JobEnded)
    async def _opened(self, event: JobEnded) -> None:
        if event.job is not self._opening or event.stopped:
            return
        if event.failure:
            self._failed = 2 if event.wrong_use else 1
            if isinstance(self.screen, OpeningScreen):
                self.screen.fail(event.failure, HINTS)
            return
        from tui_prune.app.keeper import Keeper
        from tui_prune.app.screens.main import MainScreen

        self.session = event.outcome
        self.keeper = Keeper(event.outcome, self.request)
        screen = MainScreen(event.outcome, self.keeper.changed)
        await self.push_screen(screen)
        self.keeper.begin(screen)

    # Leaving

    async def action_quit(self) -> None:
        from tui_prune.app.screens.dialog import QuitDialog

        if isinstance(self.screen, QuitDialog):
            return
        if self.session is not None and self.session.dirty:
            self.push_screen(QuitDialog(kept=self.keeper is not None and self.keeper.close()), self._quit_answered)
            return
        self.exit(return_code=self._failed)

    async def _quit_answered(self, answer: str | None) -> None:
        if answer == "quit":
            self.exit()
        elif answer == "save":
            await self.screen.run_action("save")

    def _answer_signals(self) -> None:
        """End as a shell expects it when the line drops or somebody asks for it, with the terminal as it was."""
        if os.name != "posix" or self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda number=number: self.exit(return_code=128 + number))

    def exit(self, *arguments: Any, **keywords: Any) -> None:
        """As every app does, with the last move of the cursor kept."""
        if self.keeper is not None:
            self.keeper.close()
        super().exit(*arguments, **keywords)

    def _fatal_error(self) -> None:
        """Textual would print a page of local variables; a report in a file and its path are of more use."""
        self.crash = self._exception
        with suppress(Exception):  # whatever has crashed may be in the way of this too
            if self.keeper is not None:
                self.keeper.close()
        self._close_messages_no_wait()

    # Help and palette

    def action_help(self) -> None:
        from tui_prune.app.screens.dialog import HelpDialog

        keys: dict[tuple[Any, str], list[str]] = {}
        words: dict[tuple[Any, str], str] = {}
        for key, (node, binding, enabled, tooltip) in self.screen.active_bindings.items():
            if enabled and tooltip and not binding.system:
                name = (node, binding.id or binding.action)
                keys.setdefault(name, []).append(key_name(key))
                words[name] = tooltip
        groups: dict[Any, list[tuple[str, str]]] = {}
        for node, name in keys:
            groups.setdefault(node, []).append(("  ".join(keys[node, name]), words[node, name]))
        ordered = sorted(groups, key=lambda node: node is not self.screen)  # what one does, then how one moves
        self.push_screen(HelpDialog([groups[node] for node in ordered]))

    def get_key_display(self, binding: Binding) -> str:
        return binding.key_display or key_name(binding.key)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        seen = set()
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            name = binding.id or binding.action
            if not enabled or not tooltip or binding.system or name in seen:
                continue
            seen.add(name)

            async def act(action: str = binding.action, node: Any = node) -> None:
                await self.run_action(action, node)

            title = f"{binding.description[:1].upper()}{binding.description[1:]}"
            yield SystemCommand(f"{title}  ({self.get_key_display(binding)})", tooltip, act)

    def action_command_palette(self) -> None:
        from textual.command import CommandPalette
        from textual.widgets import Input

        if not CommandPalette.is_open(self):
            palette = CommandPalette(id="--command-palette")
            self.push_screen(palette)
            self.call_after_refresh(lambda: [setattr(field, "cursor_blink", False) for field in palette.query(Input)])
