"""Files of recovered weights beside the kept work: a pruned checkpoint for each plan that was recovered, readable by
the user alone. What is in them is none of this room's business.

The latest few of each network stay, and of all networks the latest so many bytes. What a present network can't take up
is moved out of the way, where it can still be loaded, and goes by the same rule.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tui_prune.errors import TuiPruneError
from tui_prune.formatting import size
from tui_prune.saving.whole_file import free_space, write_whole
from tui_prune.session.autosave.places import recovered_folder

MOST = 4
"""Files of one network."""
MOST_BYTES = 2_000_000_000
"""Of all networks together; the latest file stays however large it is."""
RESERVE = 100_000_000
"""Bytes of the disk that are left alone: the choices themselves have to be kept, too."""

_SUFFIX = ".safetensors"
_ASIDE = "aside"
_DAY = 24 * 3600.0


def file_of(network: str, recipe: str) -> Path:
    """Where the recovered weights of a plan of a network are kept, or would be, by the keys of network and recipe."""
    digest = hashlib.sha256(recipe.encode("utf-8", "surrogatepass")).hexdigest()
    return recovered_folder() / f"{network}.{digest[:16]}{_SUFFIX}"


def files_of(network: str) -> list[Path]:
    """All that is kept of a network, by its key, newest first."""
    return [one.path for one in _found(recovered_folder()) if one.path.name.startswith(f"{network}.")]


def write(path: Path, octets: int, fill: Callable[[Path], None]) -> None:
    """Put a file of about so many bytes, which `fill` writes, in the place of another, whole or not at all. Tidies up.

    Raises `TuiPruneError` when the disk is full or the folder can't be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TuiPruneError(f"The folder {path.parent} can't be made: {error.strerror}.") from error
    free = free_space(path.parent)
    if free is not None and free < octets + RESERVE:
        raise TuiPruneError(f"They need {size(octets)}, and the disk of {path.parent} has only {size(free)} left.")

    def fill_part(part: Path) -> None:
        fill(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())

    write_whole(path, lambda file: None, fill_part, force=True, mode=0o600)
    _tidy(path)


def remove(path: Path) -> None:
    """Let go of a file."""
    with suppress(OSError):
        path.unlink()


def set_aside(path: Path) -> Path | None:
    """Move a file out of the way; where it is now, None where there is no moving it."""
    folder = path.parent / _ASIDE
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return path.replace(folder / path.name)
    except OSError:
        return None


def forget(network: str) -> None:
    """Let go of all that is kept of a network, by its key."""
    for path in files_of(network):
        remove(path)


@dataclass(frozen=True)
class _File:
    changed: int
    octets: int
    path: Path


def _found(folder: Path, suffix: str = _SUFFIX) -> list[_File]:
    """The files of a folder, newest first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                with suppress(OSError):
                    status = entry.stat()
                    found.append(_File(status.st_mtime_ns, status.st_size, Path(entry.path)))
    return sorted(found, key=lambda file: file.changed, reverse=True)


def _tidy(latest: Path) -> None:
    """Remove what is too much, and what a write left that was killed."""
    folder, network = latest.parent, latest.name.partition(".")[0]
    aside, files = _found(folder / _ASIDE), _found(folder)
    stale = {*(file.path for file in aside[MOST:]), *files_of(network)[MOST:]}
    octets = 0
    for file in sorted((*files, *aside), key=lambda file: file.changed, reverse=True):
        if file.path not in stale:
            octets += file.octets
            if octets > MOST_BYTES:
                stale.add(file.path)
    stale |= {part.path for part in _found(folder, ".part") if time.time() - part.changed / 1e9 > _DAY}
    for path in stale - {latest}:
        remove(path)
