"""What a session does by its task: evaluating, scanning, suggesting a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.recover import FINE_TUNED, recover
from tui_prune.result import Accuracy, Result
from tui_prune.search.curves import ErrorCurves
from tui_prune.search.goal import Goal
from tui_prune.search.scan_cache import ScanCache, cache_file
from tui_prune.search.sensitivity import RATIOS, Scanner, Sensitivity, recalibrates, scan
from tui_prune.search.suggest import criteria_by_curves, criteria_to_try, suggest, suggest_by_curves
from tui_prune.search.sweep import Sweep, SweptPoint, point_of, with_trade_off
from tui_prune.session.plans import Plans
from tui_prune.session.remote import remote_scanner, remote_session
from tui_prune.surgery.fit import Subject
from tui_prune.tasks.evidence import Half, Score
from tui_prune.tasks.task import Task
from tui_prune.workers import Backend, Outcome, Setup


def _worth(result: Result) -> float:
    """What the task says of a recovered network, or of a cut one that isn't recovered; below all else where it says
    nothing."""
    accuracy = result.report.accuracy
    if accuracy is None:
        return -inf
    known = accuracy.after if accuracy.recovered is None else accuracy.recovered
    return -inf if known is None else known


class TaskWork:
    """The half of a session that works by its task. Each method works on the plan that it finds when it starts."""

    opened: OpenedModel
    request: OpenRequest | None = None
    """How the network and the task can be opened again, in another process; None where they are objects."""
    task: Task | None
    _subject: Subject
    _plan: Plan
    _baseline_score: float | None = None
    """On all examples."""
    _chosen: bool = False
    """Whether something was chosen by half of the task's examples, so that only the others tell what it is worth."""
    _measured: tuple[Plan, Accuracy] | None = None
    _plans: Plans
    _activations: Mapping[str, Any] | None
    _caches: dict[tuple[Graph, Path | None, bool, bool], ScanCache]

    def _cut(self, plan: Plan, progress: Progress, *, remembering: bool = True) -> Result:
        """The verified cut of a plan; with `remembering` it needn't be cut again while that is the latest."""
        raise NotImplementedError

    def _plan_for(self, graph: Graph, recipe: Recipe) -> Plan:
        """The plan of a recipe on one of the session's graphs."""
        raise NotImplementedError

    def set_task(self, task: Task | None) -> None:
        """Work by this task from now on. What another one has measured is forgotten; what was recovered by it stays.

        Where the recipe's criterion needs calibration data, `prepare` runs that of the new task.
        """
        self._baseline_score = self._measured = self._activations = None
        self._chosen = False
        self._caches = {}
        self.task = None if task is None else task.for_network(self.opened)
        self._plans.use(self.task)

    @property
    def recovered(self) -> Result | None:
        """The recovered network of the present plan."""
        raise NotImplementedError

    def result(self, progress: Progress = silent) -> Result:
        """What `save` writes: the recovered network if there is one, else the cut one; with the accuracy if known."""
        result, measured = self._recovered_or_cut(progress), self._measured
        if result.report.accuracy is None and measured is not None and measured[0] is result.plan:
            return replace(result, report=replace(result.report, accuracy=measured[1]))
        return result

    def _recovered_or_cut(self, progress: Progress) -> Result:
        """Where the cut finds out that a layer has to stay, the plan is another one then, which may be recovered."""
        if self.recovered is not None:
            return self.recovered
        cut = self._cut(self._plan, progress)
        return self._held(cut.plan) or cut

    def evaluate(self, progress: Progress = silent) -> Accuracy:
        """What the task says of the original, of the cut network, and of the recovered one if there is any.

        Raises `TuiPruneError` without a task, or when the task fails.
        """
        task, plan, recovered = self._reporting_task(), self._plan, self.recovered
        before = self._baseline(part(progress, 0.0, 0.3))
        if not plan.cuts and recovered is None:
            return Accuracy(before, None)
        progress("evaluate", 0.3)
        result = self._cut(plan, part(progress, 0.3, 0.4))
        after = task.score(result.model, part(progress, 0.4, 0.7))
        again = None if recovered is None else task.score(recovered.model, part(progress, 0.7, 1.0))
        accuracy = Accuracy(before, after, again)
        self._note(result.plan, accuracy)
        progress("evaluate", 1.0)
        return accuracy

    def sensitivity(
        self,
        progress: Progress = silent,
        *,
        ratios: Sequence[float] = RATIOS,
        shown: Callable[[Sensitivity], object] | None = None,
        backend: Backend | None = None,
    ) -> Sensitivity:
        """Evaluate the network with each group cut alone at each ratio (`search.sensitivity.scan`).

        What was measured is kept in the user's state folder, under the weights and the task's file: a scan that was
        stopped goes on where it was. `shown` sees what is known after each point. With a `backend`
        (`workers.backend_for`) its workers measure; each opens the network itself.

        Raises `TuiPruneError` without a task, or when the task fails; `UsageError` for wrong ratios.
        """
        return self._scanned(self._scanner(), self._plan.recipe, progress, ratios, shown, backend)

    def sweep(
        self,
        recipes: Sequence[Recipe],
        progress: Progress = silent,
        *,
        shown: Callable[[Sweep], object] | None = None,
        backend: Backend | None = None,
    ) -> Sweep:
        """Cut by each recipe, recalibrate batch norm where the task has calibration data, and evaluate.

        What was measured is kept and shared as in `sensitivity`. A recipe that can't be carried out is a point with its
        reason. `shown` sees what is known after each point.

        Raises `TuiPruneError` without a task, or when it fails; `UsageError` where workers can't open the network.
        """
        baseline = self._baseline(part(progress, 0.0, 0.0))
        points: list[SweptPoint | None] = [None] * len(recipes)
        told = nullcontext(()) if backend is None else remote_session(self, self._plan.graph, recipes[0])
        with told as arguments:
            work = Setup("tui_prune.session.remote", "sweeper", (*arguments,))
            given = [recipe.to_dict() for recipe in recipes]
            outcomes = self._swept_here(given, progress) if backend is None else backend.outcomes(work, given, progress)
            for outcome in outcomes:
                points[outcome.number] = point_of(recipes[outcome.number], outcome.value)
                if shown is not None:
                    shown(Sweep(baseline, tuple(point for point in points if point is not None)))
        return with_trade_off(Sweep(baseline, tuple(point for point in points if point is not None)))

    def _swept_here(self, recipes: Sequence[Mapping[str, Any]], progress: Progress) -> Iterator[Outcome]:
        for number, recipe in enumerate(recipes):
            here = part(progress, number / len(recipes), (number + 1) / len(recipes))
            yield Outcome(number, self.swept(Recipe.from_dict(recipe), here))

    def swept(self, recipe: Recipe, progress: Progress) -> dict[str, Any]:
        """What becomes of the network by one recipe of a sweep: the fields of a `SweptPoint`."""
        try:
            plan = self._make_plan(recipe)
        except TuiPruneError as error:
            return {"failure": str(error)}
        left = {
            "macs": plan.after.macs / plan.before.macs if plan.before.macs else None,
            "params": plan.after.params / plan.before.params,
        }
        measured = self._scanner(plan.graph).measure(plan, plan.keep, progress)
        if measured is None:
            return {"failure": "its code can't be cut so"}
        return {**left, "score": float(measured[0])}

    def _make_plan(self, recipe: Recipe) -> Plan:
        """The plan of a recipe on the graph that suits it."""
        raise NotImplementedError

    def error_curves(self, progress: Progress = silent) -> ErrorCurves:
        """How wrong the network gets as each group is cut alone, at every width, by one pass over calibration data:
        nothing is cut, and nothing evaluated.

        Raises `UsageError` where there is no calibration data, `TuiPruneError` when the task's code fails.
        """
        return self._plans.error_curves(self._plan.graph, self._plan.recipe, progress)

    def suggest(
        self,
        progress: Progress = silent,
        *,
        target_macs: float | None = None,
        target_params: float | None = None,
        criteria: Sequence[str] | None = None,
        finalists: int = 1,
        thorough: bool = False,
        ratios: Sequence[float] = RATIOS,
        shown: Callable[[Sensitivity], object] | None = None,
    ) -> Recipe:
        """A recipe with which the network needs at most these shares of its MACs or parameters, each layer cut by what
        it can bear (`search.suggest`); `apply` chooses it.

        Where the task has calibration data, error curves say what that is (`error_curves`), and `evaluate`, if there is
        one, is asked of a few networks only, once their layers are refitted. With `thorough`, with several finalists or
        without calibration data many networks are evaluated: it scans, unless that was done before, and `shown` sees
        what the scan knows after each point.

        `criteria` are those to choose from; None: the recipe's own if somebody has chosen it, that is if it isn't the
        default, and all that can be had otherwise.

        More than one of `finalists` are recovered by the task's own loop, each from its cut on, and compared by what
        they are worth then. The best one's network is `recovered` as soon as the recipe is applied.

        Where the task tells its examples apart (`Score`), one half of them chooses, and from then on `evaluate` and
        `recover` tell what the other half says: what was chosen by examples looks better on these than on any others.

        Raises `UsageError` where the target can't be met, or the task has no loop for finalists; `TuiPruneError`
        without a task, or when the task fails.
        """
        if finalists < 1:
            raise UsageError(f"Suggestions need one finalist at least; {finalists} are asked for.")
        if finalists > 1 and not self._needed_task().tunable:
            raise UsageError(f"{self._needed_task().name} has no function finetune(model, progress) for the finalists.")
        shares = {"macs": target_macs, "params": target_params}
        goal = Goal({name: share for name, share in shares.items() if share is not None})
        task, recipe = self._needed_task(), self._plan.recipe
        if task.calibration is not None and not thorough and finalists == 1:
            found = self._suggested_by_curves(goal, criteria, progress)
            self._report_by_the_others()
            return found
        scanner = self._scanner(choosing=True)
        tuned: list[Result] = []

        def worth(plan: Plan, progress: Progress) -> float:
            try:
                return self._tuned(plan, tuned, progress)
            except Cancelled:
                self._take_best(tuned)
                raise

        found = suggest(
            scanner.graph,
            recipe,
            self._plan_for,
            goal,
            criteria=criteria_to_try(recipe, self.task) if criteria is None else criteria,
            baseline=self._choosing_baseline(part(progress, 0.0, 0.0)),
            scanning=lambda recipe, progress: self._scanned(scanner, recipe, progress, ratios, shown, choosing=True),
            measure=lambda plan, progress: scanner.measure(plan, plan.keep, progress),
            finalists=finalists,
            tuning=worth,
            progress=progress,
        )
        self._report_by_the_others()
        best = [self._told_anew(one) for one in tuned if one.plan.recipe == found]
        self._take_best(best)
        return found

    def _report_by_the_others(self) -> None:
        """From now on, let the examples report that haven't chosen."""
        if isinstance(self._baseline_score, Score) and not self._chosen:
            self._chosen, self._measured = True, None

    def _told_anew(self, result: Result) -> Result:
        """A finalist with what the examples say of it that haven't chosen it."""
        known = result.report.accuracy
        if not self._chosen or known is None or known.recovered is None:
            return result
        task = self._reporting_task()
        cut = self._cut(result.plan, silent, remembering=False)
        accuracy = Accuracy(self._baseline(silent), task.score(cut.model), task.score(result.model))
        return replace(result, report=replace(result.report, accuracy=accuracy))

    def _suggested_by_curves(self, goal: Goal, criteria: Sequence[str] | None, progress: Progress) -> Recipe:
        """The recipe that error curves lead to."""
        task, recipe, graph = self._needed_task(), self._plan.recipe, self._plan.graph
        scanner = None
        if task.evaluate is not None:
            scanner = self._scanner(reconstructing=True, choosing=True)
            self._baseline(part(progress, 0.0, 0.0))
        return suggest_by_curves(
            graph,
            recipe,
            self._plan_for,
            goal,
            criteria=criteria_by_curves(recipe) if criteria is None else criteria,
            curves=lambda own, progress: self._plans.error_curves(graph, own, progress),
            measure=None if scanner is None else lambda plan, progress: scanner.measure(plan, plan.keep, progress),
            progress=progress,
        )

    def _tuned(self, plan: Plan, tuned: list[Result], progress: Progress) -> float:
        """What a plan's network is worth once it is recovered, which is added to `tuned`; one that is held fine-tuned
        isn't trained anew. Where the loop fails with it, it is worth what its cut is."""
        task = self._needed_task().half(Half.CHOOSING)
        cut = self._cut(plan, part(progress, 0.0, 0.1), remembering=False)
        held = self._held(cut.plan)
        if held is not None and FINE_TUNED in held.report.recovered and held.report.accuracy is not None:
            tuned.append(held)
            return _worth(held)
        try:
            result = recover(
                cut,
                task,
                recalibrating=task.calibration is not None,
                tuning=True,
                accuracy=Accuracy(self._choosing_baseline(silent), None),
                progress=part(progress, 0.1, 1.0),
            )
        except Cancelled:
            raise
        except TuiPruneError:
            return task.score(cut.model, lambda stage, _: progress(stage, 1.0))
        progress("suggest", 1.0)  # a fine-tuning that is stopped raises nothing, the suggestion is to stop then, too
        tuned.append(result)
        return _worth(result)

    def _take_best(self, tuned: Sequence[Result]) -> None:
        """Hold the best of some recovered networks, and have it kept, unless one as good of its plan is held."""
        recovered = [one for one in tuned if one.report.recovered]
        best = max(recovered, key=_worth, default=None)
        if best is None:
            return
        held = self._held(best.plan)
        if held is None or (held.report.accuracy is not None and _worth(held) < _worth(best)):
            self._take_recovered(best)

    def _held(self, plan: Plan) -> Result | None:
        """The recovered network of a plan, if there is one."""
        raise NotImplementedError

    def _take_recovered(self, result: Result) -> None:
        """Hold a recovered network, and have it kept."""
        raise NotImplementedError

    def expected(self, recipe: Recipe) -> Accuracy | None:
        """What scanning and suggesting have measured of a recipe: `recovered` where they refitted the layers of the cut
        network or recalibrated it first, as they do wherever they can, else `after`. None: nothing."""
        if self.task is None or self._baseline_score is None:
            return None
        keep = self._plan_for(self._plan.graph, recipe).keep
        for reconstructing, choosing in ((True, True), (False, True), (False, False)):
            scanner = self._scanner(reconstructing=reconstructing, choosing=choosing)
            baseline = self._choosing_baseline(silent) if choosing else self._baseline_score
            score = scanner.known(keep)
            if score is not None and scanner.recovering:
                return Accuracy(baseline, None, score)
            if score is not None:
                return Accuracy(baseline, score)
        return None

    def _note(self, plan: Plan, accuracy: Accuracy) -> None:
        """Remember what was measured of a plan."""
        self._measured = plan, accuracy

    def _needed_task(self) -> Task:
        if self.task is None:
            raise TuiPruneError(
                "There is no task to evaluate by: open the network with --task FILE.py, or with --task images:DIR."
            )
        return self.task

    def _baseline(self, progress: Progress) -> float:
        """What the task says of the network as it was opened."""
        if self._baseline_score is None:
            progress("evaluate", 0.0)
            self._baseline_score = self._needed_task().score(self.opened.module, progress)
        return self._reported(self._baseline_score)

    def _reported(self, score: float) -> float:
        """Of a score on all examples, that on those that report."""
        return score.half(Half.REPORTING) if self._chosen and isinstance(score, Score) else score

    def _choosing_baseline(self, progress: Progress) -> float:
        """The same by the examples that choose."""
        self._baseline(progress)
        score = self._baseline_score
        assert score is not None
        return score.half(Half.CHOOSING) if isinstance(score, Score) else score

    def _reporting_task(self) -> Task:
        """The task, of which only the examples count that haven't chosen anything."""
        task = self._needed_task()
        return task.half(Half.REPORTING) if self._chosen else task

    def baseline(self, progress: Progress = silent) -> float:
        """What the task says of the network as it was opened. Raises `TuiPruneError` without a task, or when it
        fails."""
        return self._baseline(progress)

    def _scanner(self, graph: Graph | None = None, *, reconstructing: bool = False, choosing: bool = False) -> Scanner:
        """What measures cuts of the present plan's graph, or of another one of the same network. `choosing`: by the
        examples that choose, not by all."""
        task, graph = self._needed_task(), self._plan.graph if graph is None else graph
        settings = {"recalibrated": recalibrates(self.opened.module, task)}
        if reconstructing:
            settings = {"reconstructed": task.calibration is not None}
        if choosing:
            settings["choosing"] = True
        file = cache_file(self.opened, graph, task, settings)
        key = graph, file, reconstructing, choosing
        if key not in self._caches:
            self._caches[key] = ScanCache(file)
        task = task.half(Half.CHOOSING) if choosing else task
        return Scanner(self._subject, graph, task, self._caches[key], reconstructing=reconstructing)

    def _scanned(
        self,
        scanner: Scanner,
        recipe: Recipe,
        progress: Progress,
        ratios: Sequence[float],
        shown: Callable[[Sensitivity], object] | None,
        backend: Backend | None = None,
        *,
        choosing: bool = False,
    ) -> Sensitivity:
        own = self._choosing_baseline if choosing else self._baseline
        baseline = own(part(progress, 0.0, 0.0))
        last: Sensitivity | None = None
        with nullcontext() if backend is None else remote_scanner(self, scanner.graph, recipe) as setup:
            for last in scan(
                scanner,
                recipe,
                self._plan_for,
                ratios=ratios,
                baseline=baseline,
                backend=backend,
                setup=setup,
                progress=progress,
            ):
                if shown is not None:
                    shown(last)
        assert last is not None, "a scan gives what is known at least once"
        return last
