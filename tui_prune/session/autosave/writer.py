"""Writing off the event loop: always the latest, never two at once, and no thread while there is nothing to write."""

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context

from tui_prune.errors import TuiPruneError
from tui_prune.session.autosave.saved_work import SavedWork, write

_log = logging.getLogger(__name__)

_threads: set[threading.Thread] = set()
"""Of all that are writing right now."""


class Turns:
    """Does what it is given, one after the other. What comes for a slot replaces what waits there."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        """`failed` is called in the thread, with a sentence, when something can't be kept."""
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting: dict[str, Callable[[], object]] = {}
        self._failing: dict[str, str] = {}
        self._doing: str | None = None
        """The slot of what is being done."""
        self._thread: threading.Thread | None = None

    def do(self, slot: str, work: Callable[[], object]) -> None:
        """Do this soon."""
        with self._lock:
            self._waiting[slot] = work
            if self._thread is None:
                self._thread = threading.Thread(target=copy_context().run, args=(self._run,), daemon=True)
                _threads.add(self._thread)
                self._thread.start()

    def pending(self, slot: str) -> bool:
        """Whether anything for a slot waits, or is being done."""
        with self._lock:
            return slot in self._waiting or slot == self._doing

    def failure(self, slot: str) -> str:
        """Why the last work for a slot has failed, in a sentence; empty where it hasn't."""
        return self._failing.get(slot, "")

    def wait(self, seconds: float) -> None:
        """Wait until all is done, but not for a disk that doesn't answer."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._doing = slot = next(iter(self._waiting), None)
                if slot is None:
                    _threads.discard(threading.current_thread())
                    self._thread = None
                    return
                work = self._waiting.pop(slot)
            try:
                work()
                self._failing.pop(slot, None)
            except Exception as error:  # whatever has failed, what comes after it is to be kept all the same
                said = str(error) if isinstance(error, TuiPruneError) else f"{type(error).__name__}: {error}."
                self._failing[slot] = said
                _log.warning("can't be kept: %s", said)
                self._failed(said)


class Writer:
    """Keeps the work that it is given. What comes while it is writing replaces what waits."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        """`failed` is called in the thread, with a sentence, when work can't be kept."""
        self._turns = Turns(failed)

    @property
    def failing(self) -> bool:
        """Whether the last write has failed."""
        return bool(self._turns.failure(""))

    def put(self, work: SavedWork, written: Callable[[], object] = lambda: None) -> None:
        """Write this soon; `written` is called in the thread once it is."""

        def do() -> None:
            write(work)
            written()

        self._turns.do("", do)

    @property
    def pending(self) -> bool:
        """Whether anything waits, or is being written."""
        return self._turns.pending("")

    def wait(self, seconds: float) -> None:
        """Wait until all is written, but not for a disk that doesn't answer."""
        self._turns.wait(seconds)


def is_writing() -> bool:
    """Whether anything is still being written, or waits for its turn."""
    return bool(_threads)


def finish(seconds: float) -> bool:
    """Wait until everything is written, at most so long; whether it is."""
    until = time.monotonic() + seconds
    for thread in tuple(_threads):
        thread.join(max(0.0, until - time.monotonic()))
    return not _threads
