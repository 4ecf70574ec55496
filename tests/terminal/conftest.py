"""A real pseudo-terminal with the app in it, read as a person would."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

PATIENCE = 90
"""Seconds: torch may be imported from a cold disk beside other tests."""


class Terminal:
    """A command in a pseudo-terminal of a given size."""

    def __init__(self, command: list[str], folder: Path, columns: int, rows: int, env: dict[str, str]) -> None:
        self.process = pexpect.spawn(
            command[0], command[1:], cwd=folder, env=env, dimensions=(rows, columns), timeout=PATIENCE
        )
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.bytes = b""

    def read(self, seconds: float = 0.1) -> bytes:
        """What the app writes within a moment."""
        written = b""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                part = self.process.read_nonblocking(65536, timeout=0.05)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                break
            written += part
            self._stream.feed(part)
        self.bytes += written
        return written

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        """Read until the screen shows a text; the screen."""
        shows = wanted if callable(wanted) else lambda text: wanted in text
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.read()
            if shows(self.text):
                return self.text
        raise AssertionError(f"never shown: {wanted}\n{self.text}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.process.send(key)
            self.read(0.15)

    def wait_for_end(self) -> int:
        """Read to the end; the exit status (128 + signal where one ended it)."""
        until = time.monotonic() + PATIENCE
        while self.process.isalive() and time.monotonic() < until:
            self.read()
        self.read()
        self.process.close()
        status = self.process.exitstatus
        return status if status is not None else 128 + (self.process.signalstatus or 0)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the app in a terminal; ended after the test, with no trace of the developer's own configuration."""
    opened: list[Terminal] = []
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLORTERM")}
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    env |= {"TERM": "xterm-256color", **{name: str(tmp_path / name.lower()) for name in homes}}

    def start(*arguments: str, columns: int = 80, rows: int = 24, shell: bool = False, **more: str) -> Terminal:
        """The app; or a shell, to start it from."""
        command = ["bash", "--norc", "-i"] if shell else [sys.executable, "-m", "tui_prune"]
        terminal = Terminal([*command, *arguments], tmp_path, columns, rows, {**env, **more})
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        if not terminal.process.closed and terminal.process.isalive():  # close would give a busy machine no time
            terminal.process.kill(signal.SIGKILL)
            terminal.process.wait()
        terminal.process.close(force=True)
