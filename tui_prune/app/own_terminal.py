"""The terminal for the app's own screen: what other code prints goes into the log.

Textual keeps Python's `print` off the screen. Subprocesses, libraries in C and `os.write` don't go through it: they
write to the numbers 1 and 2, which the app therefore takes away from the terminal while it runs.
"""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from tui_prune.formatting import printable

_log = logging.getLogger(__name__)

_PIECE = 4096
_MOST = 2000
"""Pieces that are kept; what prints without end would drive all else out of the log."""
_SIZES = ("COLUMNS", "LINES")


@contextmanager
def own_terminal() -> Iterator[None]:
    """Let only Textual draw on the terminal. What is written to stdout and stderr in the block goes into the log."""
    if os.name != "posix":
        yield
        return
    sizes = {name: os.environ.pop(name) for name in _SIZES if name in os.environ}
    shown, errors = sys.__stdout__, sys.__stderr__
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    kept = os.dup(1), os.dup(2)
    source, sink = os.pipe()
    screen = os.fdopen(os.dup(1), "w", encoding=getattr(errors, "encoding", "utf-8"), errors="replace")
    threading.Thread(target=_log_prints, args=(source,), daemon=True).start()
    for number in (1, 2):
        os.dup2(sink, number)
    os.close(sink)
    sys.__stderr__, sys.__stdout__ = screen, cast(Any, _SizeOnly(screen))  # type: ignore[misc]  # what Textual's driver uses
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            screen.flush()
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        sys.__stdout__, sys.__stderr__ = shown, errors  # type: ignore[misc]
        with suppress(OSError, ValueError):
            screen.close()
        os.environ.update(sizes)


class _SizeOnly(io.TextIOBase):
    """Says how large the terminal is, and shows nothing that is written to it."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen

    def fileno(self) -> int:
        """The terminal's, to be asked for its size."""
        return self._screen.fileno()

    def isatty(self) -> bool:
        """It is one."""
        return True

    def writable(self) -> bool:
        """In vain."""
        return True

    def write(self, text: str) -> int:
        """Drop the text."""
        return len(text)


def _log_prints(source: int) -> None:
    """Log what other code prints, until the last descriptor is closed; that may be after the app has ended."""
    pieces = 0
    with suppress(OSError):
        while piece := os.read(source, _PIECE):
            pieces += 1
            if pieces <= _MOST:
                for line in piece.decode("utf-8", "replace").splitlines():
                    if line.strip():
                        _log.info("printed: %s", printable(line))
        os.close(source)
