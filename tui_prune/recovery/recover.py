"""Recovering what a cut has cost: layers refitted, new batch-norm statistics, fine-tuning. The cut is proved before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from tui_prune import formatting
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.trace import run, untouched
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.distillation import Training, distiller
from tui_prune.recovery.finetuning import Shown, finetune
from tui_prune.recovery.recalibration import has_statistics, recalibrate
from tui_prune.recovery.reconstruct import MOST_INPUTS, reconstruct
from tui_prune.result import Accuracy, Report, Result, Stage, TuningPoint
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.tasks.batches import calibration_batches
from tui_prune.tasks.inputs import joined, run_inputs
from tui_prune.tasks.task import Task, user_traceback

RECONSTRUCTED, RECALIBRATED, FINE_TUNED = "reconstructed", "recalibrated", "fine-tuned"

Reached = Callable[[Stage], object]
SoFar = Callable[[Result], object]


class Elsewhere(Protocol):
    """Where else fine-tuning runs than in this process."""

    @property
    def notes(self) -> Sequence[str]:
        """What there is to say of it."""
        ...

    def loop(self, result: Result, progress: Progress) -> Callable[..., None]:
        """A task's `finetune(model, progress)` for the network of a cut; the other `progress` may raise to stop it."""
        ...


def recover(
    result: Result,
    task: Task,
    *,
    reconstructing: bool = False,
    recalibrating: bool = True,
    tuning: bool = False,
    training: Training | None = None,
    accuracy: Accuracy | None = None,
    progress: Progress = silent,
    shown: Shown | None = None,
    reached: Reached | None = None,
    so_far: SoFar | None = None,
    elsewhere: Elsewhere | None = None,
) -> Result:
    """The result with a network whose layers are refitted, whose batch norm is recalibrated, or that is fine-tuned, or
    several of these in this order.

    Fine-tuning runs the task's own loop, or the built-in one (`recovery.distillation`) where there is none, or where a
    `training` says how; in other processes with `elsewhere`.

    What was reconstructed or recalibrated is recalibrated once more after its fine-tuning, where `evaluate` says that
    this is better: statistics that a training gathers on its way lag behind its weights (Wu and Johnson 2021,
    "Rethinking 'Batch' in BatchNorm", sec. 3).

    Its structure stays the one that was proved: only the values of parameters and buffers are taken over. Where the
    task has `evaluate`, what makes the network worse isn't kept. `accuracy` is what is known of the original and the
    cut network; without it only the cut network's is asked for. `reached` sees each stage with its score, `shown` each
    point that the loop reports. `so_far` sees, now and then, the best that there is already; it comes from within the
    user's own loop.

    A fine-tuning that `progress` cancels gives its best state, if it has any, else what was recovered before it;
    everything else then raises `Cancelled`. Raises `UsageError` where the task lacks the function that is needed,
    `TuiPruneError` when it fails.
    """
    _check(result, task, reconstructing, recalibrating, tuning)
    if tuning and elsewhere is None and (training is not None or task.finetune is None):
        task = replace(task, finetune=distiller(result.plan.graph.model, task, training or Training()))
    known = accuracy or result.report.accuracy
    score = None
    if task.evaluate is not None:
        now = None if known is None else known.recovered if result.report.recovered else known.after
        score = task.score(result.model, part(progress, 0.0, 0.1)) if now is None else now
        if known is not None and not result.report.recovered:
            known = replace(known, after=score)
    recovery = _Recovery(result, task, score, known, reached or (lambda stage: None), so_far, elsewhere)
    recovery.start()
    settling = reconstructing or recalibrating or {RECONSTRUCTED, RECALIBRATED} & {*result.report.recovered}
    if reconstructing:
        recovery.reconstruct(part(progress, 0.1, 0.3 if recalibrating or tuning else 1.0))
    if recalibrating:
        recovery.recalibrate(part(progress, 0.2 if reconstructing else 0.1, 0.3))
    if tuning:
        try:
            recovery.finetune(part(progress, 0.3, 1.0), shown, settling=bool(settling))
        except TuiPruneError as error:
            if not recovery.steps:
                raise
            recovery.keep_untrained(error)
    return recovery.result()


def with_weights(result: Result, values: Mapping[str, Tensor], report: Report) -> Result:
    """The result with other weights, by all their names, and what is to be reported of them.

    Raises `TuiPruneError` where the network doesn't put out numbers of the right shape with them.
    """
    model = _copy(result.model, result.plan.graph.record, values)
    return replace(result, model=model, report=report, reference_outputs=_outputs(model, result))


class _Recovery:
    """A network on its way: each step works on a copy, which is taken over if it is no worse."""

    def __init__(
        self,
        base: Result,
        task: Task,
        score: float | None,
        known: Accuracy | None,
        reached: Reached,
        so_far: SoFar | None,
        elsewhere: Elsewhere | None,
    ) -> None:
        self.model, self.score = base.model, score
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.curve: tuple[TuningPoint, ...] = ()
        self.traceback: str | None = None
        self.reconstructed = base.report.reconstruction
        self._base, self._record, self._task = base, base.plan.graph.record, task
        self._known, self._reached, self._so_far, self._elsewhere = known, reached, so_far, elsewhere

    def start(self) -> None:
        """Tell of the stages that there are already."""
        recovered = self._base.report.recovered
        if self._known is not None:
            self._reached(Stage("before", self._known.before))
            self._reached(Stage("after", self._known.after))
        elif not recovered:
            self._reached(Stage("after", self.score))
        if recovered:
            self._reached(Stage(recovered[-1], self.score))

    def result(self) -> Result:
        """What has come of it."""
        base, notes = self._base, tuple(dict.fromkeys((*self._base.notes, *self.notes)))
        if not self.steps:
            known = self._known
            if known is not None and base.report.recovered:
                known = replace(known, recovered=self.score)
            return replace(base, report=replace(base.report, accuracy=known), notes=notes)
        return replace(
            base,
            model=self.model,
            report=self._report(self.steps, self.score),
            reference_outputs=_outputs(self.model, base),
            curve=(*base.curve, *self.curve),
            traceback=self.traceback,
            notes=notes,
        )

    def _report(self, steps: Sequence[str], score: float | None) -> Report:
        known = None if self._known is None else replace(self._known, recovered=score)
        return replace(
            self._base.report,
            recovered=(*self._base.report.recovered, *steps),
            accuracy=known,
            reconstruction=self.reconstructed,
        )

    def reconstruct(self, progress: Progress) -> None:
        """Refit the layers to what they gave before the cut, where that brings the outputs nearer to the original's."""
        batches = ((batch.args, batch.kwargs) for batch in calibration_batches(self._task, self.model))
        made = reconstruct(
            self._base.plan.graph.model,
            _copy(self.model, self._record),
            self._record,
            self._base.positions,
            joined(batches, MOST_INPUTS),
            run_inputs,
            part(progress, 0.0, 0.9 if self._task.evaluate is not None else 1.0),
        )
        if not made.better:
            before, after = (f"{100 * value:.3g} %" for value in (made.found.before, made.found.after))
            self.notes.append(
                "Refitted layers bring the outputs no nearer to the uncut network's on inputs that were held out "
                f"(error {after}, {before} before), so they were undone."
            )
            self._reached(Stage(RECONSTRUCTED, None, kept=False))
            return
        model = _copy(self.model, self._record, made.values)
        if self._keep(RECONSTRUCTED, model, "Refitting the layers made it worse", part(progress, 0.9, 1.0)):
            self.reconstructed = made.found

    def _keep(self, step: str, model: nn.Module, worse: str, progress: Progress) -> bool:
        """Take a network over, unless `evaluate` says that it is worse."""
        if self._task.evaluate is not None:
            score = self._task.score(model, progress)
            if self.score is not None and score < self.score:
                now, before = (formatting.score(value, self.score) for value in (score, self.score))
                self.notes.append(f"{worse} ({now}, {before} before), so it was undone.")
                self._reached(Stage(step, score, kept=False))
                return False
            self.score = score
        self.model = model
        self.steps.append(step)
        self._reached(Stage(step, self.score))
        return True

    def recalibrate(self, progress: Progress) -> None:
        if not has_statistics(self.model):
            self.notes.append("There is no batch norm with running statistics, so nothing was recalibrated.")
            return
        model = _copy(self.model, self._record)
        recalibrate(model, self._task, part(progress, 0.0, 0.5))
        self._keep(RECALIBRATED, model, "Recalibrated batch norm made it worse", part(progress, 0.5, 1.0))

    def finetune(self, progress: Progress, shown: Shown | None, *, settling: bool) -> None:
        if self._so_far is not None and self.steps:
            with suppress(Exception):  # as in `_tell`
                self._so_far(self.result())
        trained = _copy(self.model, self._record)

        def so_far(values: Mapping[str, Tensor], score: float | None) -> None:
            self._tell(values, score, progress)

        task, elsewhere = self._task, self._elsewhere
        if elsewhere is not None:
            task = replace(task, finetune=elsewhere.loop(self._base, progress))
        tuned = finetune(
            trained,
            task,
            accuracy=self.score,
            settling=self._settle
            if settling and self._task.calibration is not None and has_statistics(trained)
            else None,
            progress=progress,
            shown=shown,
            so_far=None if self._so_far is None else so_far,
        )
        self.curve, self.traceback = tuned.curve, tuned.traceback
        self.notes += [*([] if elsewhere is None else elsewhere.notes), *([tuned.note] if tuned.note else [])]
        if tuned.values is not None:
            self.model = _copy(self.model, self._record, tuned.values)
            self.score = tuned.accuracy
            self.steps.append(FINE_TUNED)
        score = tuned.accuracy if tuned.unsettled is None else tuned.unsettled
        kept = tuned.values is not None
        self._reached(Stage(FINE_TUNED, score if kept else None, kept=kept))
        if tuned.unsettled is not None:
            self.steps.append(RECALIBRATED)
            self._reached(Stage(RECALIBRATED, self.score))

    def _settle(self, model: nn.Module, progress: Progress) -> None:
        recalibrate(model, self._task, progress)

    def _tell(self, values: Mapping[str, Tensor], score: float | None, progress: Progress) -> None:
        """Let somebody have a state of the fine-tuning, if it is no worse than what it started from."""
        assert self._so_far is not None
        devices = {tensor.device.type for tensor in values.values()}
        try:
            with ExitStack() as plainly:
                for device in devices:
                    plainly.enter_context(torch.autocast(device, enabled=False))
                found = with_weights(self._base, values, self._report([*self.steps, FINE_TUNED], score))
                if score is None and self._task.evaluate is not None:
                    score = self._task.score_aside(found.model, lambda stage, _: progress(stage, 0.0))
                    if self.score is not None and score < self.score:
                        return
                    found = replace(found, report=self._report([*self.steps, FINE_TUNED], score))
                self._so_far(found)
        except Cancelled:
            raise
        except Exception:  # such as no memory for another copy: nothing of this may end the training
            return

    def keep_untrained(self, error: TuiPruneError) -> None:
        """Say why fine-tuning has brought nothing, though there is something to keep."""
        why = "Fine-tuning was stopped before it was any better." if isinstance(error, Cancelled) else str(error)
        self.notes.append(f"{why} The {self.steps[-1]} network is kept.")
        self.traceback = user_traceback(error)


def _check(result: Result, task: Task, reconstructing: bool, recalibrating: bool, tuning: bool) -> None:
    if not (reconstructing or recalibrating or tuning):
        raise UsageError("There is nothing to do: ask for reconstruction, recalibration, fine-tuning, or several.")
    if reconstructing and task.calibration is None:
        raise UsageError(f"{task.name} has no function calibration() to refit the layers by.")
    if reconstructing and result.plan.graph.model is result.model:
        raise UsageError("The network was cut in place, so there is no uncut one to refit its layers to.")
    if recalibrating and task.calibration is None:
        raise UsageError(f"{task.name} has no function calibration() to recalibrate batch norm by.")
    if tuning and not task.tunable:
        raise UsageError(f"{task.name} has neither a function finetune(model, progress) nor calibration() to train by.")
    if tuning and task.finetune is None and result.plan.graph.model is result.model:
        raise UsageError("The network was cut in place, so there is no uncut one to learn from.")


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
    with untouched(model) as twin:
        found = run(twin, result.example_inputs, result.example_kwargs)
    outputs = tuple(tensor for tensor in tensors_in(found) if tensor.is_floating_point())
    same = [t.shape for t in outputs] == [t.shape for t in result.reference_outputs]
    if not same or any(bool(tensor.isnan().any()) for tensor in outputs):
        raise TuiPruneError(
            "The recovered network doesn't put out numbers of the right shape for the example input, so it was "
            "dropped; the cut network is as it was."
        )
    return outputs
