"""A recipe for a target: by which criterion, and each layer cut by what it can bear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui_prune.errors import Cancelled, TuiPruneError
from tui_prune.graph.graph import Graph
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.search.allocation import Allocation, Goal
from tui_prune.search.curves import ErrorCurves
from tui_prune.search.sensitivity import Planning, Sensitivity
from tui_prune.tasks.task import Task

CHANCE = "random"
"""The criterion that is no candidate unless it is asked for."""
SCANNING, COMPARING, SHIFTING = 0.2, 0.7, 0.75
"""Shares of the search that are done when the scan begins, when it ends, and when the best is being shifted."""
SEARCHING = 0.4
"""Share of the work that is the search, where finalists are fine-tuned after it."""
SHIFTS = (1.25, 0.8)
"""How many times as many channels of one layer are tried in the end."""
SHIFTED = 24
"""So many layers at most, those that weigh the most."""
HARMLESS = 0.01
"""A cut that loses no score and changes the outputs by no more than this is good enough: nothing more is tried."""
BY_CURVES = ("reconstruction", "group_l2")
"""The criteria whose curves are compared where none is chosen: what refitted layers miss least, and a large channel's
weights."""
CURVES = 0.4
"""Share of a search by curves that is done when the finalists are measured."""
FIRST = ("group_l2", "bn_scale")
"""The criteria to begin with: the one that kept most in trials on a ResNet, and the one of slimmed networks."""

Measure = Callable[[Plan, Progress], tuple[float, float] | None]
Scanning = Callable[[Recipe, Progress], Sensitivity]
Ahead = Callable[[Sequence[Plan], Progress], object]
"""Measures several networks at a time, so that `Measure` knows them."""
Tuning = Callable[[Sequence[Plan], Progress], Sequence[float]]

_READINGS = ((1.0, 1.0), (0.0, 1.0), (1.0, 0.1))
"""How much the drop of the score and the change of the outputs count, each as a share of the largest in the scan."""


def criteria_to_try(recipe: Recipe, task: Task | None) -> tuple[str, ...]:
    """A criterion that somebody has chosen stays; where it is the default, all are tried that can be."""
    chosen = _chosen_criterion(recipe)
    if chosen:
        return chosen
    can_gather = task is not None and task.calibration is not None
    can = [
        name
        for name, known in CRITERIA.items()
        if name != CHANCE and not known.exact and (can_gather or not known.needs)
    ]
    return (*FIRST, *(name for name in can if name not in FIRST))


def criteria_by_curves(recipe: Recipe) -> tuple[str, ...]:
    """The criteria whose curves are compared: the one that somebody has chosen, else the usual ones."""
    return _chosen_criterion(recipe) or BY_CURVES


def _chosen_criterion(recipe: Recipe) -> tuple[str, ...]:
    return () if recipe.criterion == Recipe().criterion else (recipe.criterion,)


def suggest(
    graph: Graph,
    recipe: Recipe,
    planning: Planning,
    goal: Goal,
    *,
    criteria: Sequence[str],
    baseline: float,
    scanning: Scanning,
    measure: Measure,
    ahead: Ahead | None = None,
    finalists: int = 1,
    tuning: Tuning | None = None,
    progress: Progress = silent,
) -> Recipe:
    """The best recipe found that meets the goal, under the recipe's alignments and locks; its ratios are replaced, and
    its criterion is one of `criteria`.

    First one ranking of all channels, and the same ratio everywhere, are measured by each criterion (`measure`: score
    and change of the network that is cut so), until one loses nothing: its score is no lower than `baseline`, that of
    the network as it is, and its outputs hardly change. Where none does, the network is scanned by the criterion of the
    best (`scanning`), and what the scan says each layer can bear is measured, too, in several readings. At last, in the
    best of all, one layer after the other is made wider or narrower at the cost of the others, and stays so where that
    is better: cuts that are harmless alone may not be so together. Better is a higher score, among equal ones less
    change.

    Of several criteria those are left out that can't be had, or can't meet the goal.

    What is best so needn't be the best once it is trained again. With `tuning`, which says what networks are worth
    then, so many finalists are compared by it: the best, and the best of those that were measured first, each by
    another criterion as long as there are any.

    Raises `UsageError` where the goal can't be met, `TuiPruneError` when the task fails.
    """
    recipe = recipe.changed(ratio=0.0, layers={}, scope="local")
    contest = _Contest(graph, planning, measure, ahead)
    comparing = finalists > 1
    best = _searched(
        contest,
        lambda criterion: Allocation(graph, recipe.changed(criterion=criterion), planning, goal),
        criteria,
        baseline,
        lambda criterion, progress: scanning(recipe.changed(criterion=criterion), progress),
        part(progress, 0.0, SEARCHING) if tuning is not None and comparing else progress,
    )
    if tuning is not None and comparing:
        best = contest.tuned(finalists, tuning, part(progress, SEARCHING, 1.0)) or best
    return best


def suggest_by_curves(
    graph: Graph,
    recipe: Recipe,
    planning: Planning,
    goal: Goal,
    *,
    criteria: Sequence[str],
    curves: Callable[[Recipe, Progress], ErrorCurves],
    measure: Measure | None,
    ahead: Ahead | None = None,
    progress: Progress = silent,
) -> Recipe:
    """As `suggest`, but from error curves that one pass over calibration data has shown: each layer is cut so that the
    errors that are left add up to the least.

    Only the finalists are measured: the recipe by the curves of each criterion, and the same ratio everywhere by the
    first. Without `measure` the recipe with the least error by its curves is taken.

    Raises as `suggest` does.
    """
    recipe = recipe.changed(ratio=0.0, layers={}, scope="local")
    finalists: list[tuple[float, Recipe]] = []
    errors: list[TuiPruneError] = []
    for number, criterion in enumerate(criteria):
        here = part(progress, CURVES * number / len(criteria), CURVES * (number + 1) / len(criteria))
        own = recipe.changed(criterion=criterion)
        try:
            found = curves(own, here)
            allocation = Allocation(graph, own, planning, goal)
            recipes = [allocation.curved(found), *(allocation.uniform() if not number else ())]
        except Cancelled:
            raise
        except TuiPruneError as error:
            errors.append(error)
            continue
        finalists += [(found.left(one.layers), one) for one in recipes]
    if not finalists:
        raise errors[0]
    best = min(finalists, key=lambda one: one[0])[1]
    if measure is not None:
        contest = _Contest(graph, planning, measure, ahead)
        contest.enter([one for _, one in finalists], part(progress, CURVES, 1.0))
        best = contest.best or best
    progress("suggest", 1.0)
    return best


def _searched(
    contest: _Contest,
    allocating: Callable[[str], Allocation],
    criteria: Sequence[str],
    baseline: float,
    scanning: Callable[[str, Progress], Sensitivity],
    progress: Progress,
) -> Recipe:
    """The recipe of the best score."""
    progress("suggest", 0.0)
    allocations: dict[str, Allocation] = {}
    errors: list[TuiPruneError] = []
    for number, criterion in enumerate(criteria):
        here = part(progress, SCANNING * number / len(criteria), SCANNING * (number + 1) / len(criteria))
        here("suggest", 0.0)
        try:
            found = allocating(criterion)
        except Cancelled:
            raise
        except TuiPruneError as error:
            errors.append(error)
            continue
        allocations[criterion] = found
        contest.enter([*found.ranked("mean"), *found.ranked("none"), *found.uniform()], here)
        if contest.best is not None and contest.harmless(baseline):
            progress("suggest", 1.0)
            return contest.best
    if not allocations:
        raise errors[0]
    criterion = next(iter(allocations)) if contest.best is None else contest.best.criterion
    scan = scanning(criterion, part(progress, SCANNING, COMPARING))
    readings = [allocations[criterion].scanned(scan, *weights) for weights in _READINGS]
    contest.enter(readings, part(progress, COMPARING, SHIFTING))
    if contest.best is None:
        return readings[0]
    own = allocations[contest.best.criterion]
    names = own.largest_units(SHIFTED)
    for number, name in enumerate(names):
        here = part(progress, SHIFTING + (1 - SHIFTING) * number / len(names), 1.0)
        for factor in SHIFTS:
            shifted = own.shifted(contest.best, name, factor)
            if shifted is not None and contest.better(shifted, part(here, 0.0, 0.0)):
                break
    progress("suggest", 1.0)
    return contest.best


class _Contest:
    """Recipes, of which the best is kept."""

    def __init__(self, graph: Graph, planning: Planning, measure: Measure, ahead: Ahead | None = None) -> None:
        self._graph, self._planning, self._measure, self._ahead = graph, planning, measure, ahead
        self._entered: list[_Entry] = []
        self._tried: set[bytes] = set()

    @property
    def best(self) -> Recipe | None:
        """None: none could be measured yet."""
        return None if self._first is None else self._first.recipe

    @property
    def _first(self) -> _Entry | None:
        return max(self._entered, key=lambda entry: entry.rank, default=None)  # of equal ones the earlier

    def harmless(self, baseline: float) -> bool:
        """Whether the best loses nothing."""
        first = self._first
        return first is not None and first.rank[0] >= baseline and -first.rank[1] <= HARMLESS

    def enter(self, recipes: Sequence[Recipe], progress: Progress) -> None:
        """Measure those that cut otherwise than what was measured before."""
        if self._ahead is not None:
            plans = [self._planning(self._graph, recipe) for recipe in recipes]
            others = {plan.keep.tobytes(): plan for plan in plans if plan.keep.tobytes() not in self._tried}
            self._ahead([*others.values()], progress)
            progress = part(progress, 1.0, 1.0)
        for number, recipe in enumerate(recipes):
            found = self._measured(recipe, part(progress, number / len(recipes), (number + 1) / len(recipes)))
            if found is not None:
                self._entered.append(found)

    def better(self, recipe: Recipe, progress: Progress) -> bool:
        """Put a recipe in the place of the best if it is better."""
        first, found = self._first, self._measured(recipe, progress)
        if found is None or first is None or found.rank <= first.rank:
            return False
        self._entered[self._entered.index(first)] = found
        return True

    def tuned(self, count: int, tuning: Tuning, progress: Progress) -> Recipe | None:
        """Of so many finalists the one that is worth the most once it is fine-tuned; None where none could be."""
        ranked = sorted(self._entered, key=lambda entry: entry.rank, reverse=True)
        firsts = {entry.recipe.criterion: entry for entry in reversed(ranked)}.values()
        finalists = sorted(ranked, key=lambda entry: entry not in firsts)[:count]
        scores = tuning([self._planning(self._graph, entry.recipe) for entry in finalists], progress)
        return finalists[scores.index(max(scores))].recipe if finalists else None

    def _measured(self, recipe: Recipe, progress: Progress) -> _Entry | None:
        plan = self._planning(self._graph, recipe)
        if plan.keep.tobytes() in self._tried:
            return None
        self._tried.add(plan.keep.tobytes())
        measured = self._measure(plan, progress)
        return None if measured is None else _Entry(recipe, (measured[0], -measured[1]))


@dataclass(frozen=True, eq=False)
class _Entry:
    recipe: Recipe
    rank: tuple[float, float]
    """The score and, among equal ones, less change."""
