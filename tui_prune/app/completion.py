"""Completing a path that somebody types."""

import os
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

MOST = 500
"""Entries of a folder that are looked at, so that a huge one doesn't hold the keys up."""


@dataclass(frozen=True)
class Completion:
    """What a path could go on as."""

    text: str
    """What was typed, as far as it can only go on in one way."""
    candidates: tuple[str, ...]
    """All that it could become, each as one would type it; folders end in a slash."""


def complete(text: str) -> Completion:
    """Complete a path by the folders and files that there are. "~" stays as it was typed."""
    if text == "~":
        return Completion("~/", ("~/",))
    folder, _, start = text.rpartition("/")
    before = text[: len(text) - len(start)]
    names = _names(Path(folder or ("/" if before else ".")), start)
    if not names:
        return Completion(text, ())
    return Completion(before + _common_start(names[0], names[-1]), tuple(before + name for name in names))


def _common_start(one: str, other: str) -> str:
    """Of the first and the last of sorted names: what all of them begin with."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in alike)


def _names(folder: Path, start: str) -> list[str]:
    found = []
    try:
        with os.scandir(folder.expanduser()) as entries:
            for entry in entries:
                if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                    found.append(f"{entry.name}/" if entry.is_dir() else entry.name)
                if len(found) == MOST:
                    break
    except (OSError, RuntimeError):  # a "~name" that is nobody
        return []
    return sorted(found)
