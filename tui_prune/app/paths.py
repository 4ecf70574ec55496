"""Paths that are typed: what there is, and how the beginning of one goes on."""

import os
from pathlib import Path

from tui_prune.errors import UsageError

MOST = 6
"""Names that are said at the most."""


def existing(text: str) -> str:
    """The path of a file as it was typed. Raises `UsageError` when there is none."""
    path = text.strip()
    if not os.path.isfile(os.path.expanduser(path)):
        raise UsageError(f"There is no file {path}.")
    return path


def looked_at(text: str, suffix: str) -> str:
    """What to say of a path while it is typed: that it is there, or how it could go on. Raises `UsageError`."""
    if os.path.isfile(os.path.expanduser(text.strip())):
        return "enter reads it"
    names = _beginning_with(text, suffix)
    if not names:
        existing(text)
    return "  ".join(names[:MOST]) + ("  …" if len(names) > MOST else "")


def completed(text: str, suffix: str) -> str:
    """A path with as much added as all files that begin so, and folders, have in common."""
    names = _beginning_with(text, suffix)
    folder, _, _ = text.strip().rpartition("/")
    common = os.path.commonprefix(names)  # noqa: RUF071 - letters are meant, not folders
    return (f"{folder}/{common}" if "/" in text else common) or text


def _beginning_with(text: str, suffix: str) -> list[str]:
    """Files with a suffix, and folders, with a slash."""
    folder, _, start = os.path.expanduser(text.strip()).rpartition("/")
    within = Path(folder or ("/" if text.strip().startswith("/") else "."))
    try:
        entries = sorted(within.iterdir())
    except OSError:
        return []
    named = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    return [
        name
        for name in named
        if name.startswith(start) and name.endswith((suffix, "/")) and (start or not name.startswith("."))
    ]
