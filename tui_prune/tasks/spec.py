"""The name of a built-in task: "imagefolder:/data/pets,size=224,limit=5000"."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tui_prune import paths
from tui_prune.errors import UsageError

_FORM = re.compile(r"(?P<kind>[a-z][a-z0-9_]+):(?P<rest>.*)", re.DOTALL)
_OPTION = re.compile(r",(?=[a-z][a-z0-9_]*=)")
"""A comma that an option follows; other commas belong to the path."""


class Option(NamedTuple):
    """What may follow a task's path."""

    read: Callable[[str], Any]
    """Makes a value of the text. Raises `ValueError`."""
    form: str
    """What it takes, in a word or two."""
    about: str


@dataclass(frozen=True)
class TaskSpec:
    """The parts of such a name."""

    kind: str
    path: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As it was written."""
        return ",".join((f"{self.kind}:{self.path}", *(f"{name}={value}" for name, value in self.options)))

    def absolute(self) -> "TaskSpec":
        """The same with an absolute path, which means the same in every folder. Raises `UsageError`."""
        return replace(self, path=os.path.normpath(paths.absolute(self.path)) if self.path else "")

    def choices(self, known: Mapping[str, Option]) -> dict[str, Any]:
        """The options' values. Raises `UsageError` for an option that the task doesn't have, or a value that won't
        do."""
        found: dict[str, Any] = {}
        for name, text in self.options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                meant = f" Did you mean {close[0]}?" if close else ""
                raise UsageError(f"{self.kind}: has no option {name!r}.{meant} It has {', '.join(known)}.")
            try:
                found[name] = known[name].read(text)
            except ValueError:
                raise UsageError(f"{self.kind}: {name} takes {known[name].form}; it was {text!r}.") from None
        return found


def parse(text: str) -> TaskSpec | None:
    """The parts of a built-in task's name; None where the text can't be one, such as the path of a task file."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    path, *options = _OPTION.split(found["rest"])
    pairs = (option.partition("=") for option in options)
    return TaskSpec(found["kind"], path, tuple((name, value) for name, _, value in pairs))


def absolute_task(text: str) -> str:
    """A task's name or file with an absolute path. Raises `UsageError`."""
    spec = parse(text)
    known = spec is not None and not paths.exists(text)
    return str(spec.absolute()) if known and spec is not None else os.path.normpath(paths.absolute(text))


def whole_number(text: str) -> int:
    """A number of things; 0 may mean all of them. Raises `ValueError`."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def one_of(*values: str) -> Callable[[str], str]:
    """What reads one of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return read
