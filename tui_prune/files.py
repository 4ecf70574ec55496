"""Small files of tui-prune's own, as JSON: read whatever is in them, written whole or not at all.

They hold what can be found out again (caches) or what the user would miss little. So a file that can't be read counts
as none, and one that can't be written is left out in silence.
"""

import gzip
import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tui_prune import paths

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

MOST_BYTES = 100_000_000
"""A larger file is none of ours."""

_PART = re.compile(r"\..+\.(?P<process>[0-9]+)-(?P<machine>[0-9a-f]{8})-[0-9a-f]{8}\.part", re.DOTALL)
_LONGEST_NAME = 255


def read_json(path: Path) -> Any:
    """What a file holds; None where there is no such file, or nothing in it that JSON can be.

    Pipes, devices and files of more than `MOST_BYTES` aren't read. A name that ends in ".gz" is unpacked.
    """
    if not paths.is_file(path):
        return None
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        return json.loads(content) if len(content) <= MOST_BYTES else None
    except (OSError, EOFError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Put a value into a file, for the user alone to read; where that fails, the file is what it was."""
    text = json.dumps(value, indent=indent, separators=None if indent else (",", ":")).encode()
    content = gzip.compress(text, compresslevel=3, mtime=0) if path.suffix == ".gz" else text
    part = part_beside(path)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
        tidy_parts(path.parent)
    with suppress(OSError):
        part.unlink()


def update_json(path: Path, change: Callable[[Any], Any], *, indent: int | None = None) -> None:
    """Write what `change` makes of the present value (None: nothing that can be read). Of several processes that do so
    at a time, none loses what another one has written."""
    with _locked(path):
        write_json(path, change(read_json(path)), indent=indent)


def part_beside(path: Path) -> Path:
    """A name beside `path` for what is being written, which says who writes it. No two calls give the same."""
    end = f".{os.getpid()}-{_machine()}-{os.urandom(4).hex()}.part"
    room = _LONGEST_NAME - len(os.fsencode(end)) - 1
    name = os.fsencode(path.name)[:room].decode("utf-8", "ignore")
    return path.with_name(f".{name}{end}")


def tidy_parts(folder: Path) -> None:
    """Remove what writers have left in a folder that were killed; what a process on this machine may still be writing,
    or one on another machine, stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name) if entry.name.endswith(".part") else None
            if found is not None and found["machine"] == _machine() and _has_ended(int(found["process"])):
                with suppress(OSError):
                    if entry.is_file(follow_symlinks=False) and _is_let_go(entry.path):
                        os.unlink(entry.path)


def hold_open(number: int) -> int | None:
    """Lock an open file as one that is being written, for as long as the descriptor that is given back is open."""
    if fcntl is None:
        return None
    hold = os.dup(number)
    with suppress(OSError):  # not every disk has locks
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return hold


@cache
def _machine() -> str:
    """Tells machines that share a disk from each other."""
    return hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _is_let_go(path: str) -> bool:
    """Whether nobody holds a lock on a file: processes of another container on this machine can't be seen."""
    if fcntl is None:
        return False
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(number)
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in the block for the same path; where there can be no lock, go on without."""
    number = None
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_WRONLY, 0o600)
        if fcntl is not None:
            fcntl.flock(number, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if number is not None:
            os.close(number)
