"""All that a session knows, as one frozen value, and the outcomes of long work that add to it.

Work in a thread begins with a state and hands out outcomes. Each names the plan that it belongs to, and gives the state
that follows from another one: `Session.accept` takes it in. So nothing that a thread reads changes under it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.result import Accuracy, Result
from tui_prune.session.evaluation import Evaluation
from tui_prune.session.looking.activations import Activations
from tui_prune.session.plans import Planning
from tui_prune.session.recoveries import Recoveries
from tui_prune.session.shelf import Figures, Measurements, Shelf, read_measurements
from tui_prune.session.steps import Choices, read_steps
from tui_prune.session.trade_off import Kind, Trial
from tui_prune.tasks.evidence import Half
from tui_prune.tasks.task import Task

VERSION = 1
"""Of what `State.to_dict` gives."""


@dataclass(frozen=True, eq=False)
class State:
    """What was chosen for one network, and what was found out about it."""

    choices: Choices
    planning: Planning
    evaluation: Evaluation
    reporting: Half | None = None
    """The half of the task's examples that tells what a network is worth, since the other half has chosen something;
    None: all of them."""
    cut: Result | None = None
    """The latest cut network."""
    measured: tuple[Plan, Accuracy] | None = None
    """The latest accuracy."""
    recoveries: Recoveries = field(default_factory=Recoveries)
    measurements: Measurements = field(default_factory=Measurements)
    shelf: Shelf = field(default_factory=Shelf)
    trials: Mapping[tuple[Recipe, Kind], Trial] = field(default_factory=dict)
    """What scans and suggestions have measured."""
    activations: Mapping[str, Activations] | None = None
    saved: Recipe = field(default_factory=Recipe)
    saved_to: Path | None = None

    @property
    def plan(self) -> Plan:
        """The present plan."""
        return self.choices.plan

    @property
    def recovered(self) -> Result | None:
        """The recovered network of the present plan."""
        return self.recoveries.of(self.plan)

    @property
    def task(self) -> Task | None:
        """The task, by all of its examples."""
        return self.evaluation.task

    def plan_of(self, recipe: Recipe) -> Plan:
        """The plan of a recipe. Raises `UsageError`."""
        return self.plan if self.plan.recipe == recipe else self.planning.make(recipe)

    def figures(self, recipe: Recipe) -> Figures:
        """What is known of the network that a recipe gives."""
        found = self.measurements.figures.get(recipe, Figures())
        if all(one.plan.recipe != recipe for one in self.recoveries.held):  # it is no longer held
            found = replace(found, recovered=None)
        if recipe == Recipe():  # nothing is cut
            known = self.evaluation.known_baseline(self.reporting)
            return replace(found, accuracy=known, latency=self.measurements.uncut_latency)
        return found

    def trade_off(self) -> tuple[Trial, ...]:
        """All that was measured by the task: the uncut network, plans, points of a scan, candidates of a suggestion."""
        found = [*self.trials.values()]
        baseline = self.evaluation.known_baseline(self.reporting)
        if baseline is not None:
            found.append(Trial(Recipe(), self.plan.before, baseline, "uncut"))
        for recipe in self.measurements.figures:
            one, kept = self.figures(recipe), self.shelf.find(recipe)
            name = "" if kept is None else kept.name
            if one.cost is None or recipe == Recipe():
                continue
            if one.recovered is not None:
                found.append(Trial(recipe, one.cost, one.recovered, "plan", name, recovered=True))
            elif one.accuracy is not None:
                found.append(Trial(recipe, one.cost, one.accuracy, "plan", name))
        return tuple(found)

    def with_evaluation(self, evaluation: Evaluation) -> State:
        """The same by another task: what the last one has measured is forgotten, what was recovered by it stays."""
        return replace(
            self,
            planning=self.planning.with_task(evaluation.task),
            evaluation=evaluation,
            reporting=None,
            measured=None,
            activations=None,
            recoveries=self.recoveries.without_scores(),
            trials={},
            measurements=self.measurements.without_scores(),
        )

    def noting(self, plan: Plan, accuracy: Accuracy) -> State:
        """The same, with what the task has said of a plan's network."""
        known = {} if accuracy.after is None else {"accuracy": accuracy.after}
        found = self.measurements.with_figures(plan.recipe, **known, recovered=accuracy.recovered, cost=plan.after)
        return replace(self, measured=(plan, accuracy), measurements=found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what is worth keeping when the line drops."""
        measured = self.measurements
        return {
            "version": VERSION,
            **self.choices.to_dict(),
            "plans": self.shelf.to_list(),
            "figures": measured.to_dict(self.evaluation.made_from) if measured.figures else {},
        }

    def restored(self, values: Mapping[str, Any]) -> State:
        """The same with the choices that another session's `to_dict` gave. What was measured is taken up where weights,
        task and device are the same. Raises `UsageError` where the values aren't such, or don't fit this network."""
        if not isinstance(values, Mapping) or values.get("version") != VERSION:
            raise UsageError("What was kept of the last session is of another version of tui-prune.")
        recipes, place = read_steps(values)
        shelf = Shelf.from_list(values.get("plans", []))
        measured, then = read_measurements(values.get("figures"))
        held = measured.that_hold(then, self.evaluation.made_from) if measured.figures else Measurements()
        for recipe in (*recipes, *(plan.recipe for plan in shelf.plans)):
            self.planning.check(recipe)
        if held.uncut_latency is None:
            held = replace(held, uncut_latency=self.measurements.uncut_latency)
        choices = Choices(recipes, place, self.planning.make(recipes[place]))
        return replace(self, choices=choices, shelf=shelf, measurements=held)

    def with_choices_of(self, other: State) -> State:
        """The same with the steps, the plans side by side and what was measured of another one."""
        return replace(self, choices=other.choices, shelf=other.shelf, measurements=other.measurements)


@dataclass(frozen=True, eq=False)
class Outcome(ABC):
    """Something that long work has found out."""

    plan: Plan
    """The plan that it belongs to."""
    evaluation: Evaluation
    """By which task. What another one has said in the meantime isn't mixed with it."""

    @abstractmethod
    def onto(self, state: State) -> State:
        """The state that follows from another one."""


@dataclass(frozen=True, eq=False)
class CutMade(Outcome):
    """A plan was carried out. The result's own plan is another one where the network's code has locked something."""

    result: Result
    remembering: bool = True
    """Whether it takes the place of the latest cut network."""

    def onto(self, state: State) -> State:
        """What the cut has locked holds for its recipe, and for all others where it is the present one's."""
        found = self.result.plan
        if found is not self.plan:
            present = state.plan is self.plan
            networks = state.planning.networks.learning(self.plan, found.graph, everywhere=present)
            choices = state.choices.with_plan(found) if present else state.choices
            state = replace(state, planning=state.planning.with_networks(networks), choices=choices)
        return replace(state, cut=self.result) if self.remembering else state


@dataclass(frozen=True, eq=False)
class Evaluated(Outcome):
    """The task has said what a plan's network is worth."""

    accuracy: Accuracy

    def onto(self, state: State) -> State:
        return state.noting(self.plan, self.accuracy) if state.evaluation is self.evaluation else state


@dataclass(frozen=True, eq=False)
class Recovered(Outcome):
    """A network has won accuracy back."""

    result: Result

    def onto(self, state: State) -> State:
        result, accuracy = self.result, self.result.report.accuracy
        if state.evaluation is not self.evaluation:
            result = replace(result, report=replace(result.report, accuracy=None))
        elif accuracy is not None:
            state = state.noting(result.plan, accuracy)
        return replace(state, recoveries=state.recoveries.holding(result))


@dataclass(frozen=True, eq=False)
class Recognised(Outcome):
    """A recovered network is in a file of the user's."""

    recoveries: Recoveries

    def onto(self, state: State) -> State:
        models = {found.model for found in state.recoveries.held}
        known = {model: file for model, file in self.recoveries.files.items() if model in models}
        return replace(state, recoveries=replace(state.recoveries, files={**state.recoveries.files, **known}))


@dataclass(frozen=True, eq=False)
class Compared(Outcome):
    """Something was measured of a plan's network, to be compared with others."""

    recipe: Recipe
    figures: Mapping[str, object]
    """Fields of `Figures`."""

    def onto(self, state: State) -> State:
        other = state.evaluation is not self.evaluation
        found = {name: value for name, value in self.figures.items() if not (other and name == "accuracy")}
        return replace(state, measurements=state.measurements.with_figures(self.recipe, **found))


@dataclass(frozen=True, eq=False)
class Tried(Outcome):
    """A scan or a suggestion has measured cut networks."""

    trials: tuple[Trial, ...]

    def onto(self, state: State) -> State:
        if state.evaluation is not self.evaluation:
            return state
        return replace(state, trials={**state.trials, **{(one.recipe, one.kind): one for one in self.trials}})


@dataclass(frozen=True, eq=False)
class Chosen(Outcome):
    """Half of the task's examples has chosen something: from now on the other half tells what networks are worth."""

    def onto(self, state: State) -> State:
        """What all examples have said can't be compared with what half of them say."""
        if state.evaluation is not self.evaluation or state.reporting is not None:
            return state
        measurements = state.measurements.without_scores()
        return replace(state, reporting=Half.REPORTING, measured=None, measurements=measurements)


@dataclass(frozen=True, eq=False)
class ActivationsMeasured(Outcome):
    """Calibration data was run through the opened network."""

    activations: Mapping[str, Activations]

    def onto(self, state: State) -> State:
        return replace(state, activations=self.activations) if state.evaluation is self.evaluation else state


@dataclass(frozen=True, eq=False)
class Saved(Outcome):
    """A checkpoint was written."""

    result: Result
    file: Path

    def onto(self, state: State) -> State:
        recoveries = state.recoveries
        if self.result.report.recovered:
            recoveries = recoveries.saved(self.result, self.file)
        return replace(state, saved=self.plan.recipe, saved_to=self.file, recoveries=recoveries)
