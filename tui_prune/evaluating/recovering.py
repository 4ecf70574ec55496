"""Recovering what a cut has cost: new batch-norm statistics, and fine-tuning. The cut was proved before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from tui_prune.channels.nested import tensors_in
from tui_prune.channels.record import TraceRecord
from tui_prune.channels.trace import run, untouched
from tui_prune.cutting.copying import named_tensors, with_tensors
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.evaluating.finetuning import Shown, finetune
from tui_prune.evaluating.recalibration import has_statistics, recalibrate
from tui_prune.evaluating.task import Task, user_traceback
from tui_prune.progress import Progress, part, silent
from tui_prune.result import Accuracy, Result, Stage, TuningPoint

RECALIBRATED, FINE_TUNED = "recalibrated", "fine-tuned"

Reached = Callable[[Stage], object]


def recover(
    result: Result,
    task: Task,
    *,
    recalibrating: bool = True,
    tuning: bool = False,
    accuracy: Accuracy | None = None,
    progress: Progress = silent,
    shown: Shown | None = None,
    reached: Reached | None = None,
) -> Result:
    """The result with a network whose batch norm is recalibrated, or that is fine-tuned, or both in this order.

    Its structure stays the one that was proved: only the values of parameters and buffers are taken over. Where the
    task has `evaluate`, what makes the network worse isn't kept. `accuracy` is what is known of the original and the
    cut network; without it only the cut network's is asked for. `reached` sees each stage with its score, `shown` each
    point that the loop reports.

    A fine-tuning that `progress` cancels gives its best state, if it has any, else what was recalibrated before it;
    everything else then raises `Cancelled`. Raises `UsageError` where the task lacks the function that is needed,
    `TuiPruneError` when it fails.
    """
    _check(task, recalibrating, tuning)
    known = accuracy or result.report.accuracy
    score = None
    if task.evaluate is not None:
        now = None if known is None else known.recovered if result.report.recovered else known.after
        score = task.score(result.model, part(progress, 0.0, 0.1)) if now is None else now
        if known is not None and not result.report.recovered:
            known = replace(known, after=score)
    record = result.plan.graph.record
    recovery = _Recovery(result.model, record, task, score, reached or (lambda stage: None))
    recovery.start(known, result.report.recovered)
    if recalibrating:
        recovery.recalibrate(part(progress, 0.1, 0.3))
    if tuning:
        try:
            recovery.finetune(part(progress, 0.3, 1.0), shown)
        except TuiPruneError as error:
            if not recovery.steps:
                raise
            recovery.keep_recalibrated(error)
    if not recovery.steps:
        report = replace(result.report, accuracy=known)
        return replace(result, report=report, notes=(*result.notes, *recovery.notes))
    report = replace(
        result.report,
        recovered=(*result.report.recovered, *recovery.steps),
        accuracy=None if known is None else replace(known, recovered=recovery.score),
    )
    return replace(
        result,
        model=recovery.model,
        report=report,
        reference_outputs=_outputs(recovery.model, result),
        curve=(*result.curve, *recovery.curve),
        traceback=recovery.traceback,
        notes=(*result.notes, *recovery.notes),
    )


class _Recovery:
    """A network on its way: each step works on a copy, which is taken over if it is no worse."""

    def __init__(
        self, model: nn.Module, record: TraceRecord, task: Task, score: float | None, reached: Reached
    ) -> None:
        self.model, self.score = model, score
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.curve: tuple[TuningPoint, ...] = ()
        self.traceback: str | None = None
        self._record, self._task, self._reached = record, task, reached

    def start(self, known: Accuracy | None, recovered: tuple[str, ...]) -> None:
        """Tell of the stages that there are already."""
        if known is not None:
            self._reached(Stage("before", known.before))
            self._reached(Stage("after", known.after))
        elif not recovered:
            self._reached(Stage("after", self.score))
        if recovered:
            self._reached(Stage(recovered[-1], self.score))

    def recalibrate(self, progress: Progress) -> None:
        if not has_statistics(self.model):
            self.notes.append("There is no batch norm with running statistics, so nothing was recalibrated.")
            return
        model = _copy(self.model, self._record)
        recalibrate(model, self._task, part(progress, 0.0, 0.5))
        if self._task.evaluate is not None:
            score = self._task.score(model, part(progress, 0.5, 1.0))
            if self.score is not None and score < self.score:
                self.notes.append(
                    f"Recalibrated batch norm made it worse ({score:.4g}, {self.score:.4g} before), so it was undone."
                )
                self._reached(Stage(RECALIBRATED, score, kept=False))
                return
            self.score = score
        self.model = model
        self.steps.append(RECALIBRATED)
        self._reached(Stage(RECALIBRATED, self.score))

    def finetune(self, progress: Progress, shown: Shown | None) -> None:
        trained = _copy(self.model, self._record)
        tuned = finetune(trained, self._task, accuracy=self.score, progress=progress, shown=shown)
        self.curve, self.traceback = tuned.curve, tuned.traceback
        self.notes += [tuned.note] if tuned.note else []
        if tuned.values is not None:
            self.model = _copy(self.model, self._record, tuned.values)
            self.score = tuned.accuracy
            self.steps.append(FINE_TUNED)
        self._reached(Stage(FINE_TUNED, None if tuned.values is None else self.score, kept=tuned.values is not None))

    def keep_recalibrated(self, error: TuiPruneError) -> None:
        """Say why fine-tuning has brought nothing, though there is something to keep."""
        why = "Fine-tuning was stopped before it was any better." if isinstance(error, Cancelled) else str(error)
        self.notes.append(f"{why} The recalibrated network is kept.")
        self.traceback = user_traceback(error)


def _check(task: Task, recalibrating: bool, tuning: bool) -> None:
    if not recalibrating and not tuning:
        raise UsageError("There is nothing to do: ask for recalibration, for fine-tuning, or for both.")
    if recalibrating and task.calibration is None:
        raise UsageError(f"{task.name} has no function calibration() to recalibrate batch norm by.")
    if tuning and task.finetune is None:
        raise UsageError(f"{task.name} has no function finetune(model, progress).")


@torch.no_grad()
def _copy(model: nn.Module, record: TraceRecord, values: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A copy that shares no tensor with the model, and has `values` wherever a checkpoint would hold them: not in
    buffers that the network computes itself."""
    own = {name: tensor.detach().clone() for name, tensor in named_tensors(model, record).items()}
    if values is not None:
        stored = model.state_dict().keys()
        for name in own.keys() & values.keys():
            if any(alias in stored for alias in record.names_of(name)):
                own[name].copy_(values[name])
    return with_tensors(model, own, record)


def _outputs(model: nn.Module, result: Result) -> tuple[Tensor, ...]:
    """What the network puts out for the example inputs. Raises `TuiPruneError` where that isn't right."""
    with untouched(model):
        found = run(model, result.example_inputs, result.example_kwargs)
    outputs = tuple(tensor for tensor in tensors_in(found) if tensor.is_floating_point())
    same = [t.shape for t in outputs] == [t.shape for t in result.reference_outputs]
    if not same or any(bool(tensor.isnan().any()) for tensor in outputs):
        raise TuiPruneError(
            "The recovered network doesn't put out numbers of the right shape for the example input, so it was "
            "dropped; the cut network is as it was."
        )
    return outputs
