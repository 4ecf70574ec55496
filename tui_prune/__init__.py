"""Structured channel pruning of PyTorch models: see before you cut, and never save a wrong checkpoint.

    result = tui_prune.prune(model, example_inputs, ratio=0.5, align=8)
    tui_prune.save("pruned.pt", result)
    model = tui_prune.load("pruned.pt")

Importing the package is cheap: torch is imported when one of its names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_prune.api import (
        error_curves,
        plan,
        prune,
        prune_in_rounds,
        reconstruct,
        recover,
        sensitivity,
        suggest,
        trace,
    )
    from tui_prune.errors import Cancelled, TuiPruneError, UsageError
    from tui_prune.planning.recipe import Recipe
    from tui_prune.recovery.distillation import Training
    from tui_prune.recovery.slimming import group_penalty, slimming_penalty
    from tui_prune.result import Result
    from tui_prune.saving.checkpoint import load, save
    from tui_prune.saving.exporting.export import export
    from tui_prune.search.sensitivity import Sensitivity
    from tui_prune.tasks.evidence import Score
    from tui_prune.tasks.task import Task

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Recipe",
    "Result",
    "Score",
    "Sensitivity",
    "Task",
    "Training",
    "TuiPruneError",
    "UsageError",
    "__version__",
    "error_curves",
    "export",
    "group_penalty",
    "load",
    "plan",
    "prune",
    "prune_in_rounds",
    "reconstruct",
    "recover",
    "save",
    "sensitivity",
    "slimming_penalty",
    "suggest",
    "trace",
]

_HOMES = {
    "Cancelled": "tui_prune.errors",
    "Recipe": "tui_prune.planning.recipe",
    "Result": "tui_prune.result",
    "Score": "tui_prune.tasks.evidence",
    "Sensitivity": "tui_prune.search.sensitivity",
    "Task": "tui_prune.tasks.task",
    "Training": "tui_prune.recovery.distillation",
    "TuiPruneError": "tui_prune.errors",
    "UsageError": "tui_prune.errors",
    "error_curves": "tui_prune.api",
    "export": "tui_prune.saving.exporting.export",
    "group_penalty": "tui_prune.recovery.slimming",
    "load": "tui_prune.saving.checkpoint",
    "plan": "tui_prune.api",
    "prune": "tui_prune.api",
    "prune_in_rounds": "tui_prune.api",
    "reconstruct": "tui_prune.api",
    "recover": "tui_prune.api",
    "save": "tui_prune.saving.checkpoint",
    "sensitivity": "tui_prune.api",
    "slimming_penalty": "tui_prune.recovery.slimming",
    "suggest": "tui_prune.api",
    "trace": "tui_prune.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
