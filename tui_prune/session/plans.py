"""Making plans, and all that a plan needs beside a recipe: scores, what calibration data has shown, latencies."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tui_prune.cost.bench import measure
from tui_prune.cost.cost import Cost
from tui_prune.cost.latency import LatencyModel
from tui_prune.cost.latency_table import LatencyTable
from tui_prune.cost.stopwatch import Stopwatch
from tui_prune.cost.whole import WholeNetwork, share_of
from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph, Group
from tui_prune.planning.criteria import CRITERIA, Gathered, Needs, combination, combine_parts, score_parts
from tui_prune.planning.criteria.scoring import Known
from tui_prune.planning.plan import Plan
from tui_prune.planning.planner import Planner
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.widths import Scores
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.dead import Dead, find_dead
from tui_prune.recovery.moments import gather_moments
from tui_prune.search.curves import ErrorCurves, error_curves, uncut
from tui_prune.session.networks import Names, Networks, names_of
from tui_prune.surgery.cut import Misfit, cut
from tui_prune.tasks.calibration import checked_calibration, gather
from tui_prune.tasks.task import Task

REMEMBERED = 32
"""So many plans with targets are remembered, since each is found by trying a dozen others."""

EVEN_SHARES = (0.75, 0.5, 0.25)
"""The shares of the channels that stay in the cut networks of a latency table."""

CORRECTIONS = 3
"""So many times a prediction is corrected by the cut network that it has led to."""

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


class Plans:
    """Plans of the graphs of one traced network. What takes long is done once, at its first use or by `prepare`."""

    def __init__(
        self, task: Task | None = None, arguments: Arguments | None = None, table: LatencyTable | None = None
    ) -> None:
        """`arguments` are the example input: with it the latency of the whole network is measured, too; or taken from
        `table`, which was measured on another device."""
        self._task, self.table = task, table
        self._arguments = arguments
        self._planners: dict[Graph, Planner] = {}
        self._parts: dict[tuple[Graph, str, int], Any] = {}
        self._scores: dict[tuple[Graph, str, int, str, str], Scores] = {}
        self._known: dict[str, Known] = {}
        self._gathered: dict[Needs, Gathered] = {}
        self._latencies: dict[Graph, LatencyModel] = {}
        self._stopwatch: Stopwatch | None = None
        self._whole: WholeNetwork | None = None
        self._found: dict[tuple[Graph, Recipe], Plan] = {}
        self._dead: Dead | None = None
        self._curves: dict[tuple[Graph, Recipe], ErrorCurves] = {}

    def with_task(self, task: Task | None) -> Plans:
        """Plans by the calibration data of another task. They share all that no task has shown."""
        other = Plans(task, self._arguments, self.table)
        other._planners, other._latencies = self._planners, self._latencies
        other._stopwatch, other._whole, other._dead = self._stopwatch, self._whole, self._dead
        other._gathered = {needs: found for needs, found in self._gathered.copy().items() if needs == "bounds"}
        other._parts = {key: parts for key, parts in self._parts.copy().items() if not _shown_by_a_task(key[1])}
        other._scores = {key: scores for key, scores in self._scores.copy().items() if not _shown_by_a_task(key[1])}
        other._known = {name: known for name, known in self._known.copy().items() if not _shown_by_a_task(name)}
        return other

    def make(self, graph: Graph, recipe: Recipe, progress: Progress = silent) -> Plan:
        """The plan of a recipe. Takes milliseconds where it `waits_for` nothing.

        Raises `UsageError` for a recipe that can't be followed, `TuiPruneError` when scores can't be had.
        """
        key = graph, recipe
        if key in self._found:
            return self._found[key]
        latency = self._latency(graph, recipe, progress)
        plan = self._planner(graph).plan(recipe, self.scores(graph, recipe, progress), latency)
        if recipe.targets:
            self._found = dict([*self._found.items(), (key, plan)][-REMEMBERED:])
        return plan

    def waits_for(self, graph: Graph, recipe: Recipe) -> str:
        """In words, the long work that a plan of this recipe needs first; empty where it can be made at once.

        Raises `UsageError` where that work can't be done, because there is no calibration data.
        """
        needs = CRITERIA[recipe.criterion].needs
        if needs and needs != "bounds" and needs not in self._gathered:
            checked_calibration(self._task)
            return "the task's calibration data has to be run"
        latency = self._latencies.get(graph)
        if self.table is not None:
            return ""
        predicting = recipe.target_latency is not None
        ready = latency is not None and latency.ready_for(predicting, recipe.finds_multiple)
        unchecked = predicting and self._arguments is not None and not (self._whole and self._whole.checked)
        if recipe.needs_latency and (not ready or unchecked):
            return "layers have to be measured on this device"
        return ""

    def check(self, graph: Graph, recipe: Recipe) -> None:
        """Raises `UsageError` for a recipe that names layers which the network doesn't have; plans nothing."""
        self._planner(graph).check_names(recipe)

    def with_channels(self, plan: Plan, keep: np.ndarray) -> Plan:
        """A plan by the same recipe of which exactly these channels stay."""
        return self._planner(plan.graph).with_channels(plan, keep)

    def prepare(self, graph: Graph, recipe: Recipe, progress: Progress = silent) -> None:
        """Do what takes long: run calibration data, measure layers. Nothing that was done before is done again."""
        self.scores(graph, recipe, progress)
        self._latency(graph, recipe, progress)

    def scores(self, graph: Graph, recipe: Recipe, progress: Progress = silent) -> Scores:
        """The scores of each group's channels by the recipe's criterion."""
        own = graph, recipe.criterion, recipe.seed
        key = *own, recipe.combine, recipe.normalise
        if key not in self._scores:
            if own not in self._parts:
                gathered = self._gather(graph, CRITERIA[recipe.criterion].needs, progress)
                known = self._known.setdefault(recipe.criterion, {})
                self._parts[own] = score_parts(graph, recipe.criterion, recipe.seed, gathered, known)
            self._scores[key] = combine_parts(
                graph.groups, self._parts[own], recipe.criterion, recipe.combine, recipe.normalise
            )
        return self._scores[key]

    def dead(self, graph: Graph) -> Dead:
        """What of a network does nothing, by the bounds of a forward pass with the example input."""
        if self._dead is None:
            assert self._arguments is not None
            self._dead = find_dead(graph.model, graph.record, *self._arguments)
        return self._dead

    def error_curves(self, graph: Graph, recipe: Recipe, progress: Progress = silent) -> ErrorCurves:
        """How wrong the network gets as each group is cut alone, by one pass over calibration data
        (`search.curves.error_curves`). Takes a second or so the first time, and for each criterion.

        Raises `UsageError` where the task has no calibration data, `TuiPruneError` when its code fails.
        """
        key = graph, uncut(recipe)
        if key not in self._curves:
            gathered = self._gather(graph, "moments", part(progress, 0.0, 0.9))
            assert gathered is not None
            scores = self.scores(graph, recipe, part(progress, 0.9, 1.0))
            self._curves[key] = error_curves(graph, recipe, scores, gathered.moments)
        return self._curves[key]

    def scored(self, graph: Graph, recipe: Recipe, group: Group) -> str:
        """In words, by what a group's channels are scored."""
        self.scores(graph, recipe)
        parts = self._parts[graph, recipe.criterion, recipe.seed][group.index]
        return combination(parts, recipe.criterion, recipe.combine, recipe.normalise)

    def _planner(self, graph: Graph) -> Planner:
        if graph not in self._planners:
            self._planners[graph] = Planner(graph)
        return self._planners[graph]

    def _gather(self, graph: Graph, needs: Needs, progress: Progress) -> Gathered | None:
        if needs and needs not in self._gathered:
            if needs == "bounds":
                self._gathered[needs] = Gathered(dead=self.dead(graph).slots)
                return self._gathered[needs]
            task = checked_calibration(self._task)
            moments = needs == "moments"
            self._gathered[needs] = (
                gather_moments(graph, task, progress) if moments else gather(graph, needs, task, progress)
            )
        return self._gathered[needs] if needs else None

    def _latency(self, graph: Graph, recipe: Recipe, progress: Progress) -> LatencyModel | None:
        if not recipe.needs_latency:
            return None
        if self.table is not None:
            return self.latency_by_table(graph)
        if self._stopwatch is None:
            self._stopwatch = Stopwatch(graph.model)
        predicting = recipe.target_latency is not None
        if predicting and self._whole is None and self._arguments is not None:
            # As with single calls: what else the machine does can only add to it.
            self._whole = WholeNetwork(min(measure([graph.model], *self._arguments, progress)[0].passes))
        model = self._latencies.get(graph)
        if model is None or (predicting and not model.ready_for(True, False)):
            model = self._latencies[graph] = LatencyModel(graph, self._stopwatch, self._whole)
        if predicting:
            model.measure(progress)
        if recipe.finds_multiple:
            model.find_multiple(progress)
        if predicting and self._whole is not None and not self._whole.checked:
            self._check(graph, recipe, model, progress)
            self._whole.checked = True
        return model

    def latency_by_table(self, graph: Graph) -> LatencyModel:
        """What a graph's networks take on the device of the table. Raises `UsageError` where that is another
        network's."""
        assert self.table is not None
        if graph not in self._latencies:
            cuts = {share: plan.keep for share, plan in self.even_cuts(graph).items()}
            self._latencies[graph] = self.table.model(graph, cuts)
        return self._latencies[graph]

    def even_cuts(self, graph: Graph) -> dict[float, Plan]:
        """Plans that leave about some shares of all channels; which ones stay means nothing."""
        planner, found = self._planner(graph), {}
        for share in EVEN_SHARES:
            recipe = Recipe(ratio=1 - share, criterion="random", grouped=graph.units.grouped, heads=graph.units.heads)
            found[share] = planner.plan(recipe, self.scores(graph, recipe))
        return found

    def _check(self, graph: Graph, recipe: Recipe, latency: LatencyModel, progress: Progress) -> None:
        """Cut the network as far as the recipe asks, measure what that really takes, and correct the prediction by it.

        Nobody has seen that plan yet, so none changes under anybody's eyes.
        """
        if self._arguments is None:
            return
        planner, scores = self._planner(graph), self.scores(graph, recipe, progress)
        for _ in range(CORRECTIONS):
            progress("measure a cut", 0.0)
            plan: Plan | None = None
            with suppress(UsageError):  # out of reach, as it seems
                plan = planner.plan(recipe, scores, latency)
            if plan is None or not plan.cuts:  # whoever asks for another share then shall know what a cut takes
                plan = planner.plan(recipe.changed(ratio=0.5), scores, latency)
            try:
                made = cut(graph.model, *self._arguments, plan)
            except Misfit:
                break
            before, after = measure([graph.model, made.module], *self._arguments, progress)
            if latency.learn(plan.keep, share_of(before.passes, after.passes)):
                break


def _shown_by_a_task(criterion: str) -> bool:
    return CRITERIA[criterion].needs not in ("", "bounds")


class Planning:
    """Plans of any recipe, each on the graph that suits it, by the calibration data of one task.

    Another task gets another one: work that goes on in a thread keeps to the task that it has begun with.
    """

    def __init__(self, networks: Networks, task: Task | None) -> None:
        self.networks = networks
        self._plans: dict[Names, Plans] = {(): Plans(task, networks.subject.arguments, networks.latency_table)}
        self._task = task
        self._costs: dict[tuple[Graph, Recipe], Cost] = {}

    def with_task(self, task: Task | None) -> Planning:
        """The same by another task."""
        other = Planning(self.networks, task)
        other._plans = {names: plans.with_task(task) for names, plans in self._plans.copy().items()}
        return other

    def with_networks(self, networks: Networks) -> Planning:
        """The same on graphs of which more is known."""
        other = copy.copy(self)
        other.networks = networks
        return other

    def of(self, graph: Graph) -> Plans:
        """The plans of a graph."""
        names = names_of(graph)
        if names not in self._plans:
            plans = Plans(self._task, self.networks.subject.arguments, self.networks.latency_table)
            self._plans.setdefault(names, plans)
        return self._plans[names]

    def make(self, recipe: Recipe) -> Plan:
        """The plan of a recipe. Raises `UsageError` for one that can't be followed."""
        return self.on(self.networks.graph_to_plan(recipe), recipe)

    def on(self, graph: Graph, recipe: Recipe, progress: Progress = silent) -> Plan:
        """The plan of a recipe on one of the graphs."""
        return self.of(graph).make(graph, recipe, progress)

    def preview(self, recipe: Recipe) -> Plan:
        """The plan of a recipe, at once. Raises `UsageError`, also where long work is needed first."""
        waits_for = self.waits_for(recipe)
        if waits_for:
            raise UsageError(f"Before this can be shown {waits_for}.")
        return self.make(recipe)

    def cost(self, recipe: Recipe) -> Cost | None:
        """What the network would need by a recipe; None where it takes long to say, or the recipe doesn't fit."""
        key = self.networks.graph_for(recipe), recipe
        if key not in self._costs:
            try:
                self._costs[key] = self.preview(recipe).after
            except UsageError:
                return None
        return self._costs[key]

    def waits_for(self, recipe: Recipe) -> str:
        """As `Plans.waits_for`."""
        graph = self.networks.graph_for(recipe)
        return self.of(graph).waits_for(graph, recipe)

    def prepare(self, recipe: Recipe, progress: Progress = silent) -> None:
        """As `Plans.prepare`."""
        graph = self.networks.graph_for(recipe)
        self.of(graph).prepare(graph, recipe, progress)

    def latencies(self, plan: Plan) -> tuple[float, float]:
        """Seconds that the uncut network and that of a plan take on the device of the latency table."""
        model = self.of(plan.graph).latency_by_table(plan.graph)
        return model.seconds(np.ones(plan.graph.classes.channels, bool)), model.seconds(plan.keep)

    def check(self, recipe: Recipe) -> None:
        """As `Plans.check`."""
        graph = self.networks.graph_for(recipe)
        self.of(graph).check(graph, recipe)
