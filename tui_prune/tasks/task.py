"""The user's task: a Python file that says what a network is for (evaluate, calibration, loss, finetune)."""

from __future__ import annotations

import itertools
import math
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune import paths
from tui_prune.copies.modules import named_tensors
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.trace import standing_in
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.sources.factory_file import import_file, own_errors
from tui_prune.progress import Progress, silent
from tui_prune.tasks.evidence import Half, Score
from tui_prune.tasks.stopping import Breaker


@dataclass(frozen=True)
class Task:
    """What a task file offers, or a built-in task; a function that it leaves out is None. It can also be made without a
    file."""

    file: Path | None = None
    evaluate: Callable[[nn.Module], float] | None = None
    """Higher is better. A `Score` says which examples are right."""
    calibration: Callable[[], Iterable[Any]] | None = None
    """Batches of inputs, or pairs of inputs and targets. Inputs are a tensor, a tuple of positional arguments or a dict
    of keyword arguments; a tuple of two is a pair."""
    finetune: Callable[..., None] | None = None
    """Trains the model that it is given; `progress(done, loss=None, accuracy=None)` says how far it is."""
    loss: Callable[[Any, Any], Tensor] | None = None
    """What the network should make small: of its output and the targets (None where `calibration` gives none)."""

    training: Callable[[], Iterable[Any]] | None = None
    """As `calibration`, in another order each time: what the built-in loop trains on where there is no `finetune`;
    `calibration` is taken without it."""
    spec: str = ""
    """What opens it again: the path of its file, or the name of a built-in task."""
    notes: tuple[str, ...] = ()
    """What the user should know before it is asked."""

    # Of built-in tasks.

    bind: Callable[[OpenedModel], Task] | None = None
    """Makes the task for one network of what was only named; the functions are there then."""
    evaluate_half: Callable[[nn.Module, Half], float] | None = None
    """As `evaluate`, on one half of the examples."""
    prepare: Callable[[Progress], object] | None = None
    """Does what takes long before anything is evaluated, once."""
    stamp: Callable[[], Mapping[str, Any]] | None = None
    """Plain values that change when its data do."""
    remarks: Callable[[], Sequence[str]] = tuple
    """What there is to say of what was read so far."""

    @property
    def name(self) -> str:
        """How to speak of it."""
        return self.file.name if self.file is not None else self.spec.partition(",")[0] or "the task"

    @property
    def tunable(self) -> bool:
        """Whether there is a loop of its own, or data for the built-in one."""
        return self.finetune is not None or self.training is not None or self.calibration is not None

    def for_network(self, opened: OpenedModel) -> Task:
        """The task for a network. Raises `UsageError` where a built-in one doesn't fit it."""
        return self if self.bind is None else self.bind(opened)

    def half(self, half: Half) -> Task:
        """The same, of which `evaluate` sees only one half of the examples, where it tells them apart: what was chosen
        by examples looks better on these than on any others."""
        if self.evaluate is None:
            return self
        whole, own = self.evaluate, self.evaluate_half

        def evaluate(model: nn.Module) -> float:
            if own is not None:
                return own(model, half)
            found = whole(model)
            return found.half(half) if isinstance(found, Score) else found

        return replace(self, evaluate=evaluate, evaluate_half=None)

    @contextmanager
    def own_errors(self, when: str) -> Iterator[None]:
        """Give errors of the task's own code as a `TuiPruneError`, with their line; its cause has the traceback."""
        with own_errors(self.file or Path(self.name), when, passing=(Cancelled, TuiPruneError)):
            yield

    def score(self, model: nn.Module, progress: Progress = silent) -> float:
        """What `evaluate` says of a model, of which it is given a copy over the same weights, in eval mode. `progress`
        may raise before each forward pass, to stop an evaluation that takes long or never ends.

        Raises `TuiPruneError` when it fails, gives no number, or changes the model's parameters.
        """
        if self.evaluate is None:
            raise TuiPruneError(f"{self.name} has no function evaluate(model).")
        if self.prepare is not None:
            self.prepare(progress)
        passes = itertools.count()
        with (
            safeguarded(model, f"evaluate(model) of {self.name}") as twin,
            Breaker().breaking(twin, lambda: progress("evaluate", guess(next(passes)))),
            self.own_errors("in evaluate(model)"),
        ):
            for module in twin.modules():
                module.training = False
            found = self.evaluate(twin)
            value = found if isinstance(found, Score) else float(found)
        if not math.isfinite(value):
            raise TuiPruneError(f"evaluate(model) of {self.name} gave {value}, which is no number to compare.")
        return value

    def score_aside(self, model: nn.Module, progress: Progress) -> float:
        """As `score`, but from within a training, whose random numbers stay as they would be without it."""
        devices = sorted({tensor.device.index or 0 for tensor in model.parameters() if tensor.device.type == "cuda"})
        with torch.random.fork_rng(devices):
            return self.score(model, progress)


def user_traceback(error: BaseException) -> str | None:
    """The traceback of the user's own exception behind an error of a task, as text for a viewer; None: there is
    none."""
    cause = error.__cause__
    return None if cause is None else "".join(traceback.format_exception(cause))


def guess(steps: int) -> float:
    """A share for so many steps of nobody knows how many."""
    return steps / (steps + 8)


def load_task(path: str | Path) -> Task:
    """Read a task file. Raises `UsageError` when there is none, `TuiPruneError` when its own code fails."""
    given = paths.absolute(path)
    if not paths.is_file(given):
        raise UsageError(paths.not_a_file(given, path, "task file"))
    file = Path(os.path.realpath(given))
    module = import_file(file)
    with own_errors(file, "while its functions were looked up"):
        functions = {name: getattr(module, name, None) for name in ("evaluate", "calibration", "finetune", "loss")}
    if not any(callable(function) for function in functions.values()):
        raise UsageError(f"{path} has none of the functions evaluate(model), calibration(), finetune(model, progress).")
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise UsageError(f"{name} in {path} is no function.")
    return Task(
        file,
        functions["evaluate"],
        functions["calibration"],
        functions["finetune"],
        functions["loss"],
        spec=str(file),
    )


@contextmanager
def safeguarded(model: nn.Module, function: str) -> Iterator[nn.Module]:
    """Give the user's code a copy of the network over the same weights, and keep the network as it is.

    What that code does to torch's own settings and to modes, buffers, modules, hooks and attributes ends with the copy,
    without a word. A changed parameter is put back, but makes what the code has found out worthless, so it is an error.
    `function` names that code in the message: "evaluate(model) of task.py".

    It takes the memory of one more copy of the weights.

    Raises `TuiPruneError` naming the first parameter that was changed.
    """
    with standing_in(model) as twin:
        given = dict(named_tensors(twin))
        parameters = [
            (name, tensor, given[name], tensor.detach().clone())
            for name, tensor in named_tensors(model)
            if isinstance(tensor, nn.Parameter)
        ]
        dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
        try:
            yield twin
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            changed = [name for name, _, shown, values in parameters if not _same_bits(shown, values)]
            with torch.no_grad():
                for _, tensor, _, values in parameters:
                    if not _same_bits(tensor, values):
                        tensor.copy_(values)
    if changed:
        raise TuiPruneError(
            f"{function} has changed the network ({changed[0]}), so what it found isn't used; the network was put "
            "back. Let it work on a copy: copy.deepcopy(model)."
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values in one shape; not-a-number equals itself."""
    if one.shape != other.shape:
        return False
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
