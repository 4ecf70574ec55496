"""Somebody who presses keys at random, and what must hold whatever they press."""

from __future__ import annotations

import asyncio
import random
import re
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
from textual import events
from textual._compositor import CompositorUpdate
from textual.command import CommandPalette
from textual.keys import key_to_character
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from tui_prune.app import keymap
from tui_prune.app.app import PruneApp
from tui_prune.app.cells import text_of
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.widgets.row_list import RowList
from tui_prune.formatting import count

PATIENCE = 60.0
"""Seconds that what a key has started may take on a busy machine."""
LEFT_OUT = {"ctrl+z", "ctrl+c"}
"""They speak to the shell."""
SPECIAL = (
    *"enter escape tab shift+tab up down left right home end pageup pagedown space backspace delete".split(),
    *"f1 f2 f3 ctrl+p".split(),
)
ANSWERS = [*"0123456789", ".", "%", " ", *"macs", *"params", "backspace", "up", "down", "enter", "enter", "escape"]


class WatchedApp(PruneApp):
    """The app with a terminal behind it that shows what it has been sent, and that doesn't leave."""

    CSS_PATH = Path(sys.modules[PruneApp.__module__].__file__ or "").parent / "app.tcss"
    exits = 0

    def watch_terminal(self, columns: int, rows: int) -> None:
        """From now on what is sent is shown."""
        self.terminal = pyte.Screen(columns, rows)
        self.stream = pyte.Stream(self.terminal)
        self.screen.refresh()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate) and hasattr(self, "stream") and not self._batch_count:
            self.stream.feed(renderable.render_segments(self.console))
        super()._display(screen, renderable)

    def exit(self, *args: Any, **keywords: Any) -> None:
        self.exits += 1


def key_event(key: str) -> events.Key:
    """What a terminal would tell of a key: its name in Textual's words, and its character."""
    name = keymap.textual_name(key)
    spoken = keymap.NAMES.get(name, "")
    character = spoken if len(spoken) == 1 and spoken.isascii() else key_to_character(name)
    return events.Key(name, character)


class Walker:
    """Presses keys on the app and looks at it between them."""

    def __init__(self, app: WatchedApp, pilot: Pilot[None], seed: int) -> None:
        self.app, self.pilot = app, pilot
        self.chance = random.Random(seed)
        self.pressed: list[str] = []
        self.used: set[str] = set()

    @property
    def main(self) -> MainScreen | None:
        return next((screen for screen in self.app.screen_stack if isinstance(screen, MainScreen)), None)

    async def press(self, *keys: str) -> None:
        """Press keys as fast as somebody who holds them down: one may come before the last has been shown."""
        for key in keys:
            if key not in LEFT_OUT:
                self.pressed.append(key)
                self.app.post_message(key_event(key))
                await asyncio.sleep(0.03 if self.chance.random() < 0.1 else 0.001)

    async def keys_through(self) -> None:
        """Wait until all that was pressed has had its effect; on a busy machine Textual's own pause ends before."""
        await self._until(lambda: not self._keys_wait())

    async def all_through(self) -> None:
        """Wait until no thread is at work any more, either, and all is painted."""
        quiet = 0

        def through() -> bool:
            nonlocal quiet
            quiet = 0 if self._keys_wait() or self._works_or_paints() else quiet + 1
            return quiet == 5

        await self._until(through, 0.02)

    async def _until(self, condition: Callable[[], bool], between: float | None = None) -> None:
        until = time.monotonic() + PATIENCE
        await self.pilot.pause(between)
        while not condition():
            assert time.monotonic() < until, f"still at work after {' '.join(self.pressed[-60:])}"
            await self.pilot.pause(between)

    def _keys_wait(self) -> bool:
        nodes = (node for screen in self.app.screen_stack for node in screen.walk_children(with_self=True))
        return not self.app.openings.ahead.through or any(node.message_queue_size for node in (self.app, *nodes))

    def _works_or_paints(self) -> bool:
        screen = self.app.screen
        paints = screen._dirty_widgets or screen._layout_required or screen._scroll_required or screen._repaint_required
        return bool(paints) or any(one.is_running for one in self.app.workers)

    async def press_all(self) -> None:
        """Every key that does something here, each once and followed by escape."""
        for one in keymap.active(self.app.screen):
            for key in one.keys:
                await self.press(key)
                await self.keys_through()
                self.check()
                await self.press("escape")
                await self.keys_through()
                self.check()
            self.used.add(one.binding.id or "")

    async def walk(self, keys: int, batch: int = 10) -> None:
        """Press so many keys, and check after each few."""
        for _ in range(0, keys, batch):
            for _ in range(batch):
                await self.press(self.next_key())
            await self.keys_through()
            self.check()
            if self.chance.random() < 0.2:
                await self.check_undo()

    def next_key(self) -> str:
        """Most are keys that do something here, some are any."""
        kind = self.chance.random()
        if isinstance(self.app.focused, Input) and kind < 0.8:
            return self.chance.choice(ANSWERS)
        if kind < 0.6:
            active = keymap.active(self.app.screen)
            if active:
                one = self.chance.choice(active)
                self.used.add(one.binding.id or "")
                return self.chance.choice(one.keys)
        return self.chance.choice(SPECIAL if kind < 0.85 else string.printable[:95])

    # What must hold

    def check(self) -> None:
        """All that must hold between two keys."""
        try:
            self._check()
        except AssertionError as error:
            raise AssertionError(f"after {' '.join(self.pressed[-60:])}\n{error}") from error

    def _check(self) -> None:
        app = self.app
        assert app.crash is None, app.crash
        assert app.is_running
        focused = app.focused
        if focused is not None:
            assert focused.display, f"{focused} has the keys and isn't shown"
            assert focused.screen is app.screen
        for rows in app.screen.query(RowList):
            assert 0 <= rows.cursor < max(1, rows.row_count()), f"{rows}: {rows.cursor} of {rows.row_count()}"
            if rows.region and rows.size.height > 1:
                top = rows.scroll_offset.y
                assert top <= rows.cursor < top + rows.page, f"the cursor of {rows} is out of sight"
        main = self.main
        if main is not None and app.screen is main:
            self._check_plan(main)

    def _check_plan(self, main: MainScreen) -> None:
        """What is on the screen is the session's plan."""
        if main.prompt.question is not None or main.work.job is not None:  # a preview, or about to change
            return
        assert self.app.focused is not None
        plan = main.session.plan
        assert main.plan is plan
        layers = {layer.name: layer for layer in plan.layers}
        for index, row in enumerate(main.table.rows):
            layer = layers.get(row.node.path) if row.node.layer else None
            if layer is not None:
                said = text_of(main.table.row_cells(index, 120))
                assert str(layer.after) in re.findall(r"\d+", said), (layer, said)
        tree = main.layer_tree
        for index, row in enumerate(tree.rows):
            layer = layers.get(row.node.path) if row.node.layer else None
            if layer is not None:
                figures = re.findall(r"\d+", text_of(tree.row_cells(index, 90)))
                assert {str(layer.before), str(layer.after)} <= set(figures), (layer, figures)
        title = text_of(main.query_one("#title").line)
        for total in (plan.before.params, plan.after.params):
            assert count(total) in title, (count(total), title)

    async def check_undo(self) -> None:
        """Undo and redo come back to where they started."""
        main = self.main
        if main is None or self.app.screen is not main or main.prompt.question is not None:
            return
        session = main.session
        if not session.can_undo or main.work.job is not None or not self.app.focused:
            return
        before, seen = session.recipe, main.plan.after
        await main.run_action("undo")
        assert session.can_redo
        await main.run_action("redo")
        await self.keys_through()
        assert session.recipe == before
        assert main.plan.after == seen
        self.check()

    async def check_terminal(self) -> None:
        """What the terminal shows, from all that it was sent, is what the app would paint anew."""
        while isinstance(self.app.screen, CommandPalette):  # it goes on searching for as long as it is there
            await self.press("escape")
            await self.keys_through()
        await self.all_through()
        app = self.app
        shown = [line.rstrip() for line in app.terminal.display]
        before = app.screen
        app.terminal.reset()
        app.screen.refresh()
        await self.all_through()
        assert app.screen is before
        anew = [line.rstrip() for line in app.terminal.display]
        different = [f"{one!r}\n{other!r}" for one, other in zip(shown, anew, strict=True) if one != other]
        assert not different, f"after {' '.join(self.pressed[-60:])}\n" + "\n".join(different)
