"""Small files of tui-prune's own, as JSON: read whatever is in them, written whole or not at all.

They hold what can be found out again (caches) or what the user would miss little. So a file that can't be read counts
as none, and one that can't be written is left out in silence.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tui_prune import paths

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

MOST_BYTES = 100_000_000
"""A larger file is none of ours."""


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
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
    with suppress(OSError):
        part.unlink()


def update_json(path: Path, change: Callable[[Any], Any], *, indent: int | None = None) -> None:
    """Write what `change` makes of the present value (None: nothing that can be read). Of several processes that do so
    at a time, none loses what another one has written."""
    with _locked(path):
        write_json(path, change(read_json(path)), indent=indent)


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
