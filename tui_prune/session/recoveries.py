"""Recovered networks of one session: the latest few plans' stay, and come back when the choices do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tui_prune.archives.pruned_file import Checkpoint, checksum
from tui_prune.errors import TuiPruneError
from tui_prune.graph.graph import Graph
from tui_prune.loading.fitting import device_of
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.distillation import Training
from tui_prune.recovery.finetuning import Shown
from tui_prune.recovery.recover import Reached, recover
from tui_prune.result import Accuracy, Result
from tui_prune.saving.checkpoint import compose, tensors_and_positions
from tui_prune.saving.kept_weights import lay_in
from tui_prune.session.ranks import Launch
from tui_prune.session.task_work import TaskWork
from tui_prune.session.words import in_words
from tui_prune.tasks.task import Task
from tui_prune.workers.ranks import Ranks

MOST = 4
"""Recovered networks that are held."""


class Recoveries(TaskWork):
    """The part of a session that recovers what a cut has cost."""

    _result: tuple[Plan, Result] | None
    _recoveries: tuple[Result, ...] = ()
    """The latest last; of networks with the same channels only the latest."""
    _recovery_files: dict[nn.Module, Path]
    """The recovered networks that the user has saved, and where."""
    _running = 0

    keep_recovered: Callable[[Result], object] | None = None
    """Told of each recovered network, and of the best so far while one is fine-tuned; called in the thread that
    recovers, from within the user's own loop."""

    @property
    def recoveries(self) -> tuple[Result, ...]:
        """The recovered networks that are held, the latest last."""
        return self._recoveries

    @property
    def recovering(self) -> bool:
        """Whether some network is being recovered right now."""
        return self._running > 0

    @property
    def recovered(self) -> Result | None:
        """The recovered network of the present plan; None where it wasn't recovered, or the plan keeps other channels
        now. It comes back when the choices do.
        """
        return self._held(self._plan)

    def _held(self, plan: Plan) -> Result | None:
        return next((found for found in self._recoveries if _same_cut(found.plan, plan)), None)

    @property
    def unsaved_recovery(self) -> Result | None:
        """The recovered network of the present plan where no saved checkpoint holds it."""
        found = self.recovered
        return found if found is not None and self.recovery_file(found) is None else None

    def recovery_file(self, found: Result) -> Path | None:
        """The checkpoint that the user has saved a recovered network to."""
        return self._recovery_files.get(found.model)

    def set_task(self, task: Task | None) -> None:
        """As `TaskWork.set_task`."""
        super().set_task(task)
        self._recoveries = tuple(
            replace(found, report=replace(found.report, accuracy=None)) for found in self._recoveries
        )

    def recover(
        self,
        progress: Progress = silent,
        *,
        reconstruct: bool = False,
        recalibrate: bool = True,
        finetune: bool = False,
        training: Training | None = None,
        procs: int = 1,
        shown: Shown | None = None,
        reached: Reached | None = None,
    ) -> Result:
        """Refit the layers, recalibrate batch norm, fine-tune by the task's own loop or the built-in one (as `training`
        says), or several of these in this order, after the cut was verified; `result` and `save` take the recovered
        network from then on. What was recovered before is where it starts from. With `procs` above 1, so many
        processes fine-tune it together.

        `reached` sees each stage with its score, `shown` each point that the loop reports. A fine-tuning that
        `progress` cancels gives the best state that it had, if any (`Result.notes` says so); elsewhere `Cancelled`
        passes through and nothing has changed.

        Raises `TuiPruneError` without a task, or when it fails; `UsageError` when it lacks what is needed.
        """
        task = self._reporting_task()
        elsewhere = self.elsewhere(procs, training) if finetune else None
        base = self._recovered_or_cut(part(progress, 0.0, 0.1))
        known, measured = base.report.accuracy, self._measured
        if known is None and measured is not None and measured[0] is base.plan:
            known = measured[1]
        if known is None and task.evaluate is not None:
            known = Accuracy(self._baseline(part(progress, 0.1, 0.2)), None)
        self._running += 1
        try:
            result = recover(
                base,
                task,
                reconstructing=reconstruct,
                recalibrating=recalibrate,
                tuning=finetune,
                training=training,
                accuracy=known,
                progress=part(progress, 0.2, 1.0),
                shown=shown,
                reached=reached,
                so_far=self.keep_recovered,
                elsewhere=elsewhere,
            )
            if result.report.accuracy is not None:
                self._note(result.plan, result.report.accuracy)
            if result.model is not base.model:
                result = self._hold(result)
        finally:
            held = self._held(base.plan)
            if held is not None and self.keep_recovered is not None:  # in place of what was on its way
                self.keep_recovered(held)
            self._running -= 1
        return result

    def elsewhere(self, procs: int, training: Training | None = None) -> Launch | None:
        """What fine-tunes this session's networks in so many processes; None for one, which is this one. Raises
        `UsageError` for a number that can't be."""
        if procs == 1:
            return None
        module = self.opened.module
        return Launch(Ranks(procs, device_of(module).type), self._needed_task(), training, module, self.request)

    def packed(self, found: Result) -> Checkpoint:
        """What `take_up` of another session on the same network takes. Raises `TuiPruneError` where there is something
        that a checkpoint can't hold."""
        return compose(Path("recovered weights"), found, self._made_from)

    def take_up(self, checkpoint: Checkpoint, progress: Progress = silent) -> Result:
        """Hold a recovered network of another session again: cut anew by its recipe, with its weights. What the task
        said of it holds where that is the same.

        Raises `TuiPruneError`, in words that follow "they can't be taken up: ", and changes nothing, where the uncut
        weights or the cut aren't the same any more, or what is in the checkpoint isn't right.
        """
        if not self._weights_digest or checkpoint.made_from.get("weights") != self._weights_digest:
            raise TuiPruneError(f"the weights of {self.opened.title} aren't those that they were made from.")
        recipe = Recipe.from_dict(checkpoint.recipe)
        self.prepare(recipe, part(progress, 0.0, 0.3))
        result = lay_in(self._cut_aside(self._plan_of(recipe), part(progress, 0.3, 1.0)), checkpoint)
        if not self._made_from["task"] or checkpoint.made_from.get("task") != self._made_from["task"]:
            result = replace(result, report=replace(result.report, accuracy=None))
        if result.report.accuracy is not None:
            self._note(result.plan, result.report.accuracy)
        return self._hold(result)

    def recognise(self, checkpoint: Checkpoint) -> None:
        """Take note that the present recovered network is saved, if a checkpoint of the user's holds the same."""
        found = self.recovered
        if found is not None:
            tensors, others = tensors_and_positions(found)[0], checkpoint.tensors
            if tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors):
                self._recovery_files[found.model] = checkpoint.path

    def prepare(self, recipe: Recipe, progress: Progress = silent) -> None:
        """Do what a plan of this recipe needs once."""
        raise NotImplementedError

    def _make_plan(self, recipe: Recipe) -> Plan:
        """The plan of a recipe. Raises `UsageError`."""
        raise NotImplementedError

    def _plan_of(self, recipe: Recipe) -> Plan:
        plan = self._plan
        return plan if plan.recipe == recipe else self._make_plan(recipe)

    def _cut_aside(self, plan: Plan, progress: Progress) -> Result:
        """The verified cut of a plan, without letting go of that of the present one."""
        return self._cut(plan, progress, remembering=plan is self._plan)

    def _hold(self, result: Result) -> Result:
        """Hold a recovered network, with a note where another has to go for it."""
        held = [found for found in self._recoveries if not _same_cut(found.plan, result.plan)]
        if len(held) == MOST:
            gone = next((found for found in held if self.recovery_file(found) is not None), held[0])
            held.remove(gone)
            if self.recovery_file(gone) is None:
                note = f"the recovered weights of {in_words(gone.plan.recipe)} were let go of: {MOST} plans' are kept."
                result = replace(result, notes=(*result.notes, note))
        self._recoveries = (*held, result)
        models = {found.model for found in self._recoveries}
        self._recovery_files = {model: file for model, file in self._recovery_files.items() if model in models}
        return result

    def suggest(self, *arguments: Any, **choices: Any) -> Recipe:
        """As `TaskWork.suggest`."""
        self._running += 1  # finalists are recovered
        try:
            return super().suggest(*arguments, **choices)
        finally:
            self._running -= 1

    def take_recovered(self, result: Result) -> None:
        """Hold a network that was recovered elsewhere, of the present plan, as if it had been here."""
        if result.report.accuracy is not None:
            self._note(result.plan, result.report.accuracy)
        self._take_recovered(result)

    def _take_recovered(self, result: Result) -> None:
        held = self._hold(result)
        if self.keep_recovered is not None:
            self.keep_recovered(held)

    @property
    def _made_from(self) -> dict[str, str]:
        """What tells the weights and the task of this session from others."""
        raise NotImplementedError

    @cached_property
    def _weights_digest(self) -> str:
        """What tells the opened weights from others; empty where they can't be read byte by byte."""
        module = self.opened.module
        try:
            return checksum({**dict(module.named_parameters()), **dict(module.named_buffers())})
        except (TuiPruneError, TypeError, RuntimeError):
            return ""


def _same_cut(one: Plan, other: Plan) -> bool:
    """Whether two plans of one network leave the same of it."""
    if one.graph is other.graph:
        return np.array_equal(one.keep, other.keep)
    same = one.graph.record is other.graph.record and one.recipe.units == other.recipe.units
    return same and np.array_equal(_slots(one.graph, one.keep), _slots(other.graph, other.keep))


def _slots(graph: Graph, keep: np.ndarray) -> np.ndarray:
    return keep[graph.classes.channel]
