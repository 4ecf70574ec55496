"""Long work on a session's state as it was when the work began: cutting, evaluating, recovering, comparing, saving."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.cost.bench import measure
from tui_prune.errors import TuiPruneError
from tui_prune.loading.fitting import device_of
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.distillation import Training
from tui_prune.recovery.finetuning import Shown
from tui_prune.recovery.recover import Reached, recover
from tui_prune.result import Accuracy, Result
from tui_prune.saving.kept_weights import lay_in
from tui_prune.session.cutting import carry_out
from tui_prune.session.latency_work import report_of, work_for
from tui_prune.session.looking.activations import measure_activations
from tui_prune.session.ranks import Launch
from tui_prune.session.state import (
    ActivationsMeasured,
    Compared,
    CutMade,
    Evaluated,
    Outcome,
    Recognised,
    Recovered,
    Saved,
    State,
)
from tui_prune.tasks.task import Task
from tui_prune.workers.ranks import Ranks

if TYPE_CHECKING:
    from tui_prune.saving.exporting.export import ExportReport


class Work:
    """What a session can do that takes long. It may run in any thread, and changes nothing that others see: what it
    finds out goes to `deliver`, as it is found, and is there for the work after it."""

    def __init__(
        self,
        state: State,
        deliver: Callable[[Outcome], object],
        *,
        request: OpenRequest | None = None,
        recovering: set[object] | None = None,
        keep_recovered: Callable[[Result], object] | None = None,
    ) -> None:
        """`recovering` has something in it for as long as a network is being recovered, and the outcomes that have
        recovered networks: who takes one in takes it out. `keep_recovered` is as in `Session`, `request` says how other
        processes open the network."""
        self.state = state
        self.request = request
        self._deliver, self._keep_recovered = deliver, keep_recovered
        self._recovering: set[object] = set() if recovering is None else recovering

    @property
    def plan(self) -> Plan:
        """The plan that is worked on."""
        return self.state.plan

    @property
    def task(self) -> Task:
        """The task, of which only the examples count that haven't chosen anything. Raises `TuiPruneError` without."""
        return self.state.evaluation.by(self.state.reporting)

    def found(self, outcome: Outcome) -> None:
        """Hand out what was found."""
        self.state = outcome.onto(self.state)
        if isinstance(outcome, Recovered):
            self._recovering.add(outcome)
        self._deliver(outcome)

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """Say that a network is being recovered, as long as the block lasts."""
        token = object()
        self._recovering.add(token)
        try:
            yield
        finally:
            self._recovering.discard(token)

    def prepare(self, recipe: Recipe, progress: Progress = silent) -> None:
        """Do what a plan of this recipe needs once: run the task's calibration data, measure layers on this device.

        Without it the first plan does so. Raises `UsageError` when the task has no calibration data, `TuiPruneError`
        when its own code fails.
        """
        self.state.planning.prepare(recipe, progress)

    def dead_channels(self, progress: Progress = silent) -> int:
        """How many channels do nothing whatever the input is; `changes.dead_only` cuts them. Takes a few forward passes
        the first time."""
        from tui_prune.session.changes import dead_only

        progress("bounds", 0.0)
        plan = self.state.planning.make(dead_only(self.plan.recipe))
        progress("bounds", 1.0)
        return int((~plan.keep).sum())

    # Cutting

    def cut(self, progress: Progress = silent) -> Result:
        """Cut by the present plan, prove it and verify it; the opened network stays as it is.

        Where the network's own code can't follow the plan, what it fixes is locked and the plan made anew (then that of
        the result is another one, and its graph says why).

        Raises `TuiPruneError` when the cut network isn't equal to the masked original.
        """
        return self.cut_of(self.plan, progress)

    def cut_of(self, plan: Plan, progress: Progress = silent, *, remembering: bool = True) -> Result:
        """The verified cut of a plan; with `remembering` it needn't be cut again while that is the latest."""
        known = self.state.cut
        if known is not None and known.plan is plan:
            return known
        result = carry_out(self.state.planning, plan, progress)
        self.found(CutMade(plan, self.state.evaluation, result, remembering))
        return result

    def result(self, progress: Progress = silent) -> Result:
        """What `save` writes: the recovered network if there is one, else the cut one; with the accuracy if known."""
        result, measured = self._recovered_or_cut(progress), self.state.measured
        if result.report.accuracy is None and measured is not None and measured[0] is result.plan:
            return replace(result, report=replace(result.report, accuracy=measured[1]))
        return result

    def _recovered_or_cut(self, progress: Progress) -> Result:
        """Where the cut finds out that a layer has to stay, the plan is another one then, which may be recovered."""
        if self.state.recovered is not None:
            return self.state.recovered
        cut = self.cut(progress)
        return self.state.recoveries.of(cut.plan) or cut

    def save(self, path: str | Path, *, force: bool = False, progress: Progress = silent) -> Path:
        """Write `result` as a pruned checkpoint (`saving.forms`). Raises `TuiPruneError`; an existing file needs
        `force`."""
        from tui_prune.saving.checkpoint import save

        plan, result = self.plan, self.result(progress)
        written = save(path, result, force=force, progress=progress)
        self.found(Saved(plan, self.state.evaluation, result, Path(written)))
        return written

    def export(self, path: str | Path, *, force: bool = False, progress: Progress = silent) -> ExportReport:
        """Export `result` in the form that the file's suffix says (`saving.exporting`). Raises `UsageError` for another
        one, `TuiPruneError` where it can't be exported; an existing file needs `force`."""
        from tui_prune.saving.checkpoint import compose
        from tui_prune.saving.exporting.export import export_network

        result, opened = self.result(part(progress, 0.0, 0.3)), self.state.planning.networks.opened
        network = result.model
        if device_of(network).type != "cpu":
            network = copy.deepcopy(network).cpu()
        return export_network(
            compose(Path(path), result),
            network,
            path,
            force=force,
            uncut=lambda: opened.module,
            progress=part(progress, 0.3, 1.0),
        )

    # Evaluating

    def baseline(self, progress: Progress = silent) -> float:
        """What the task says of the network as it was opened. Raises `TuiPruneError` without a task, or when it
        fails."""
        return self.state.evaluation.baseline(self.state.reporting, progress)

    def evaluate(self, progress: Progress = silent) -> Accuracy:
        """What the task says of the original, of the cut network, and of the recovered one if there is any.

        Raises `TuiPruneError` without a task, or when the task fails.
        """
        task, plan, recovered = self.task, self.plan, self.state.recovered
        before = self.baseline(part(progress, 0.0, 0.3))
        if not plan.cuts and recovered is None:
            return Accuracy(before, None)
        progress("evaluate", 0.3)
        result = self.cut_of(plan, part(progress, 0.3, 0.4))
        after = task.score(result.model, part(progress, 0.4, 0.7))
        again = None if recovered is None else task.score(recovered.model, part(progress, 0.7, 1.0))
        accuracy = Accuracy(before, after, again)
        self._evaluated(result.plan, accuracy)
        progress("evaluate", 1.0)
        return accuracy

    def evaluate_plans(self, recipes: Sequence[Recipe], progress: Progress = silent) -> None:
        """Evaluate the networks of recipes by the task, those that weren't before. What `progress` stops keeps what it
        has found so far.

        Raises `TuiPruneError` without a task, or when it or a cut fails.
        """
        task = self.task
        baseline = self.baseline(part(progress, 0.0, 0.1))
        for number, recipe in enumerate(recipes):
            step = part(progress, 0.1 + 0.9 * number / len(recipes), 0.1 + 0.9 * (number + 1) / len(recipes))
            if self.state.figures(recipe).accuracy is not None:
                continue
            plan = self.state.plan_of(recipe)
            if not plan.cuts:
                self._compared(plan, accuracy=baseline, cost=plan.after)
                continue
            result = self._cut_aside(plan, part(step, 0.0, 0.4))
            score = task.score(result.model, part(step, 0.4, 1.0))
            self._compared(plan, accuracy=score, cost=result.plan.after)

    def time_plans(self, recipes: Sequence[Recipe], progress: Progress = silent) -> None:
        """Measure the latency of the networks of recipes on this device, those that weren't before, each in turn with
        the uncut network; or look it up in the latency table. What `progress` stops keeps what it has found so far.

        Raises `TuiPruneError` when a cut fails.
        """
        planning = self.state.planning
        subject = planning.networks.subject
        for number, recipe in enumerate(recipes):
            step = part(progress, number / len(recipes), (number + 1) / len(recipes))
            if self.state.figures(recipe).latency is not None:
                continue
            plan, models, cost = self.state.plan_of(recipe), [subject.model], None
            if planning.networks.latency_table is not None:
                uncut, seconds = planning.latencies(plan)
                self._compared(plan, latency=seconds, uncut_latency=uncut, cost=plan.after)
                continue
            if plan.cuts:
                result = self._cut_aside(plan, part(step, 0.0, 0.5))
                models.append(result.model)
                cost = result.plan.after
            both = measure(models, *subject.arguments, part(step, 0.5, 1.0))
            latencies = {"latency": both[-1].latency, "uncut_latency": both[0].latency}
            self._compared(plan, **latencies, cost=cost or plan.after)

    def latency_work(self, engine: str, progress: Progress = silent) -> dict[str, Any]:
        """What has to be measured on a device to plan for it (`cost.on_target`). Raises `UsageError` for an engine that
        isn't known, or whose packages are missing."""
        planning, graph = self.state.planning, self.plan.graph
        networks, cuts = planning.networks, planning.of(graph).even_cuts(graph)
        return work_for(networks.opened.title, graph, networks.subject.arguments, cuts, engine, progress)

    def latency_report(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """What the network and its layers take by what was measured of `latency_work`: the object of `latency
        --json`."""
        graph = self.plan.graph
        return report_of(table, graph, self.state.planning.of(graph).even_cuts(graph))

    def measure_activations(self, progress: Progress = silent) -> None:
        """Run the task's calibration data through the opened network once, for `Session.look` to show what layers put
        out.

        Raises `UsageError` when there is none, `TuiPruneError` when the task's own code or the network fails.
        """
        if self.state.activations is None:
            evaluation = self.state.evaluation
            found = measure_activations(self.plan.graph, evaluation.task, progress)
            self.found(ActivationsMeasured(self.plan, evaluation, found))

    def _cut_aside(self, plan: Plan, progress: Progress) -> Result:
        """The verified cut of a plan, without letting go of that of the present one."""
        return self.cut_of(plan, progress, remembering=plan is self.plan)

    def _compared(self, plan: Plan, **figures: Any) -> None:
        self._read_what_figures_depend_on()
        self.found(Compared(plan, self.state.evaluation, plan.recipe, figures))

    def _evaluated(self, plan: Plan, accuracy: Accuracy) -> None:
        self._read_what_figures_depend_on()
        self.found(Evaluated(plan, self.state.evaluation, accuracy))

    def _read_what_figures_depend_on(self) -> None:
        """Now and here, since it may take a while, and is asked for on the event loop later."""
        _ = self.state.evaluation.made_from

    # Recovering

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
        task = self.task
        elsewhere = self.elsewhere(procs, training) if finetune else None
        base = self._recovered_or_cut(part(progress, 0.0, 0.1))
        known, measured = base.report.accuracy, self.state.measured
        if known is None and measured is not None and measured[0] is base.plan:
            known = measured[1]
        if known is None and task.evaluate is not None:
            known = Accuracy(self.baseline(part(progress, 0.1, 0.2)), None)
        with self.recovering():
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
                    so_far=self._keep_recovered,
                    elsewhere=elsewhere,
                )
                if result.model is not base.model:
                    result = self.hold(result)
                elif result.report.accuracy is not None:
                    self._evaluated(result.plan, result.report.accuracy)
            finally:
                held = self.state.recoveries.of(base.plan)
                if held is not None:
                    self._keep(held)  # in place of what was on its way
        return result

    def elsewhere(self, procs: int, training: Training | None = None) -> Launch | None:
        """What fine-tunes this session's networks in so many processes; None for one, which is this one. Raises
        `UsageError` for a number that can't be."""
        if procs == 1:
            return None
        module, task = self.state.planning.networks.opened.module, self.state.evaluation.needed
        return Launch(Ranks(procs, device_of(module).type), task, training, module, self.request)

    def take_recovered(self, result: Result) -> None:
        """Hold a network that was recovered elsewhere, of the present plan, as if it had been here."""
        self._keep(self.hold(result))

    def take_up(self, checkpoint: Checkpoint, progress: Progress = silent) -> Result:
        """Hold a recovered network of another session again: cut anew by its recipe, with its weights. What the task
        said of it holds where that is the same.

        Raises `TuiPruneError`, in words that follow "they can't be taken up: ", and changes nothing, where the uncut
        weights or the cut aren't the same any more, or what is in the checkpoint isn't right.
        """
        networks, made_from = self.state.planning.networks, self.state.evaluation.made_from
        if not networks.weights_digest or checkpoint.made_from.get("weights") != networks.weights_digest:
            raise TuiPruneError(f"the weights of {networks.opened.title} aren't those that they were made from.")
        recipe = Recipe.from_dict(checkpoint.recipe)
        self.prepare(recipe, part(progress, 0.0, 0.3))
        result = lay_in(self._cut_aside(self.state.plan_of(recipe), part(progress, 0.3, 1.0)), checkpoint)
        if not made_from["task"] or checkpoint.made_from.get("task") != made_from["task"]:
            result = replace(result, report=replace(result.report, accuracy=None))
        return self.hold(result)

    def recognise(self, checkpoint: Checkpoint) -> None:
        """Take note that the present recovered network is saved, if a checkpoint of the user's holds the same."""
        found = self.state.recovered
        if found is not None:
            known = self.state.recoveries.recognising(found, checkpoint)
            self.found(Recognised(self.plan, self.state.evaluation, known))

    def hold(self, result: Result) -> Result:
        """Hand out a recovered network, with a note where another one has to go for it."""
        self._read_what_figures_depend_on()
        result = self.state.recoveries.noted(result)
        self.found(Recovered(result.plan, self.state.evaluation, result))
        return result

    def _keep(self, result: Result) -> None:
        if self._keep_recovered is not None:
            self._keep_recovered(result)
