"""Which app has a network's kept work open, so that two of them don't replace each other's choices unseen.

Each app holds a lock on a file of its own for as long as it runs; the system lets go of it however the app ends. A
claim beside the kept work names the app that keeps it. Where there are no locks nobody is ever there.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_prune.files import read_json, write_json
from tui_prune.loading.request import OpenRequest
from tui_prune.session.autosave.networks import key
from tui_prune.session.autosave.places import sessions_folder

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_OPEN = ".open"
MOST_COPIES = 9


@dataclass(frozen=True)
class Holder:
    """Another app that has the work open."""

    process: int
    terminal: str
    """Of the form "pts/3"; empty where it has none."""
    since: float
    """Seconds since 1970."""


class Claim:
    """What one app says of the network that it has open."""

    def __init__(self, request: OpenRequest) -> None:
        self._key = key(request)
        self._folder = sessions_folder()
        self._token = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._tidy()
        self._lock = _locked(self._folder / f".{self._token}{_OPEN}")
        self.slot = ""
        """Which of the kept works of the network is this app's: the one that is offered, or a copy ("2")."""

    def holder(self, slot: str = "") -> Holder | None:
        """The other app that keeps this work; None: nobody, or this one."""
        said = self._said(slot)
        if said is None or said.get("token") == self._token or not self._is_alive(said.get("token")):
            return None
        process, terminal, since = said.get("process"), said.get("terminal"), said.get("since")
        return Holder(
            process if isinstance(process, int) else 0,
            terminal if isinstance(terminal, str) else "",
            since if isinstance(since, (int, float)) else 0.0,
        )

    def take(self, slot: str = "") -> None:
        """Be the app that keeps this work, whoever was."""
        self.slot = slot
        if self._lock is not None:
            said = {"token": self._token, "process": os.getpid(), "terminal": _terminal(), "since": time.time()}
            write_json(self._path(slot), said)

    def take_copy(self) -> None:
        """Be the app that keeps a copy that nobody else has open."""
        numbers = map(str, range(2, 2 + MOST_COPIES))
        free = (slot for slot in numbers if self.holder(slot) is None and not self._work(slot).exists())
        self.take(next(free, self._token))

    @property
    def lost(self) -> bool:
        """Whether another app has taken this one's work over."""
        return self.holder(self.slot) is not None

    def release_slot(self) -> None:
        """Let go of the work, to take another."""
        said = self._said(self.slot)
        with suppress(OSError):
            if said is not None and said.get("token") == self._token:
                self._path(self.slot).unlink()

    def release(self) -> None:
        """Let go of the network."""
        self.release_slot()
        if self._lock is not None:
            with suppress(OSError):
                (self._folder / f".{self._token}{_OPEN}").unlink()
            os.close(self._lock)
            self._lock = None

    def _tidy(self) -> None:
        """Remove what apps have left that were killed."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") and entry.name.endswith(_OPEN):
                    self._is_alive(entry.name[1 : -len(_OPEN)])

    def _path(self, slot: str) -> Path:
        return self._folder / f"{self._key}{f'.{slot}' if slot else ''}.claim"

    def _work(self, slot: str) -> Path:
        return self._path(slot).with_suffix(".json")

    def _said(self, slot: str) -> dict[str, Any] | None:
        found = read_json(self._path(slot))
        return found if isinstance(found, dict) else None

    def _is_alive(self, token: Any) -> bool:
        """Whether the app of a token still holds its lock; where it doesn't, its file goes."""
        if fcntl is None or not isinstance(token, str) or os.sep in token or "\0" in token:
            return False
        path = self._folder / f".{token}{_OPEN}"
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (OSError, ValueError):
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(number)
        with suppress(OSError):
            path.unlink()
        return False


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock on a new file, which has its name only once it is locked; None where there are
    no locks."""
    if fcntl is None:
        return None
    making = path.with_suffix(".making")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(making, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(number, json.dumps({"process": os.getpid()}).encode())
        os.rename(making, path)
    except OSError:
        os.close(number)
        with suppress(OSError):
            os.unlink(making)
        return None
    return number


def _terminal() -> str:
    try:
        return os.ttyname(0).removeprefix("/dev/")
    except OSError:
        return ""
