"""Keeps the garbage collector from going through a large network again and again."""

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_prune.session.session import Session

LARGE = 500
"""Modules from which on a network is large."""


def set_apart(session: "Session") -> None:
    """Leave a large network that has been opened out of all collections to come, and the one before it no longer.

    Its modules and its graph are some hundred thousand objects that stay for as long as it is open. Each plan makes
    some thousand more, so that every few plans the collector would look at all of them, for a third of a second. What
    nothing refers to any more is freed all the same, unless it lies in a cycle.
    """
    gc.unfreeze()
    if sum(1 for _ in session.opened.module.modules()) >= LARGE:
        gc.collect()
        gc.freeze()
