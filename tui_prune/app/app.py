"""The application: opens a session in a thread, shows the screens, and leaves a clean terminal whatever happens."""

import asyncio
import functools
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_prune.app import keymap, theme
from tui_prune.app.jobs import UNSAID, Job, JobEnded, JobProgressed, in_a_thread
from tui_prune.app.keymap import key_name
from tui_prune.app.openings import Openings, OpenSession
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.config import THEMES, Config, config_file
from tui_prune.guide import chapters
from tui_prune.loading.request import OpenRequest

if TYPE_CHECKING:
    from tui_prune.app.keeper import Keeper
    from tui_prune.session.session import Session


def _commands() -> type[Any]:
    """What the palette finds; asked for when it opens."""
    from tui_prune.app.palette import Commands

    return Commands


class PruneApp(App[None]):
    """The app; `open_session` is the one seam to everything below it."""

    TITLE = "tui-prune"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "q", "quit", "quit", id="quit", tooltip="Back to the shell; asks when the plan isn't saved", show=False
        ),
        Binding(
            "ctrl+q",
            "quit",
            "quit",
            id="quit.anywhere",
            tooltip="Quit, from every dialog and while you type, too",
            show=False,
            priority=True,  # a dialog and a field would have it otherwise
        ),
        Binding(
            "f2",
            "guide",
            "Guide",
            id="guide",
            tooltip="The guide, at the chapter about what you do here",
            show=False,
            priority=True,  # while one types and in dialogs, too
        ),
        Binding("f3", "settings", "Settings", id="settings", tooltip="Themes and keys, to try and to keep", show=False),
        Binding(
            "ctrl+z", "suspend_process", "Suspend", id="suspend", tooltip="To the shell; fg comes back", show=False
        ),
    ]

    def __init__(self, open_session: OpenSession, request: OpenRequest, config: Config | None = None) -> None:
        super().__init__(ansi_color=True if theme.few_colors() else None)
        self.config = config or Config()
        anybodys = cast("App[Any]", self)
        theme.apply(anybodys, self.config.theme)
        self._wrong_settings = [*self.config.problems, *keymap.apply(anybodys, self.config.keys)]
        self.animation_level = "none"
        self.session: Session | None = None
        self.keeper: Keeper | None = None
        self.crash: Exception | None = None
        self.request = request
        """What is open, or is to be opened first."""
        self.openings = Openings(self, open_session)

    def get_default_screen(self) -> Screen[Any]:
        return self.openings.panel

    def on_mount(self) -> None:
        self._answer_signals()
        self.openings.begin()

    # Opening

    @work(exclusive=True, group="opening", exit_on_error=False, description=UNSAID)
    async def run_opening(self, job: Job) -> None:
        """Open something in a thread."""
        await in_a_thread(job, self.post_message)

    def stop_opening(self) -> None:
        """Let what is being opened be."""
        self.workers.cancel_group(self, "opening")

    @on(JobProgressed)
    def _opening_progressed(self, event: JobProgressed) -> None:
        self.openings.progressed(event)

    @on(JobEnded)
    async def _opened(self, event: JobEnded) -> None:
        await self.openings.ended(event)

    @on(OpeningScreen.Again)
    def _opening_again(self, event: OpeningScreen.Again) -> None:
        self.openings.try_again(event.input_spec)

    @on(OpeningScreen.Other)
    def _opening_other(self) -> None:
        self.openings.choose()

    @on(OpeningScreen.Left)
    def _opening_left(self) -> None:
        self.openings.leave()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and self.openings.holds(event):
            return
        await super().on_event(event)

    def wrong_settings(self) -> str:
        """What is wrong with the config file, in a sentence that is said once."""
        wrong, self._wrong_settings = self._wrong_settings, []
        if len(wrong) > 1:
            return f"! {len(wrong)} settings of {config_file().name} don't apply; tui-prune config says why."
        return f"! {wrong[0]}" if wrong else ""

    # Leaving

    async def action_quit(self) -> None:
        from tui_prune.app.screens.dialog import QuitDialog

        if isinstance(self.screen, QuitDialog):
            self.screen.action_answer("quit")
            return
        if self.session is not None and self.session.dirty:
            leaves = {} if self.keeper is None else self.keeper.leaves()
            self.push_screen(QuitDialog(**leaves), self._quit_answered)
            return
        self.exit(return_code=self.openings.exit_status)

    async def _quit_answered(self, answer: str | None) -> None:
        if answer == "quit":
            self.exit()
        elif answer == "save":
            self.openings.show_main()
            await self.screen.run_action("save")

    def _answer_signals(self) -> None:
        """End as a shell expects it when the line drops or somebody asks for it, with the terminal as it was."""
        if os.name != "posix" or self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, functools.partial(self.exit, return_code=128 + number))

    def exit(self, *arguments: Any, **keywords: Any) -> None:
        """As every app does, with the last move of the cursor kept."""
        if self.keeper is not None:
            self.keeper.release()
        super().exit(*arguments, **keywords)

    def on_unmount(self) -> None:
        if self.keeper is not None:
            self.keeper.let_go()

    def _fatal_error(self) -> None:
        """Textual would print a page of local variables; a report in a file and its path are of more use."""
        self.crash = self._exception
        with suppress(Exception):  # whatever has crashed may be in the way of this too
            if self.keeper is not None:
                self.keeper.close()
        self._close_messages_no_wait()

    # Help and palette

    def action_help(self) -> None:
        from tui_prune.app.screens.help import HelpScreen

        marks = getattr(self.screen, "MARKS", ())
        self.push_screen(HelpScreen(keymap.active(self.screen), marks), self._run_chosen)

    async def _run_chosen(self, chosen: keymap.Active | None) -> None:
        if chosen is not None and chosen.node.is_attached:
            await self.run_action(chosen.binding.action, chosen.node)

    def action_guide(self, topic: str | None = None) -> None:
        from tui_prune.app.screens.guide import GuideScreen

        if isinstance(self.screen, GuideScreen):
            self.screen.action_close()
            return
        self.push_screen(GuideScreen(self._topic_here() if topic is None else topic))

    def action_settings(self) -> None:
        from tui_prune.app.screens.settings import SettingsScreen

        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen(self.config, self._take_settings))

    def _take_settings(self, config: Config) -> None:
        self.config = config
        theme.apply(cast("App[Any]", self), config.theme)
        self.set_keymap(keymap.check(config.keys)[0])

    def _topic_here(self) -> str:
        """The chapter about what the user does: of the widget that has the keys, of what is around it, or none."""
        places = self.screen.focused.ancestors_with_self if self.screen.focused is not None else [self.screen]
        return next((topic for place in places if (topic := getattr(place, "guide_topic", ""))), "")

    def get_key_display(self, binding: Binding) -> str:
        return binding.key_display or key_name(binding.key)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for one in keymap.active(screen):
            if one.tooltip:
                act = functools.partial(self.run_action, one.binding.action, one.node)
                yield SystemCommand(f"{one.title}  ({self.get_key_display(one.binding)})", one.tooltip, act)
        for chapter in chapters().values():
            read = functools.partial(self.action_guide, chapter.topic)
            yield SystemCommand(f"Guide: {chapter.topic}", chapter.about, read)
        for name, look in theme.choices(self):
            words = f"{THEMES[name][:1].upper()}{THEMES[name][1:]}; for as long as the app is open"
            yield SystemCommand(f"Theme: {name}", words, functools.partial(self._wear, name, look))

    def _wear(self, name: str, look: str) -> None:
        """Change the look, and say how to keep it."""
        self.theme = look
        remark = getattr(self.screen, "remark", None)
        if remark is not None:
            keys = [key_name(one.keys[0]) for one in keymap.active(self.screen) if one.binding.id == "settings"]
            remark(f"for as long as the app is open; {' '.join(keys)} keeps {name} as the theme", "dim")

    def action_command_palette(self) -> None:
        from tui_prune.app.palette import Palette

        if not Palette.is_open(cast("App[Any]", self)):
            self.push_screen(Palette(id="--command-palette"))
