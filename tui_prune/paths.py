"""Paths as the user gives them: what they mean, and what is there. Nothing here raises an `OSError`."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tui_prune.errors import UsageError

_start: str | None = None
"""The folder in which the program was started, while the command line or the app runs."""

_REASONS = {
    errno.EACCES: "you have no permission to look into its folder",
    errno.EPERM: "you have no permission to look into its folder",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
}
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def started_here() -> Iterator[None]:
    """Let relative paths mean what they mean in the present folder, wherever the user's own code goes meanwhile."""
    global _start
    before = _start
    try:
        _start = os.getcwd()
    except OSError:
        _start = None
    try:
        yield
    finally:
        _start = before


def start_folder() -> Path:
    """The folder that relative paths start from. Raises `UsageError` where it has been removed."""
    if _start is not None:
        return Path(_start)
    try:
        return Path(os.getcwd())
    except OSError:
        raise UsageError(
            "The folder in which this was started is gone, so a relative path means nothing. Give an absolute path."
        ) from None


def browsed_folder() -> Path:
    """The folder in which a list of files opens: the starting folder, or the root where that has been removed."""
    try:
        return start_folder()
    except UsageError:
        return Path("/")


def absolute(path: str | Path) -> Path:
    """The absolute path that the user means; "~" is their own folder. Symbolic links and ".." stay as they are.

    Raises `UsageError` for a relative path where the folder that it starts from has been removed.
    """
    expanded = os.path.expanduser(path)
    return Path(expanded) if os.path.isabs(expanded) else start_folder() / expanded


def _joined(path: str | Path) -> str:
    """As `absolute`, but relative where the starting folder is gone: then nothing is there."""
    return os.path.join(_start or "", os.path.expanduser(path))


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file, or a link to one, as far as it can be looked at."""
    return os.path.isfile(_joined(path))


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder, or a link to one, as far as it can be looked at."""
    return os.path.isdir(_joined(path))


def exists(path: str | Path) -> bool:
    """Whether anything is there, as far as it can be looked at."""
    return os.path.exists(_joined(path))


def not_a_file(path: str | Path, named: str | Path | None = None, what: str = "file") -> str:
    """A sentence that says why no regular file is at a path; `named` and `what` are how to speak of it."""
    named = path if named is None else named
    try:
        mode = os.stat(_joined(path)).st_mode
    except ValueError:  # such as a zero byte
        return f"{str(named)!r} is no path."
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        return f"There is no {what} {named}." if reason is None else f"{named} can't be opened: {reason}."
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "no ordinary file")
    return f"{named} is {kind}; name a file{' in it' if stat.S_ISDIR(mode) else ''}."
