"""Paths as they are typed: what they may go on to, and how far that is certain."""

import os
from collections.abc import Sequence
from pathlib import Path

from tui_prune.app.entries import Entry, Folder, can_be_opened, file_entry
from tui_prune.request import OpenRequest

MOST = 500


def is_path(text: str) -> bool:
    """Whether somebody types a path rather than a name."""
    return "/" in text or os.sep in text or text.startswith(("~", "."))


def path_entries(text: str, base: Path, network: str | None = None) -> list[Entry]:
    """The files and directories that a typed path may go on to, each with its name as it would be typed."""
    typed = text.strip()
    file, colon, factory = typed.rpartition(":")
    if colon and file.endswith(".py"):
        return [Entry(typed, "as it is typed", leads=OpenRequest(f"{_absolute(file, base)}:{factory}"))]
    folder, _, start = typed.rpartition("/")
    before = typed[: len(typed) - len(start)]
    path = _absolute(before or ".", base)
    if typed in ("~", "..", "."):
        return [Entry(f"{typed}/", leads=Folder(_absolute(typed, base), network=network))]
    try:
        entries = _going_on(path, before, start, network)
    except OSError as error:
        return [Entry("", f"{before or path} can't be read: {error.strerror}.")]
    whole = _absolute(typed, base)
    if whole.is_file() and not can_be_opened(whole.name, network):
        entries.insert(0, Entry(typed, "as it is typed", leads=_request(whole, network), path=whole))
    elif not start and not folder.endswith(".."):
        entries.insert(0, Entry(before, "this directory", leads=Folder(path, network=network)))
    return entries[:MOST] or [Entry("", f"There is nothing that starts with {typed}.")]


def completed(text: str, entries: Sequence[Entry]) -> str:
    """The typed text with all that its entries have in common."""
    names = [entry.name for entry in entries if entry.leads is not None and entry.name.startswith(text)]
    names = [name for name in names if name != text] or names
    return os.path.commonprefix(names) or text  # noqa: RUF071  (letters are meant, not parts of a path)


def _going_on(path: Path, before: str, start: str, network: str | None) -> list[Entry]:
    folders, files = [], []
    with os.scandir(path) as found:
        for one in found:
            if not one.name.startswith(start) or (one.name.startswith(".") and not start.startswith(".")):
                continue
            if one.is_dir():
                folders.append(Entry(f"{before}{one.name}/", leads=Folder(path / one.name, network=network)))
            elif can_be_opened(one.name, network):
                files.append(file_entry(path / one.name, network, f"{before}{one.name}"))
    return [*sorted(folders, key=_by_name), *sorted(files, key=_by_name)]


def _by_name(entry: Entry) -> str:
    return entry.name.casefold()


def _request(path: Path, network: str | None) -> OpenRequest:
    return OpenRequest(str(path)) if network is None else OpenRequest(network, str(path))


def _absolute(text: str, base: Path) -> Path:
    return Path(os.path.abspath(base / os.path.expanduser(text)))
