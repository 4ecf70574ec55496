"""Finding a cut that the model's own code can follow: cut, verify, and lock what doesn't fit until the rest does."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from tui_prune.archives.origin import Path
from tui_prune.errors import TuiPruneError
from tui_prune.graph.findings import Repair
from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.grouping import rebuilt
from tui_prune.graph.record import Lock
from tui_prune.graph.repeated import Repeated
from tui_prune.graph.trace import collecting_later
from tui_prune.planning.criteria import score_groups
from tui_prune.planning.plan import Plan
from tui_prune.planning.planner import uncosted_plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.surgery.cut import (
    EVERYTHING,
    FIXED_SIZE,
    CutModule,
    Misfit,
    check_training,
    cut,
    cut_groups,
    groups_inside,
)
from tui_prune.surgery.flow import find_flows
from tui_prune.surgery.other_runs import OtherRun, larger_inputs
from tui_prune.surgery.size_search import FEW_TRIES, TRIES, SizeSearch
from tui_prune.surgery.unread_sizes import set_unread_sizes
from tui_prune.surgery.verify import NotEqual, Verification, is_equal_on, verify

CHANGES_RESULT = "a cut here changes the result (found by trying)"
_TRIALS = 40
"""The number of failed trials after which no more sizes are tried, and suspected groups are locked instead."""
_SAME_LINE = 2
"""Where one line of code fails more often, all groups in modules of the same class are locked."""
_NARROWED = 24
"""Trials to find out which of the groups that seem to be the reason for a failure are."""
_HALVES = 48
"""Trials to find out which groups make a result differ, where nothing else tells."""

Planning = Callable[[Graph], Plan]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A plan that fits the model, carried out."""

    plan: Plan
    cut: CutModule
    verification: Verification | None
    """None where only the replay was asked for."""
    doubtful: tuple[str, ...] = ()
    """Places of numbers that may be sizes of what is cut, and that stay because nothing shows it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with the input that it is tried on."""

    model: nn.Module
    inputs: Sequence[Any]
    kwargs: Mapping[str, Any]

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What `forward` is called with."""
        return tuple(self.inputs), dict(self.kwargs)

    @collecting_later()
    def try_plan(self, plan: Plan, verifying: bool) -> Fitted:
        """Carry a plan out and prove it. Raises `Misfit` where it doesn't fit the model."""
        made = cut(self.model, self.inputs, self.kwargs, plan)
        if not verifying:
            return Fitted(plan, made, None)
        cuts = Repeated(made.module, plan.graph.record.written)
        try:
            verification = verify(self.model, self.inputs, self.kwargs, plan, made, cuts)
        except NotEqual as error:
            raise Misfit(frozenset(), Lock(CHANGES_RESULT), reached=EVERYTHING) from error
        check_training(self.model, self.inputs, self.kwargs, plan, made, cuts)
        return Fitted(plan, made, verification)

    def check_other_sizes(self, fitted: Fitted, known: Collection[Repair]) -> None:
        """Run what needed new repairs on a larger input that the original takes: a number may be the size of what is
        cut and something else as well. Raises `Misfit` where the results differ."""
        plan = fitted.plan
        new = {repair.tensor for repair in plan.graph.findings.repairs if repair not in known}
        for run in larger_inputs(self.inputs, self.kwargs) if new else ():
            try:
                equal = is_equal_on(*run.arguments, self.model, plan, fitted.cut)
            except TuiPruneError:
                equal = False
            if not equal and self._takes(run):
                slots = [axis.slots for tensor in new for axis in plan.graph.record.axes_of(tensor)]
                raise Misfit(cut_groups(plan, np.concatenate(slots)), Lock(FIXED_SIZE), reached=2 * EVERYTHING)
            if equal:
                return

    def _takes(self, run: OtherRun) -> bool:
        """Whether the original runs on a larger input, and takes as many images or rows for one as before."""
        usual, other = OtherRun(self.arguments).outputs(self.model), run.outputs(self.model)
        if usual is None or other is None:
            return False
        return [t.shape[:1] for t in usual] == [t.shape[:1] for t in other]

    def with_unread_sizes(self, fitted: Fitted) -> Fitted:
        """Set the sizes that no run reads, too."""
        found = set_unread_sizes(self.model, self.inputs, self.kwargs, fitted.plan, fitted.cut)
        made = replace(fitted.cut, edits=(*fitted.cut.edits, *found.edits))
        return replace(fitted, cut=made, doubtful=found.doubtful)


def fit(
    subject: Subject,
    graph: Graph,
    planning: Planning,
    *,
    verifying: bool = True,
    locking: bool = True,
    progress: Progress = silent,
) -> Fitted:
    """Cut by the plan that `planning` makes of the graph, or of the graph with more locks where the model needs them.

    Raises `TuiPruneError` when no plan fits; without `locking`, when none fits without more locks.
    """
    linked: dict[str | None, tuple[np.ndarray, ...]] = {}
    known = frozenset(graph.findings.repairs)
    search, halving, failures = SizeSearch(), _Halving(subject, verifying), _Failures()
    narrowing = _Narrowing(subject, planning)
    while True:
        plan = planning(graph)
        progress("cut", len(graph.findings.locks) / (len(graph.groups) + 1))
        try:
            fitted = subject.try_plan(plan, verifying)
            fitted = _without_needless_repairs(subject, fitted, known)
            if not verifying:
                return fitted
            subject.check_other_sizes(fitted, known)
            return subject.with_unread_sizes(fitted)
        except Misfit as misfit:
            where = misfit.lock.where
            links = _links(plan, misfit) if where not in linked else ()
            step = search.next(plan, misfit, FEW_TRIES if links or linked.get(where) else TRIES)
            if step.misfit is not misfit:  # an earlier one, whose line may have been met with links already
                misfit, where = step.misfit, step.misfit.lock.where
                links = _links(plan, misfit) if where not in linked else ()
            base = replace(graph.findings, repairs=step.repairs)
            spent = failures.note(misfit)
            if step.trying and not spent:
                findings = base
            elif misfit.sizes:
                findings = base.with_fixed_sizes(misfit.sizes)
            elif links and not spent:
                linked[where] = links
                findings = base.with_link(*links)
            elif linked.get(where):  # that wasn't it, and what is linked would be locked together
                findings = base.without_links(*linked[where])
                linked[where] = ()
            else:
                plan = replace(plan, graph=replace(graph, findings=base))
                groups = failures.groups(plan, misfit) or (halving.culprits(plan) if locking else frozenset())
                if not groups or not locking:
                    place = f" ({where})" if where else ""
                    cause = misfit.__cause__
                    reason = str(cause).rstrip(".") if isinstance(cause, TuiPruneError) else misfit.lock.reason
                    raise TuiPruneError(
                        f"No cut of this model can be proved{place}: {reason}. "
                        "Lock layers, or choose lower ratios, and try again."
                    ) from misfit
                if groups == misfit.groups:
                    groups = narrowing.to_blame(plan.graph, groups, misfit)
                findings = base.with_lock(_slots_of(graph, groups), misfit.lock)
            graph = rebuilt(graph, findings)


def _without_needless_repairs(subject: Subject, fitted: Fitted, known: Collection[Repair]) -> Fitted:
    """Leave out each newly found size that the cut does without: its number may be a width's by chance (a window of as
    many positions), and then other inputs would come out wrong. What PyTorch's own layers keep is no guess."""
    model = fitted.plan.graph.model
    named: dict[tuple[type[nn.Module], str, Path], list[Repair]] = {}
    for repair in fitted.plan.graph.findings.repairs:
        kind = type(model.get_submodule(repair.module))
        if repair not in known and not kind.__module__.startswith("torch.nn."):
            named.setdefault((kind, repair.attribute, repair.path), []).append(repair)
    for repairs in named.values():
        graph = fitted.plan.graph
        fewer = replace(graph, findings=graph.findings.without_repairs(repairs))
        try:
            tried = subject.try_plan(replace(fitted.plan, graph=fewer), fitted.verification is not None)
        except Misfit:
            continue
        if _is_proved_as_well(tried, fitted):
            fitted = tried
    return fitted


def _is_proved_as_well(tried: Fitted, fitted: Fitted) -> bool:
    if tried.verification is None or fitted.verification is None:
        return True
    return tried.verification.kind == "exact" or fitted.verification.kind != "exact"


def _links(plan: Plan, misfit: Misfit) -> tuple[np.ndarray, ...]:
    """The groups that meet in attention-like modules, one with blocks among them: they may have to keep one share."""
    model = plan.graph.model
    for name in filter(None, misfit.modules):  # in the whole network all groups meet
        groups = groups_inside(plan, name)
        if not any(_has_even_blocks(plan.graph.groups[group]) for group in groups):
            continue
        kind = type(model.get_submodule(name))
        if kind.__module__.startswith("torch.nn.modules.container"):
            continue
        found = []
        for other, part in model.named_modules():
            groups = groups_inside(plan, other) if type(part) is kind else frozenset()
            inside = [group for group in sorted(groups) if _meets_input(plan.graph.groups[group], other)]
            if len(inside) > 1:
                channels = [plan.graph.groups[group].channels[0] for group in inside]
                found.append(np.array([int(np.argmax(plan.graph.classes.channel == c)) for c in channels]))
        return tuple(found)
    return ()


def _meets_input(group: Group, module: str) -> bool:
    """Whether a group has blocks or heads, or is one that a module takes in: what only runs inside keeps its own
    share."""
    inside = all(member.layer.startswith(f"{module}.") for member in group.members)
    return _has_even_blocks(group) or not (inside or group.flows)


def _has_even_blocks(group: Group) -> bool:
    return (group.blocked or group.heads) and not group.flows


def probe(subject: Subject, graph: Graph, progress: Progress = silent) -> Graph:
    """Add what only a trial can show: the widths of uneven groups; the locks of what doesn't fit, once everything is
    cut by half; and which groups have to keep one share, once every layer loses another.

    What fits only where all lose the same share isn't locked: a recipe that gives other shares is a trial itself.
    """
    graph = find_flows(graph, *subject.arguments)
    recipe = Recipe(ratio=0.5, criterion="random", grouped=graph.units.grouped, heads=graph.units.heads)
    graph = fit(subject, graph, _planning(recipe), verifying=False, progress=progress).plan.graph
    shares = {group.name: 0.42 + 0.16 * (i * 0.618 % 1) for i, group in enumerate(graph.groups)}
    try:
        planning = _planning(recipe.changed(layers=shares))
        return fit(subject, graph, planning, verifying=False, locking=False, progress=progress).plan.graph
    except TuiPruneError:
        return graph


def _planning(recipe: Recipe) -> Planning:
    return lambda graph: uncosted_plan(graph, recipe, score_groups(graph, recipe.criterion))


def _slots_of(graph: Graph, groups: frozenset[int]) -> np.ndarray:
    mine = np.zeros(graph.classes.channels, bool)
    for group in groups:
        mine[graph.groups[group].channels] = True
    return np.flatnonzero(mine[graph.classes.channel])


class _Failures:
    """The failures of one fit, counted: what fails again and again is locked with all that is like it."""

    def __init__(self) -> None:
        self._trials = 0
        self._locked: Counter[Lock] = Counter()

    def note(self, misfit: Misfit) -> bool:
        """Count a trial that has failed. Returns whether there have been so many that only locks are left."""
        self._trials += 1
        return self._trials > _TRIALS

    def groups(self, plan: Plan, misfit: Misfit) -> frozenset[int]:
        """The groups to lock: those that seem to be the reason. Where one line of code has failed several times, or
        trials have been spent, also those that stand at the same places in other modules of the same class."""
        self._locked[misfit.lock] += 1
        if self._locked[misfit.lock] <= _SAME_LINE and self._trials <= _TRIALS:
            return misfit.groups
        parts = dict(plan.graph.model.named_modules())
        kinds = (type(parts[name]) for name in misfit.modules)
        kind = next((kind for kind in kinds if not kind.__module__.startswith("torch.nn.")), None)
        if kind is None or kind is type(plan.graph.model):
            return misfit.groups
        return misfit.groups | _groups_alike(
            plan, misfit.groups, [n for n, part in parts.items() if type(part) is kind]
        )


class _Narrowing:
    """Finds out which of the groups that seem to be the reason for a failure are."""

    def __init__(self, subject: Subject, planning: Planning) -> None:
        self._subject, self._planning = subject, planning
        self._left = _NARROWED

    def to_blame(self, graph: Graph, groups: frozenset[int], misfit: Misfit) -> frozenset[int]:
        """The smallest part of the groups, found by halving them, without whose cut more goes right: often the smallest
        group, or the last one before the failure."""
        rest = sorted(groups, key=lambda number: len(graph.groups[number].channels))
        while misfit.error is not None and len(rest) > 1:
            parts = [rest[:1], [max(rest)], rest[: len(rest) // 2], rest[len(rest) // 2 :]]
            parts = [part for number, part in enumerate(parts) if part not in parts[:number]]
            found = next((part for part in parts if self._helps(graph, part, misfit)), None)
            if found is None:
                break
            rest = found
        return frozenset(rest)

    def _helps(self, graph: Graph, groups: Sequence[int], misfit: Misfit) -> bool:
        if not self._left:
            return False
        self._left -= 1
        findings = graph.findings.with_lock(_slots_of(graph, frozenset(groups)), misfit.lock)
        try:
            self._subject.try_plan(self._planning(rebuilt(graph, findings)), verifying=False)
        except Misfit as other:
            return other.reached > misfit.reached
        return True


def _groups_alike(plan: Plan, groups: frozenset[int], modules: Sequence[str]) -> frozenset[int]:
    """The groups that lie on axes of the same names in these modules as some groups do."""
    graph = plan.graph
    are_cut = cut_groups(plan, np.arange(len(graph.classes.channel)))
    alike: dict[tuple[str, int], set[int]] = {}
    for axis in graph.record.axes:
        around = [module for module in modules if axis.tensor.startswith(f"{module}.")]
        own = np.unique(graph.group_of_channel[graph.classes.channel[axis.slots]]).tolist() if around else []
        for module in around:
            alike.setdefault((axis.tensor.removeprefix(module), axis.dim), set()).update(are_cut.intersection(own))
    return frozenset[int]().union(*(found for found in alike.values() if found & groups))


class _Halving:
    """Finds the groups that can't be cut, alone or beside those that fit, by trying half of them at a time.

    After `_HALVES` trials, over all searches of one fit, what is still suspect is all taken for guilty.
    """

    def __init__(self, subject: Subject, verifying: bool) -> None:
        self._subject, self._verifying = subject, verifying
        self._left = _HALVES

    def culprits(self, plan: Plan) -> frozenset[int]:
        """The culprits among the groups that a plan cuts."""
        groups = sorted(cut_groups(plan, np.arange(len(plan.graph.classes.channel))))
        return frozenset(self._among(plan, groups, ()))

    def _among(self, plan: Plan, groups: Sequence[int], beside: Sequence[int]) -> list[int]:
        """The culprits among groups that don't all fit beside others, which do."""
        if len(groups) < 2 or self._left <= 0:
            return list(groups)
        half = len(groups) // 2
        first, second = groups[:half], groups[half:]
        if self._fits(plan, [*first, *beside]):  # so all of it together is what is known not to fit
            return self._among(plan, second, [*beside, *first])
        found = self._among(plan, first, beside)
        beside = [*beside, *(group for group in first if group not in found)]
        if not self._fits(plan, [*second, *beside]):
            found.extend(self._among(plan, second, beside))
        return found

    def _fits(self, plan: Plan, groups: Sequence[int]) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        keep = np.ones_like(plan.keep)
        for group in groups:
            channels = plan.graph.groups[group].channels
            keep[channels] = plan.keep[channels]
        try:
            self._subject.try_plan(replace(plan, keep=keep), self._verifying)
        except Misfit:
            return False
        return True
