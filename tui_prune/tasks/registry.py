"""The built-in tasks, and finding the task that a user names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.tasks.spec import Option, parse

if TYPE_CHECKING:
    from tui_prune.tasks.task import Task

BUILT_IN = {
    "imagefolder": "tui_prune.tasks.imagefolder",
    "images": "tui_prune.tasks.images",
    "arrays": "tui_prune.tasks.arrays",
}
"""The module of each, by the word that its name starts with."""

FORMS = "FILE.py|imagefolder:DIR|images:DIR|arrays:FILE.npz"


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
        raise UsageError(f"Say where the data of {spec.kind}: are, as in {FORMS.split('|')[1]}.")
    module = import_module(BUILT_IN[spec.kind])
    return module.task(spec.absolute(), spec.choices(module.OPTIONS))


def options_of(kind: str) -> dict[str, Option]:
    """The options that a built-in task takes."""
    return dict(import_module(BUILT_IN[kind]).OPTIONS)
