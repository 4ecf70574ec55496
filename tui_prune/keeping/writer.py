"""Writing off the event loop: always the latest, never two at once, and no thread while there is nothing to write."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context

from tui_prune.errors import TuiPruneError
from tui_prune.keeping.saved_work import SavedWork, write

_log = logging.getLogger(__name__)


class Writer:
    """Keeps the work that it is given. What comes while it is writing replaces what waits."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        """`failed` is called in the thread, with a sentence, when work can't be kept."""
        self._failed = failed
        self.failing = False
        """Whether the last write has failed."""
        self._lock = threading.Lock()
        self._next: SavedWork | None = None
        self._thread: threading.Thread | None = None

    def put(self, work: SavedWork) -> None:
        """Write this soon."""
        with self._lock:
            self._next = work
            if self._thread is None:
                self._thread = threading.Thread(target=copy_context().run, args=(self._run,), daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all is written, but not for a disk that doesn't answer."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._lock:
                work, self._next = self._next, None
                if work is None:
                    self._thread = None
                    return
            try:
                write(work)
                self.failing = False
            except (TuiPruneError, TypeError, ValueError) as error:
                self.failing = True
                _log.warning("can't be kept: %s", error)
                self._failed(str(error))
