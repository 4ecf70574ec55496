"""A pseudo-terminal with a program in it, and what it sends over the line."""

import os
import select
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pyte

QUIET = 0.5
"""Seconds without a byte after which a key counts as answered."""
SILENT = 3.0
"""Seconds after which a key counts as one that has no answer."""
PATIENCE = 120.0


@dataclass(frozen=True)
class Answer:
    """What came after a key: bytes, and seconds until the last of them."""

    bytes: int
    seconds: float


class Line:
    """A program in a pseudo-terminal."""

    def __init__(self, command: Sequence[str], columns: int, rows: int, folder: Path, env: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        self._process = pexpect.spawn(
            command[0], list(command[1:]), cwd=folder, env={**os.environ, **env}, dimensions=(rows, columns)
        )
        self._process.delaybeforesend = None
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self._screen.display)

    def _read(self, seconds: float) -> bytes:
        """What comes at once; nothing after so many seconds of silence, or when the program has ended."""
        if not select.select([self._process.child_fd], [], [], seconds)[0]:
            return b""
        try:
            part = os.read(self._process.child_fd, 65536)
        except OSError:
            part = b""
        self._stream.feed(part)
        return part

    def first_frame(self) -> float:
        """Seconds from the start of the program until the screen shows something."""
        while not self.text.strip():
            if not self._process.isalive() or time.perf_counter() - self.started > PATIENCE:
                raise RuntimeError("The program has shown nothing.")
            self._read(0.05)
        return time.perf_counter() - self.started

    def shows(self, text: str) -> float:
        """Seconds from the start of the program until the screen shows a text."""
        while text not in self.text:
            if not self._process.isalive() or time.perf_counter() - self.started > PATIENCE:
                raise RuntimeError(f"Never shown: {text}\n{self.text}")
            self._read(0.02)
        return time.perf_counter() - self.started

    def settle(self, seconds: float = 3.0, shown: str = "") -> None:
        """Read until the screen shows a text and nothing more comes for a while."""
        until = time.perf_counter() + PATIENCE
        while self._read(seconds) or shown not in self.text:
            if time.perf_counter() > until or not self._process.isalive():
                raise RuntimeError(f"Never shown: {shown}\n{self.text}")

    def press(self, key: str) -> Answer:
        """Send a key and read its answer to the end."""
        started = last = time.perf_counter()
        os.write(self._process.child_fd, key.encode())
        count = 0
        while part := self._read(QUIET if count else SILENT):
            last = time.perf_counter()
            count += len(part)
        return Answer(count, last - started)

    def rest(self, seconds: float) -> int:
        """Bytes that come though no key is pressed."""
        until, count = time.perf_counter() + seconds, 0
        while (left := until - time.perf_counter()) > 0:
            count += len(self._read(left))
        return count

    def end(self) -> None:
        """Kill the program: what it would write at its end is of no interest."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.close()


def mean(answers: Sequence[Answer]) -> Answer:
    """Mean of the bytes, for a list may scroll by pages; median of the seconds, for the machine may be busy."""
    return Answer(
        round(statistics.mean(answer.bytes for answer in answers)), statistics.median(a.seconds for a in answers)
    )
