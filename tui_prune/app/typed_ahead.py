"""Keys that come faster than the screen follows, as on a slow line, where several arrive in one piece.

Textual hands a key to whatever has the focus when it arrives. What a key opens has the focus only once its action is
done, so the keys behind it would go to what was there before: here each waits until the one before it has had its
effect.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from textual import events

if TYPE_CHECKING:
    from textual.app import App

QUIET_TURNS = 3
"""Turns of the event loop without a message for anybody, after which a key has had its effect."""
LONGEST = 1.0
"""Seconds after which the next key goes on in any case."""


class TypedAhead:
    """Lets an app have its keys one after the other."""

    def __init__(self, app: "App[None]") -> None:
        self._app = app
        self._waiting: deque[events.Key] = deque()
        self._let_go: events.Key | None = None
        self._following: asyncio.Task[None] | None = None

    def holds(self, key: events.Key) -> bool:
        """Whether a key that has arrived has to wait; it arrives again then."""
        if key is not self._let_go and self._following is not None:
            self._waiting.append(key)
            return True
        self._let_go = None
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        return False

    async def _follow(self) -> None:
        await self._settled()
        while self._waiting:
            self._let_go = self._waiting.popleft()
            self._app.post_message(self._let_go)
            await self._settled()
        self._following = None

    async def _settled(self) -> None:
        until = asyncio.get_running_loop().time() + LONGEST
        quiet = 0
        while quiet < QUIET_TURNS and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0)
            quiet = 0 if self._busy() else quiet + 1

    def _busy(self) -> bool:
        pumps = [self._app, *self._app.screen.walk_children(with_self=True)]
        return any(pump.message_queue_size for pump in pumps)
