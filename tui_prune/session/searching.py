"""What layers can bear, and recipes that follow from it: scans, sweeps, error curves and suggestions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from typing import Any

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.recover import FINE_TUNED, recover
from tui_prune.result import Accuracy, Result
from tui_prune.saving.kept_weights import lay_in
from tui_prune.search.allocation import Goal
from tui_prune.search.curves import ErrorCurves, uncut
from tui_prune.search.sensitivity import RATIOS, Scanner, Sensitivity, scan
from tui_prune.search.suggest import criteria_by_curves, criteria_to_try, suggest, suggest_by_curves
from tui_prune.search.sweep import Sweep, SweptPoint, point_of, with_trade_off
from tui_prune.session.evaluation import Evaluation
from tui_prune.session.plans import Planning
from tui_prune.session.remote import remote_scanner, remote_session, unpacked
from tui_prune.session.state import Chosen, Tried
from tui_prune.session.trade_off import Kind, Trial
from tui_prune.session.work import Work
from tui_prune.tasks.evidence import Half, Score
from tui_prune.workers import Backend, Outcome, Setup

Measure = Callable[[Plan, Progress], "tuple[float, float] | None"]


class Search:
    """Work that looks for recipes by the task. It cuts, and hands out what it finds, by the `Work` that it is given."""

    def __init__(self, work: Work) -> None:
        self.work = work

    @property
    def _plan(self) -> Plan:
        return self.work.plan

    @property
    def _evaluation(self) -> Evaluation:
        return self.work.state.evaluation

    @property
    def _planning(self) -> Planning:
        return self.work.state.planning

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
        scanner = self._evaluation.scanner(self._plan.graph)
        return self._scanned(scanner, self._plan.recipe, self.work.state.reporting, progress, ratios, shown, backend)

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
        baseline = self.work.baseline(part(progress, 0.0, 0.0))
        points: list[SweptPoint | None] = [None] * len(recipes)
        told = (
            nullcontext(())
            if backend is None
            else remote_session(self.work.request, self._evaluation, self._plan.graph, recipes[0])
        )
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
            plan = self._planning.make(recipe)
        except TuiPruneError as error:
            return {"failure": str(error)}
        left = {
            "macs": plan.after.macs / plan.before.macs if plan.before.macs else None,
            "params": plan.after.params / plan.before.params,
        }
        measured = self._evaluation.scanner(plan.graph).measure(plan, plan.keep, progress)
        if measured is None:
            return {"failure": "its code can't be cut so"}
        return {**left, "score": float(measured[0])}

    def error_curves(self, progress: Progress = silent) -> ErrorCurves:
        """How wrong the network gets as each group is cut alone, at every width, by one pass over calibration data:
        nothing is cut, and nothing evaluated.

        Raises `UsageError` where there is no calibration data, `TuiPruneError` when the task's code fails.
        """
        return self._planning.of(self._plan.graph).error_curves(self._plan.graph, self._plan.recipe, progress)

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
        backend: Backend | None = None,
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

        With a `backend` its workers scan, evaluate what is compared, and fine-tune the finalists.

        Raises `UsageError` where the target can't be met, the task has no loop for finalists, or workers can't open the
        network; `TuiPruneError` without a task, or when the task fails.
        """
        task = self._evaluation.needed
        if finalists < 1:
            raise UsageError(f"Suggestions need one finalist at least; {finalists} are asked for.")
        if finalists > 1 and not task.tunable:
            raise UsageError(f"{task.name} has no function finetune(model, progress) for the finalists.")
        shares = {"macs": target_macs, "params": target_params}
        goal = Goal({name: share for name, share in shares.items() if share is not None})
        if task.calibration is not None and not thorough and finalists == 1:
            found = self._suggested_by_curves(goal, criteria, backend, progress)
            self._let_the_others_report()
            return found
        with self.work.recovering():
            return self._suggested_by_a_scan(goal, criteria, finalists, ratios, shown, backend, progress)

    def expected(self, recipe: Recipe) -> Accuracy | None:
        """What scanning and suggesting have measured of a recipe: `recovered` where they refitted the layers of the cut
        network or recalibrated it first, as they do wherever they can, else `after`. None: nothing."""
        evaluation, graph = self._evaluation, self._plan.graph
        if evaluation.task is None or evaluation.known_baseline() is None:
            return None
        keep = self._planning.on(graph, recipe).keep
        for reconstructing, choosing in ((True, True), (False, True), (False, False)):
            scanner = evaluation.scanner(graph, reconstructing=reconstructing, choosing=choosing)
            baseline = evaluation.baseline(Half.CHOOSING if choosing else None)
            score = scanner.known(keep)
            if score is not None and scanner.recovering:
                return Accuracy(baseline, None, score)
            if score is not None:
                return Accuracy(baseline, score)
        return None

    def _measuring(
        self, scanner: Scanner, backend: Backend | None, *, reconstructing: bool = False
    ) -> Callable[[Sequence[Plan], Progress], object] | None:
        """What lets workers measure several networks, so that the scanner knows them, by the examples that choose; None
        without workers."""
        if backend is None:
            return None

        def measure(plans: Sequence[Plan], progress: Progress) -> None:
            fresh = [plan.keep for plan in plans if scanner.known(plan.keep) is None]
            if len(fresh) < 2:  # starting workers takes longer
                return
            request, evaluation = self.work.request, self._evaluation
            with remote_scanner(
                request, evaluation, scanner.graph, self._plan.recipe, choosing=True, reconstructing=reconstructing
            ) as setup:
                for _ in scanner.measure_by(backend, setup, fresh, progress):
                    pass

        return measure

    def measure_live(self, plan: Plan, progress: Progress = silent) -> None:
        """Measure what a plan's network is worth once its layers are refitted. The figure is kept for the trade-off,
        the network isn't. Nothing where its code can't be cut so.

        Raises `TuiPruneError` without a task, or when it has no calibration data or fails.
        """
        evaluation, half = self._evaluation, self.work.state.reporting
        evaluation.baseline(None, part(progress, 0.0, 0.2))
        scanner = evaluation.live_scanner(plan.graph)
        measured = scanner.measure(plan, plan.keep, part(progress, 0.2, 1.0))
        if measured is None:
            return
        score = measured[0]
        if half is not None:
            if not isinstance(score, Score):  # of all examples, which can't be compared with half of them
                return
            score = score.half(half)
        self._tried(plan, score, "live", recovered=scanner.recovering)

    def _suggested_by_curves(
        self, goal: Goal, criteria: Sequence[str] | None, backend: Backend | None, progress: Progress
    ) -> Recipe:
        """The recipe that error curves lead to."""
        evaluation, planning = self._evaluation, self._planning
        recipe, graph = self._plan.recipe, self._plan.graph
        scanner = None
        if evaluation.needed.evaluate is not None:
            scanner = evaluation.scanner(graph, reconstructing=True, choosing=True)
            evaluation.baseline(None, part(progress, 0.0, 0.0))
        return suggest_by_curves(
            graph,
            recipe,
            planning.on,
            goal,
            criteria=criteria_by_curves(recipe) if criteria is None else criteria,
            curves=lambda own, progress: planning.of(graph).error_curves(graph, own, progress),
            measure=None if scanner is None else self._candidates(scanner, recovered=True),
            ahead=None if scanner is None else self._measuring(scanner, backend, reconstructing=True),
            progress=progress,
        )

    def _suggested_by_a_scan(
        self,
        goal: Goal,
        criteria: Sequence[str] | None,
        finalists: int,
        ratios: Sequence[float],
        shown: Callable[[Sensitivity], object] | None,
        backend: Backend | None,
        progress: Progress,
    ) -> Recipe:
        """The recipe that a scan leads to, whose finalists are fine-tuned where there are several."""
        evaluation, recipe = self._evaluation, self._plan.recipe
        scanner = evaluation.scanner(self._plan.graph, choosing=True)
        tuned: list[Result] = []

        def worth(plans: Sequence[Plan], progress: Progress) -> list[float]:
            scores = [-inf] * len(plans)
            try:
                for number, score, result in self._all_tuned(plans, backend, progress):
                    scores[number] = score
                    tuned.extend([] if result is None else [result])
                    self._tried(plans[number], score, "finalist", recovered=True)
            except Cancelled:
                self._take_best(tuned)
                raise
            return scores

        found = suggest(
            scanner.graph,
            recipe,
            self._planning.on,
            goal,
            criteria=criteria_to_try(recipe, evaluation.task) if criteria is None else criteria,
            baseline=evaluation.baseline(Half.CHOOSING, part(progress, 0.0, 0.0)),
            scanning=lambda recipe, progress: self._scanned(
                scanner, recipe, Half.CHOOSING, progress, ratios, shown, backend
            ),
            measure=self._candidates(scanner, recovered=scanner.recalibrating),
            ahead=self._measuring(scanner, backend),
            finalists=finalists,
            tuning=worth,
            progress=progress,
        )
        self._let_the_others_report()
        self._take_best([self._told_anew(one) for one in tuned if one.plan.recipe == found])
        return found

    def _candidates(self, scanner: Scanner, *, recovered: bool) -> Measure:
        """What measures the candidates of a suggestion, and takes them among the trials."""

        def measure(plan: Plan, progress: Progress) -> tuple[float, float] | None:
            measured = scanner.measure(plan, plan.keep, progress)
            if measured is not None:
                self._tried(plan, measured[0], "candidate", recovered=recovered)
            return measured

        return measure

    def _take_points(self, scanner: Scanner, found: Sensitivity, recipe: Recipe) -> None:
        """Take the points of a scan among the trials, each as the recipe that cuts that layer alone."""
        new: list[Trial] = []
        for curve in found.curves:
            for point in curve.points:
                alone = uncut(recipe).changed(layers={curve.layer: point.ratio})
                if (alone, "scan") not in self.work.state.trials:
                    cost = self._planning.on(scanner.graph, alone).after
                    new.append(Trial(alone, cost, point.score, "scan", recovered=found.recalibrated))
        if new:
            self.work.found(Tried(self._plan, self._evaluation, tuple(new)))

    def _tried(self, plan: Plan, score: float, kind: Kind, *, recovered: bool) -> None:
        trial = Trial(plan.recipe, plan.after, score, kind, recovered=recovered)
        self.work.found(Tried(plan, self._evaluation, (trial,)))

    def _let_the_others_report(self) -> None:
        """From now on, let the examples report that haven't chosen."""
        if self._evaluation.tells_examples_apart and self.work.state.reporting is None:
            self.work.found(Chosen(self._plan, self._evaluation))

    def _told_anew(self, result: Result) -> Result:
        """A finalist with what the examples say of it that haven't chosen it."""
        known = result.report.accuracy
        if self.work.state.reporting is None or known is None or known.recovered is None:
            return result
        task = self.work.task
        cut = self.work.cut_of(result.plan, remembering=False)
        accuracy = Accuracy(self.work.baseline(), task.score(cut.model), task.score(result.model))
        return replace(result, report=replace(result.report, accuracy=accuracy))

    def _all_tuned(
        self, plans: Sequence[Plan], backend: Backend | None, progress: Progress
    ) -> Iterator[tuple[int, float, Result | None]]:
        """`tuned` for several plans, each with its place."""
        if backend is not None:
            yield from self._tuned_by(backend, plans, progress)
            return
        for number, plan in enumerate(plans):
            here = part(progress, number / len(plans), (number + 1) / len(plans))
            yield number, *self.tuned(plan, here)

    def _tuned_by(
        self, backend: Backend, plans: Sequence[Plan], progress: Progress
    ) -> Iterator[tuple[int, float, Result | None]]:
        """The same by workers, which give the weights: each network is cut and proved here, too."""
        recipe = plans[0].recipe
        with remote_session(self.work.request, self._evaluation, self._plan.graph, recipe) as told:
            setup = Setup("tui_prune.session.remote", "finalist", told)
            for outcome in backend.outcomes(setup, [plan.recipe.to_dict() for plan in plans], progress):
                score, packed = outcome.value
                result = None
                if packed is not None:
                    cut = self.work.cut_of(plans[outcome.number], remembering=False)
                    result = lay_in(cut, unpacked(packed))
                yield outcome.number, score, result

    def tuned(self, plan: Plan, progress: Progress) -> tuple[float, Result | None]:
        """What a plan's network is worth once it is recovered, and that network; one that is held fine-tuned isn't
        trained anew. Where the loop fails with it, it is worth what its cut is."""
        task = self._evaluation.by(Half.CHOOSING)
        cut = self.work.cut_of(plan, part(progress, 0.0, 0.1), remembering=False)
        held = self.work.state.recoveries.of(cut.plan)
        if held is not None and FINE_TUNED in held.report.recovered and held.report.accuracy is not None:
            return _worth(held), held
        try:
            result = recover(
                cut,
                task,
                recalibrating=task.calibration is not None,
                tuning=True,
                accuracy=Accuracy(self._evaluation.baseline(Half.CHOOSING), None),
                progress=part(progress, 0.1, 1.0),
            )
        except Cancelled:
            raise
        except TuiPruneError:
            return task.score(cut.model, lambda stage, _: progress(stage, 1.0)), None
        progress("suggest", 1.0)  # a fine-tuning that is stopped raises nothing, the suggestion is to stop then, too
        return _worth(result), result

    def _take_best(self, tuned: Sequence[Result]) -> None:
        """Hold the best of some recovered networks, and have it kept, unless one as good of its plan is held."""
        recovered = [one for one in tuned if one.report.recovered]
        best = max(recovered, key=_worth, default=None)
        if best is None:
            return
        held = self.work.state.recoveries.of(best.plan)
        if held is None or (held.report.accuracy is not None and _worth(held) < _worth(best)):
            self.work.take_recovered(best)

    def _scanned(
        self,
        scanner: Scanner,
        recipe: Recipe,
        half: Half | None,
        progress: Progress,
        ratios: Sequence[float],
        shown: Callable[[Sensitivity], object] | None,
        backend: Backend | None = None,
    ) -> Sensitivity:
        """The scan of the network, whose baseline is by `half` of the examples."""
        baseline = self._evaluation.baseline(half, part(progress, 0.0, 0.0))
        last: Sensitivity | None = None
        request, evaluation = self.work.request, self._evaluation
        remote = remote_scanner(request, evaluation, scanner.graph, recipe, choosing=half is Half.CHOOSING)
        with nullcontext() if backend is None else remote as setup:
            for last in scan(
                scanner,
                recipe,
                self._planning.on,
                ratios=ratios,
                baseline=baseline,
                backend=backend,
                setup=setup,
                progress=progress,
            ):
                self._take_points(scanner, last, recipe)
                if shown is not None:
                    shown(last)
        assert last is not None, "a scan gives what is known at least once"
        return last


def _worth(result: Result) -> float:
    """What the task says of a recovered network, or of a cut one that isn't recovered; below all else where it says
    nothing."""
    accuracy = result.report.accuracy
    if accuracy is None:
        return -inf
    known = accuracy.after if accuracy.recovered is None else accuracy.recovered
    return -inf if known is None else known
