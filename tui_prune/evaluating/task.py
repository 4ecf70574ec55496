"""The user's task: a Python file that says what a network is for (DESIGN: evaluate, calibration, finetune)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.opening.factory_file import import_file, own_errors


@dataclass(frozen=True)
class Task:
    """What a task file offers; a function that it leaves out is None."""

    file: Path
    evaluate: Callable[[nn.Module], float] | None
    """Higher is better."""
    calibration: Callable[[], Iterable[Any]] | None
    finetune: Callable[..., None] | None

    def score(self, model: nn.Module) -> float:
        """What `evaluate` says of a model. Raises `TuiPruneError` when it fails, or gives no number."""
        if self.evaluate is None:
            raise TuiPruneError(f"{self.file.name} has no function evaluate(model).")
        modes = [(module, module.training) for module in model.modules()]
        try:
            with own_errors(self.file, "in evaluate(model)", passing=Cancelled):
                value = float(self.evaluate(model))
        finally:
            for module, training in modes:
                module.training = training
        if not math.isfinite(value):
            raise TuiPruneError(f"evaluate(model) of {self.file.name} gave {value}, which is no number to compare.")
        return value


def load_task(path: str | Path) -> Task:
    """Read a task file. Raises `UsageError` when there is none, `TuiPruneError` when its own code fails."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"There is no task file {path}.")
    module = import_file(file.resolve())
    functions = {name: getattr(module, name, None) for name in ("evaluate", "calibration", "finetune")}
    if not any(callable(function) for function in functions.values()):
        raise UsageError(f"{path} has none of the functions evaluate(model), calibration(), finetune(model, progress).")
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise UsageError(f"{name} in {path} is no function.")
    return Task(file.resolve(), **functions)
