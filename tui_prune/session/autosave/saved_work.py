"""Kept work: the choices made for a network, in one file for each network, readable by the user alone.

A network may have several: one that is offered, and copies beside it, of apps that were open at the same time. Files
are always whole. Those that are broken, or of another version, count as none.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from tui_prune.errors import TuiPruneError
from tui_prune.files import read_json
from tui_prune.loading.request import OpenRequest
from tui_prune.saving.whole_file import WatchedFile, write_whole
from tui_prune.session.autosave import recovered_files
from tui_prune.session.autosave.networks import Stamps, absolute, key, stamps
from tui_prune.session.autosave.places import sessions_folder

MOST = 50
"""Networks of which work is kept; beyond that the oldest is dropped."""
MOST_ASIDE = 10
_VERSION = 1
_TABLES = ("session", "recipe", "position")
"""Parts of the state that are tables."""
_SLOT = re.compile(r"[0-9a-f-]*")
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class SavedWork:
    """What was chosen for a network, to go on with."""

    request: OpenRequest
    """What was opened, with absolute paths."""
    title: str
    summary: str
    """The choices in words: "cut 50 %, align 8 · MACs 27 %"."""
    changed: float
    """When that was, in seconds since 1970."""
    state: dict[str, Any]
    """Plain values as JSON has them. "chosen" says whether there is anything to go on with."""
    files: Stamps = field(default_factory=dict)
    """Marks of the network's files at that time."""
    slot: str = ""
    """Which of the works on the network it is: empty, or the name of a copy."""

    @property
    def chosen(self) -> bool:
        """Whether anything was chosen, rather than only looked at."""
        return self.state.get("chosen") is True

    @property
    def changed_files(self) -> tuple[str, ...]:
        """The files of the network that aren't any more what they were."""
        now = stamps(self.request)
        return tuple(path for path, stamp in self.files.items() if now.get(path) != stamp)


def write(work: SavedWork) -> Path:
    """Keep work on a network in place of what was kept of it before; the file. It is written whole or not at all.

    Raises `TuiPruneError` when the disk is full or the folder can't be written.
    """
    folder = sessions_folder()
    request = absolute(work.request)
    content = {
        "version": _VERSION,
        "request": request.to_dict(),
        "title": work.title,
        "summary": work.summary,
        "changed": work.changed,
        "files": stamps(request),
        "slot": work.slot,
        "state": work.state,
    }
    text = json.dumps(content, separators=(",", ":")).encode()

    def fill(file: WatchedFile) -> None:
        file.write(text)

    path = _file(request, work.slot)
    is_new = not path.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TuiPruneError(f"The folder {folder} can't be made: {error.strerror}.") from error
    write_whole(path, fill, lambda part: None, force=True, mode=0o600)
    if is_new:
        _tidy(folder)
    return path


def kept_work(request: OpenRequest, slot: str = "") -> SavedWork | None:
    """What was kept of work on a network; None where there is nothing, or nothing that can be read."""
    return _read(_file(request, slot))


def kept_copies(request: OpenRequest) -> list[SavedWork]:
    """The copies that were kept beside it and have choices of their own, newest first."""
    start = f"{key(request)}."
    files = [path for path in _newest_first(sessions_folder(), ".json") if path.name.startswith(start)]
    return [work for work in map(_read, files) if work is not None and work.slot and work.chosen]


def mark(request: OpenRequest, slot: str = "") -> tuple[int, int] | None:
    """What tells one write of the work from the next, cheap to ask for; None where there is none."""
    try:
        status = os.stat(_file(request, slot))
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def recent(limit: int = 20) -> list[SavedWork]:
    """The networks that were worked on or looked at, newest first."""
    found = (work for work in map(_read, _newest_first(sessions_folder(), ".json")) if work is not None)
    networks: dict[str, SavedWork] = {}
    for work in found:
        networks.setdefault(key(work.request), work)
        if len(networks) == limit:
            break
    return sorted(networks.values(), key=lambda work: work.changed, reverse=True)


def forget(work: SavedWork) -> None:
    """Drop what was kept of a network, recovered weights among it."""
    with suppress(OSError):
        _file(work.request, work.slot).unlink()
    if not work.slot:
        recovered_files.forget(key(work.request))


def set_aside(work: SavedWork) -> Path | None:
    """Keep what can't be gone on with out of the way of new work; where it is now, None where there is no moving it."""
    path = _file(work.request, work.slot)
    for weights in recovered_files.files_of(key(work.request)):
        recovered_files.set_aside(weights)
    try:
        return path.rename(path.with_suffix(".old"))
    except OSError:
        return None


def _file(request: OpenRequest, slot: str = "") -> Path:
    return sessions_folder() / f"{key(request)}{f'.{slot}' if slot else ''}.json"


def _read(path: Path) -> SavedWork | None:
    try:
        return _parse(read_json(path))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _parse(content: Mapping[str, Any]) -> SavedWork | None:
    request = OpenRequest.from_dict(content["request"])
    words = (content["title"], content["summary"], request.device)
    paths = (request.spec, request.weights, request.input_spec, request.task)
    known = (
        content["version"] == _VERSION
        and all(isinstance(word, str) for word in words)
        and all(isinstance(path, (str, type(None))) for path in paths)
        and isfinite(content["changed"])
        and isinstance(content["state"], dict)
        and _SLOT.fullmatch(content.get("slot", "")) is not None
        and all(isinstance(content["state"].get(part, {}), dict) for part in _TABLES)
        and isinstance(content["state"].get("recovered"), (dict, type(None)))
    )
    if not known:
        return None
    files = {path: (int(size), int(changed)) for path, (size, changed) in content["files"].items()}
    return SavedWork(
        request,
        content["title"],
        content["summary"],
        float(content["changed"]),
        content["state"],
        files,
        content.get("slot", ""),
    )


def _newest_first(folder: Path, *suffixes: str) -> Iterator[Path]:
    """The files of a folder with certain endings."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffixes):
                with suppress(OSError):
                    found.append((entry.stat().st_mtime_ns, entry.path))
    return (Path(path) for _, path in sorted(found, reverse=True))


def _tidy(folder: Path) -> None:
    """Remove the oldest, and what a write left that was killed."""
    stale = [
        *islice(_newest_first(folder, ".json"), MOST, None),
        *islice(_newest_first(folder, ".old"), MOST_ASIDE, None),
    ]
    for part in _newest_first(folder, ".part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _DAY:
                stale.append(part)
    for path in stale:
        with suppress(OSError):
            path.unlink()
        if path.suffix == ".json" and "." not in path.stem:
            recovered_files.forget(path.stem)
