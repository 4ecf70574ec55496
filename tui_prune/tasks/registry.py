"""The built-in tasks, each a file of this folder and a line of `BUILT_IN`, and finding the task that a user names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.tasks.spec import Option, parse

if TYPE_CHECKING:
    from tui_prune.tasks.task import Task


class BuiltIn(NamedTuple):
    """What is known of a built-in task before its file is read."""

    module: str
    """It has `OPTIONS` and `task(spec, choices) -> Task`."""
    place: str
    """Where its data are, as help calls it: "DIR" for a folder, "FILE.npz" for a file of this kind."""

    @property
    def suffix(self) -> str:
        """That of the file with its data; empty for a folder."""
        return Path(self.place).suffix


BUILT_IN = {
    "images": BuiltIn("tui_prune.tasks.images", "DIR"),
    "imagefolder": BuiltIn("tui_prune.tasks.imagefolder", "DIR"),
    "arrays": BuiltIn("tui_prune.tasks.arrays", "FILE.npz"),
}
"""By the word that its name starts with."""


def forms() -> list[str]:
    """How each is named: "images:DIR"."""
    return [f"{kind}:{one.place}" for kind, one in BUILT_IN.items()]


FORMS = "|".join(["FILE.py", *forms()])


def open_task(named: str | Path) -> Task:
    """The task of a name: a task file, or a built-in task with the place of its data.

    Raises `UsageError` when there is none, `TuiPruneError` when a task file's own code fails.
    """
    from tui_prune.tasks.task import load_task

    spec = parse(str(named))
    if spec is None or paths.exists(named):
        return load_task(named)
    if spec.kind not in BUILT_IN:
        known = ", ".join(f"{kind}:" for kind in BUILT_IN)
        raise UsageError(f"There is no built-in task {spec.kind}:, and no task file {named}. There are {known}.")
    if not spec.path:
        raise UsageError(f"Say where the data of {spec.kind}: are, as in {spec.kind}:{BUILT_IN[spec.kind].place}.")
    module = import_module(BUILT_IN[spec.kind].module)
    return module.task(spec.absolute(), spec.choices(module.OPTIONS))


def options_of(kind: str) -> dict[str, Option]:
    """The options that a built-in task takes."""
    return dict(import_module(BUILT_IN[kind].module).OPTIONS)
