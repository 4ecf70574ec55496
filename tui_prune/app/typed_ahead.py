"""Keys that come before the screen is there that they are meant for: while a network is being opened, or, on a slow
line, several in one piece.

Textual hands a key to whatever has the focus when it arrives. What a key opens has the focus only once its action is
done, so the keys behind it would go to what was there before: here each waits until the one before it has had its
effect.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from textual import events

if TYPE_CHECKING:
    from textual.app import App

LEAVING = ("ctrl+q", "ctrl+c", "ctrl+z")
TURN = 0.001
"""Seconds between two looks whether there is a message for anybody."""
QUIET_TURNS = 3
"""So many looks without one, and a key has had its effect."""
LONGEST = 1.0
"""Seconds after which the next key goes on in any case."""


class TypedAhead:
    """Lets an app have its keys one after the other, and none while it waits."""

    def __init__(self, app: "App[Any]") -> None:
        self._app = app
        self._keys: deque[events.Key] = deque()
        self._let_go: events.Key | None = None
        self._following: asyncio.Task[None] | None = None
        self.waits = False
        """Whether all keys are kept."""

    @property
    def through(self) -> bool:
        """Whether every key that has come has had its effect."""
        return self._following is None and not self._keys

    def wait(self, *keys: events.Key) -> None:
        """Keep keys from now on, these first."""
        self.waits = True
        self._keys.extend(keys)

    def forget(self) -> None:
        """Keep none any more, and drop what was kept."""
        self.waits = False
        self._keys.clear()

    def give_on(self) -> None:
        """Give the kept keys to the screen that is there now; each is through before the next one goes."""
        self.waits = False
        if self._keys and self._following is None:
            self._following = asyncio.create_task(self._follow())

    def holds(self, key: events.Key) -> bool:
        """Whether a key that has arrived has to wait; it arrives again then.

        While all keys are kept, what leaves the app goes through, and so does q or esc where nothing was typed: they
        speak of the waiting itself.
        """
        if key is self._let_go:
            self._let_go = None
            return False
        if self.waits and (key.key in LEAVING or (not self._keys and key.key in ("q", "escape"))):
            return False
        if self.waits or self._following is not None:
            self._keys.append(key)
            return True
        self._following = asyncio.create_task(self._follow())
        return False

    async def _follow(self) -> None:
        await self._settled()
        while self._keys and not self.waits:
            self._let_go = self._keys.popleft()
            self._app.post_message(self._let_go)
            await self._settled()
        self._following = None

    async def _settled(self) -> None:
        until = asyncio.get_running_loop().time() + LONGEST
        quiet = 0
        while quiet < QUIET_TURNS and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(TURN)
            quiet = 0 if self._busy() else quiet + 1

    def _busy(self) -> bool:
        on_top = self._app.screen_stack[-1:]  # none once the app is closing
        pumps = [self._app, *(pump for screen in on_top for pump in screen.walk_children(with_self=True))]
        return any(pump.message_queue_size for pump in pumps)
