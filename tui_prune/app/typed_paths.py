"""Paths as somebody types them: what they may go on to, and how far that is certain."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.tasks.registry import BUILT_IN
from tui_prune.tasks.spec import parse

MOST = 500
"""Names that are given at the most."""
LOOKED_AT = 20_000
"""Entries of a folder that are looked at, so that a huge one doesn't hold the keys up."""

Wanted = Callable[[str], bool]
"""Whether a file of this name is of use."""


@dataclass(frozen=True)
class Names:
    """What there is in a folder that begins as it is typed."""

    folders: tuple[str, ...]
    files: tuple[str, ...]
    all: bool
    """Whether these are all: of a huge folder the rest isn't looked at."""


@dataclass(frozen=True)
class Completion:
    """What a path could go on as."""

    text: str
    """What was typed, as far as it can only go on in one way."""
    before: str = ""
    """The folder, as it was typed."""
    names: tuple[str, ...] = ()
    """All that there could be in it; folders end in a slash."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """All that the path could become, each as one would type it."""
        return tuple(self.before + name for name in self.names)


def is_path(text: str) -> bool:
    """Whether somebody types a path rather than a name."""
    return "/" in text or os.sep in text or text.startswith(("~", "."))


def is_file(text: str) -> bool:
    """Whether what is typed is the path of a file."""
    return paths.is_file(text.strip())


def typed_file(text: str) -> str:
    """The path of a file as it was typed. Raises `UsageError` when there is none."""
    if not is_file(text):
        raise UsageError(f"There is no file {text.strip()}.")
    return text.strip()


def typed_task(text: str) -> str:
    """A task file, or a built-in task, as it was typed. Raises `UsageError` when there is neither."""
    spec = parse(text.strip())
    if spec is None or spec.kind not in BUILT_IN:
        return typed_file(text)
    if not paths.exists(spec.path):
        raise UsageError(f"There is no {spec.path or 'place of the data'} for {spec.kind}:.")
    return text.strip()


def absolute(text: str, base: Path) -> Path:
    """The path that is meant, "~" as somebody's own folder, from a folder on."""
    return Path(os.path.abspath(base / os.path.expanduser(text)))


def split(text: str) -> tuple[str, str]:
    """What is typed as its folder, with the slash, and the beginning of a name in it."""
    folder, slash, start = text.rpartition("/")
    return folder + slash, start


def complete(text: str, base: Path | None = None, wanted: Wanted = lambda name: True) -> Completion:
    """Complete a path by the folders, and the files that are wanted; "~" stays as it was typed.

    `base` is where a relative path begins, None: where the program runs. A folder that can't be read has no names.
    """
    typed = text.lstrip()
    if typed in ("~", "..", "."):
        return Completion(f"{typed}/", names=(f"{typed}/",))
    before, start = split(typed)
    try:
        found = going_on(absolute(before, base or paths.start_folder()), start, wanted)
    except (OSError, ValueError, UsageError):  # no path at all, such as one with a zero in it
        return Completion(text)
    names = sorted([*(f"{name}/" for name in found.folders), *found.files])
    # Of names that aren't all, what they have in common may be too much.
    certain = before + common_start(names) if names and found.all else text
    return Completion(certain, before, tuple(names[:MOST]))


def going_on(folder: Path, start: str, wanted: Wanted = lambda name: True) -> Names:
    """The names in a folder that begin so, hidden ones where a dot is typed. Raises `OSError` if it can't be read."""
    folders, files = [], []
    looked_at = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            looked_at += 1
            if looked_at > LOOKED_AT:
                break
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif wanted(entry.name):
                files.append(entry.name)
    by_name = str.casefold
    return Names(tuple(sorted(folders, key=by_name)), tuple(sorted(files, key=by_name)), looked_at <= LOOKED_AT)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder, or leads to one; what can't be looked at isn't."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def common_start(names: Sequence[str]) -> str:
    """What all names begin with."""
    return os.path.commonprefix(names)  # noqa: RUF071 - letters are meant, not folders
