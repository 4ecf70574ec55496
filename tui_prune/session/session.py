"""What the user has chosen so far: recipe, plan, undo and redo. Knows no screen; the app, the command line and the
Python functions all work through it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from torch import nn

from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.cost.cost import Cost
from tui_prune.cost.latency_table import LatencyTable, read_table
from tui_prune.errors import Remedy, TuiPruneError, UsageError
from tui_prune.graph.branches import Branch
from tui_prune.graph.graph import Graph
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.result import Result
from tui_prune.saving.checkpoint import compose
from tui_prune.session import changes
from tui_prune.session.evaluation import Evaluation
from tui_prune.session.looking import LayerDetails, Look, details_of, look_at, next_threshold, norm_scales
from tui_prune.session.networks import Networks
from tui_prune.session.plans import Planning
from tui_prune.session.remote import absolute
from tui_prune.session.searching import Search
from tui_prune.session.selection import named
from tui_prune.session.shelf import Figures, NamedPlan, Shelf
from tui_prune.session.state import Outcome, State
from tui_prune.session.steps import Choices, Step
from tui_prune.session.trade_off import Trial
from tui_prune.session.work import Work
from tui_prune.tasks.registry import open_task
from tui_prune.tasks.task import Task

Given = ParamSpec("Given")
Found = TypeVar("Found")


def _at_once(work: Callable[Concatenate[Work, Given], Found]) -> Callable[Concatenate[Session, Given], Found]:
    """The method of a session that does some work on what it knows now, and takes in what comes of it."""

    @wraps(work)
    def do(session: Session, /, *given: Given.args, **choices: Given.kwargs) -> Found:
        return work(session.work(), *given, **choices)

    return do


def _searching(work: Callable[Concatenate[Search, Given], Found]) -> Callable[Concatenate[Session, Given], Found]:
    """The same of work that looks for recipes."""

    @wraps(work)
    def do(session: Session, /, *given: Given.args, **choices: Given.kwargs) -> Found:
        return work(session.search(), *given, **choices)

    return do


class Session:
    """One opened network and the choices made for it.

    All that it knows is in one frozen `State`, which each choice and each outcome of long work replaces. To be used
    from one thread. `work` and `search` give long work that may run in another one and changes nothing here: `accept`
    takes in what comes of it. The methods of the same names do both at once.
    """

    def __init__(
        self,
        opened: OpenedModel,
        *,
        example_kwargs: Mapping[str, Any] | None = None,
        task: Task | None = None,
        recipe: Recipe | None = None,
        probing: bool = True,
        table: LatencyTable | None = None,
        progress: Progress = silent,
    ) -> None:
        """Trace the network; with `probing`, also try a cut, which shows the sizes that its own code fixes, and the
        widths of uneven groups for any recipe. Without it, the cut itself shows them, for this recipe. `table` says
        what calls take on the device that latencies are planned for; None: this one is measured.

        Raises `TuiPruneError` when its forward pass fails, `UsageError` when the recipe doesn't fit it.
        """
        self.opened = opened
        self.request: OpenRequest | None = None
        """How the network and the task can be opened again, in another process; None where they are objects."""
        self.keep_recovered: Callable[[Result], object] | None = None
        """Told of each recovered network, and of the best so far while one is fine-tuned; called in the thread that
        recovers, from within the user's own loop."""
        self._recovering: set[object] = set()
        self._turn = threading.Lock()
        """Held for as long as a state takes the place of another one."""
        kwargs = opened.example_kwargs if example_kwargs is None else example_kwargs
        first = Recipe() if recipe is None else recipe
        networks = Networks(opened, kwargs, first, probing=probing, table=table, progress=progress)
        evaluation = Evaluation(networks, task)
        planning = Planning(networks, evaluation.task)
        plan = planning.on(networks.graph_for(first), first, progress)
        self._state = State(Choices((first,), 0, plan), planning, evaluation)
        progress("trace", 1.0)

    @classmethod
    def open(
        cls,
        spec: str | None = None,
        *,
        weights: str | Path | None = None,
        input_spec: str | None = None,
        device: str = "cpu",
        model: nn.Module | None = None,
        task: str | Path | None = None,
        recipe: Recipe | None = None,
        probing: bool = True,
        latency_table: str | Path | None = None,
        progress: Progress = silent,
    ) -> Session:
        """Open what the user names (`loading.open_model`) and trace it. Raises `TuiPruneError`, `UsageError`."""
        loaded = None if task is None else open_task(task)
        table = None if latency_table is None else read_table(latency_table)
        opened = open_model(spec, weights=weights, input_spec=input_spec, device=device, model=model, progress=progress)
        try:
            session = cls(opened, task=loaded, recipe=recipe, probing=probing, table=table, progress=progress)
        except TuiPruneError as error:
            if opened.guess is None or opened.guess.runs or isinstance(error, UsageError):
                raise
            raise TuiPruneError(f"{error} {opened.guess}", remedies=[Remedy.INPUT, *error.remedies]) from error
        if model is None:
            files = absolute(spec), absolute(weights), input_spec, absolute(task), device, absolute(latency_table)
            session.request = OpenRequest(*files)
        return session

    # What there is

    @property
    def snapshot(self) -> State:
        """All that is known now; it doesn't change."""
        return self._state

    @property
    def task(self) -> Task | None:
        return self._state.task

    @property
    def recipe(self) -> Recipe:
        return self._state.choices.recipe

    @property
    def plan(self) -> Plan:
        return self._state.plan

    @property
    def graph(self) -> Graph:
        return self._state.plan.graph

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches that a ratio of 1 for one of their layers lets go whole, where the code allows it."""
        return self._state.planning.networks.branches

    @property
    def latency_table(self) -> LatencyTable | None:
        """What calls take on the device that latencies are planned for; None: this one is measured."""
        return self._state.planning.networks.latency_table

    @property
    def saved_to(self) -> Path | None:
        """The checkpoint that was written last."""
        return self._state.saved_to

    @property
    def dirty(self) -> bool:
        """Whether there are choices, or a recovered network, that no saved checkpoint holds. Where nothing is chosen
        there is nothing to save, whatever was saved before."""
        if self.recipe == Recipe() and self.recovered is None:
            return False
        return self.recipe != self._state.saved or self.unsaved_recovery is not None

    def details(self, layer: str) -> LayerDetails:
        """What there is to see of a layer. Raises `UsageError` for a name that no layer has."""
        state = self._state
        return details_of(layer, self.opened.module, state.plan, state.planning.of(state.plan.graph))

    def look(self, path: str) -> Look:
        """What there is to see of a layer, or of all layers of a module; "" is the whole network.

        Raises `UsageError` for a name that neither has.
        """
        state, recovered = self._state, self._state.recovered
        return look_at(
            path,
            self.opened.module,
            state.plan,
            state.planning.of(state.plan.graph),
            calibration=state.task is not None and state.task.calibration is not None,
            measured=state.activations,
            reconstruction=None if recovered is None else recovered.report.reconstruction,
        )

    # Recipes that aren't chosen

    def waits_for(self, recipe: Recipe) -> str:
        """In words, the long work that `prepare` has to do before this recipe can be planned; empty: none.

        Raises `UsageError` where that can't be done, because the task has no calibration data.
        """
        return self._state.planning.waits_for(recipe)

    def preview(self, recipe: Recipe) -> Plan:
        """The plan that a recipe would give; nothing changes. Raises `UsageError`, also where long work is needed
        first: a preview answers at once."""
        return self._state.planning.preview(recipe)

    def cost(self, recipe: Recipe) -> Cost | None:
        """What the network would need by a recipe; None where it takes long to say, or the recipe doesn't fit."""
        return self._state.planning.cost(recipe)

    def holds(self, plan: Plan) -> bool:
        """Whether a plan follows from what is known of the network now: a cut may have found widths that its own code
        fixes."""
        return plan.graph is self._state.planning.networks.graph_for(plan.recipe)

    # Choices. Each is one step that can be undone; a choice that can't be planned raises and changes nothing.

    @property
    def steps(self) -> tuple[Step, ...]:
        """All choices, the first one first: also those after the present place, which can be made again."""
        return self._state.choices.steps

    @property
    def place(self) -> int:
        """Which of `steps` is the present one."""
        return self._state.choices.place

    @property
    def can_undo(self) -> bool:
        return self.place > 0

    @property
    def can_redo(self) -> bool:
        return self.place < len(self._state.choices.recipes) - 1

    def apply(self, recipe: Recipe) -> Plan:
        """Choose a whole recipe. Raises `UsageError`."""
        if recipe != self.recipe:
            plan = self._state.planning.make(recipe)
            self._change(lambda state: replace(state, choices=state.choices.then(recipe, plan)))
        return self.plan

    def undo(self) -> Plan:
        """Take the last choice back; nothing where there is none."""
        return self.go_to(self.place - 1) if self.can_undo else self.plan

    def redo(self) -> Plan:
        return self.go_to(self.place + 1) if self.can_redo else self.plan

    def go_to(self, place: int) -> Plan:
        """Go to one of `steps`; none is lost by that. Raises `UsageError` where there is no such step."""
        recipes = self._state.choices.recipes
        if not 0 <= place < len(recipes):
            raise UsageError(f"There is no step {place}: there are {len(recipes)}.")
        plan = self._state.planning.make(recipes[place])
        self._change(lambda state: replace(state, choices=state.choices.at(place, plan)))
        return plan

    def set_ratio(self, ratio: float, layer: str | None = None) -> Plan:
        """Set the global ratio, or that of a layer and all that are tied to it, or of all that a glob means."""
        return self.apply(changes.with_ratio(self.plan, named(self.plan, layer), ratio))

    def set_alignment(self, align: int | str, layer: str | None = None) -> Plan:
        """Set the global alignment ("auto": what suits this device), or that of a layer and all that are tied to it, or
        of all that a glob means."""
        return self.apply(changes.with_alignment(self.plan, named(self.plan, layer), align))

    def toggle_lock(self, layer: str) -> Plan:
        """Lock a layer, take a lock of the user's off, or lift the lock of a model output.

        Raises `UsageError` with the reason when the lock can't be lifted.
        """
        return self.apply(changes.with_lock_toggled(self.plan, named(self.plan, layer)))

    def step_threshold(self, by: int, path: str = "") -> Plan:
        """Move the threshold past some of the batch norm scales in a module, or over a layer: up (1) or down (-1)."""
        recipe, norms = self.recipe, norm_scales(self.opened.module, self.plan, path)
        if norms is None:
            raise UsageError(f"No batch norm with scales runs over {path or 'the network'}, so none can be compared.")
        now = recipe.threshold if recipe.criterion == "bn_scale" else None
        threshold = next_threshold(norms.values, now, by)
        criterion = recipe.criterion if threshold is None else "bn_scale"
        return self.apply(recipe.changed(threshold=threshold, criterion=criterion))

    def set_task(self, task: Task | None) -> None:
        """Work by this task from now on. What another one has measured is forgotten; what was recovered by it stays.

        Where the recipe's criterion needs calibration data, `prepare` runs that of the new task.
        """
        evaluation = Evaluation(self._state.planning.networks, task)
        self._change(lambda state: state.with_evaluation(evaluation))

    # Plans side by side

    @property
    def shelf(self) -> Shelf:
        """The plans that are kept under names."""
        return self._state.shelf

    def keep_plan(self, name: str) -> NamedPlan:
        """Keep the present recipe under a name. Raises `UsageError` for a name that won't do, or a plan that is kept
        already."""
        self._change(lambda state: replace(state, shelf=state.shelf.with_plan(name, state.choices.recipe)))
        return self.shelf.plans[-1]

    def rename_plan(self, old: str, new: str) -> None:
        """Give a kept plan another name. Raises `UsageError` for one that won't do."""
        self._change(lambda state: replace(state, shelf=state.shelf.renamed(old, new)))

    def drop_plan(self, name: str) -> None:
        """Let go of a kept plan."""
        self._change(lambda state: replace(state, shelf=state.shelf.without(name)))

    def figures(self, recipe: Recipe) -> Figures:
        """What is known of the network that a recipe gives."""
        return self._state.figures(recipe)

    def trade_off(self) -> tuple[Trial, ...]:
        """All that was measured by the task (`State.trade_off`)."""
        return self._state.trade_off()

    def live_score(self, recipe: Recipe) -> float | None:
        """What a recipe's network would be worth once its layers were refitted (`Search.measure_live`); None: it wasn't
        measured."""
        trial = self._state.trials.get((recipe, "live"))
        return None if trial is None else trial.accuracy

    # Recovered networks

    @property
    def recovering(self) -> bool:
        """Whether some network is being recovered right now, or its outcome isn't taken in yet."""
        return bool(self._recovering)

    @property
    def recoveries(self) -> tuple[Result, ...]:
        """The recovered networks that are held, the latest last."""
        return self._state.recoveries.held

    @property
    def recovered(self) -> Result | None:
        """The recovered network of the present plan; None where it wasn't recovered, or the plan keeps other channels
        now. It comes back when the choices do.
        """
        return self._state.recovered

    @property
    def unsaved_recovery(self) -> Result | None:
        """The recovered network of the present plan where no saved checkpoint holds it."""
        found = self.recovered
        return found if found is not None and self.recovery_file(found) is None else None

    def recovery_file(self, found: Result) -> Path | None:
        """The checkpoint that the user has saved a recovered network to."""
        return self._state.recoveries.file(found)

    def packed(self, found: Result) -> Checkpoint:
        """What `take_up` of another session on the same network takes. Raises `TuiPruneError` where there is something
        that a checkpoint can't hold."""
        return compose(Path("recovered weights"), found, self._state.evaluation.made_from)

    # Long work

    def work(self, deliver: Callable[[Outcome], object] | None = None) -> Work:
        """Long work on what is known now, for any thread.

        `deliver` gets each outcome in that thread, and has `accept` called with it, in the one that the session is used
        from. Left out, it is accepted where it is found.
        """
        return Work(
            self._state,
            deliver or self.accept,
            request=self.request,
            recovering=self._recovering,
            keep_recovered=None if self.keep_recovered is None else self._keep,
        )

    def search(self, deliver: Callable[[Outcome], object] | None = None) -> Search:
        """The same for work that looks for recipes by the task."""
        return Search(self.work(deliver))

    def accept(self, outcome: Outcome) -> None:
        """Take in what long work has found out, whatever was chosen meanwhile: it belongs to its own plan."""
        self._change(outcome.onto)
        self._recovering.discard(outcome)

    def _change(self, change: Callable[[State], State]) -> None:
        with self._turn:
            self._state = change(self._state)

    def _keep(self, result: Result) -> None:
        if self.keep_recovered is not None:
            self.keep_recovered(result)

    prepare = _at_once(Work.prepare)
    dead_channels = _at_once(Work.dead_channels)
    cut = _at_once(Work.cut)
    result = _at_once(Work.result)
    save = _at_once(Work.save)
    baseline = _at_once(Work.baseline)
    evaluate = _at_once(Work.evaluate)
    evaluate_plans = _at_once(Work.evaluate_plans)
    time_plans = _at_once(Work.time_plans)
    latency_work = _at_once(Work.latency_work)
    latency_report = _at_once(Work.latency_report)
    measure_activations = _at_once(Work.measure_activations)
    recover = _at_once(Work.recover)
    elsewhere = _at_once(Work.elsewhere)
    take_recovered = _at_once(Work.take_recovered)
    take_up = _at_once(Work.take_up)
    recognise = _at_once(Work.recognise)
    sensitivity = _searching(Search.sensitivity)
    sweep = _searching(Search.sweep)
    error_curves = _searching(Search.error_curves)
    suggest = _searching(Search.suggest)
    expected = _searching(Search.expected)

    def cut_to(self, keep: np.ndarray, progress: Progress = silent) -> Result:
        """As `cut`, by the present recipe's plan but with exactly these channels (bool, one per channel of its graph),
        which somebody else has chosen. Raises `TuiPruneError` where that can't be proved."""
        plan = self._state.planning.of(self.graph).with_channels(self.plan, keep)
        self._change(lambda state: replace(state, choices=state.choices.with_plan(plan)))
        result = self.cut(progress)
        if not np.array_equal(result.plan.keep, keep):
            raise TuiPruneError("The network's own code can't follow that choice of channels.")
        return result

    # What is worth keeping when the line drops

    def state(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what `restore` takes in a new session on the same network."""
        return self._state.to_dict()

    def restore(self, state: Mapping[str, Any], progress: Progress = silent) -> None:
        """Take up the steps and plans of another session's `state`. What was measured is taken up where weights, task
        and device are the same.

        Raises `UsageError`, and changes nothing, where the state isn't one or doesn't fit this network.
        """
        found = self._state.restored(state)
        progress("plan", 1.0)  # raises where this was stopped: then the choices that are there stay
        self._change(lambda now: now.with_choices_of(found))
