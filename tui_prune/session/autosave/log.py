"""The log: a line for each thing that was opened, chosen or done, and failures with their traceback.

Names, figures and paths only, no weights and no data. Where nothing can be written there is no log.
"""

import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import Any

from tui_prune.session.autosave.places import log_file

_LARGEST = 1_000_000
"""Bytes of a file; there is one older one beside it."""

_root = logging.getLogger("tui_prune")


def start_log() -> None:
    """Write to the log from now on."""
    if any(isinstance(handler, _LogFile) for handler in _root.handlers):
        return
    try:
        log_file().parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    handler = _LogFile(log_file(), maxBytes=_LARGEST, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    _root.addHandler(handler)
    _root.setLevel(logging.INFO)
    _root.propagate = False


class _LogFile(RotatingFileHandler):
    """For the user alone to read; a full disk is no reason to say anything on the screen."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        options: Any = {"encoding": self.encoding, "errors": "replace", "opener": private}
        file: Any = open(self.baseFilename, self.mode, **options)  # noqa: SIM115 - the handler closes it
        return file

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave it at that."""
