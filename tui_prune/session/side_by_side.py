"""Several plans of one session beside each other: kept under names, evaluated and timed one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from tui_prune.archives.pruned_file import checksum
from tui_prune.cost.bench import device_of, measure
from tui_prune.cost.measured_times import environment
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.result import Accuracy
from tui_prune.session.recoveries import Recoveries
from tui_prune.session.shelf import Figures, NamedPlan, Shelf, figures_to_dicts
from tui_prune.tasks.task import Task


class SideBySide(Recoveries):
    """The part of a session that compares plans. What was measured is remembered by recipe."""

    _shelf: Shelf = Shelf()
    _figures: dict[Recipe, Figures]
    _uncut_latency: float | None = None

    @property
    def recipe(self) -> Recipe:
        """The present choice."""
        raise NotImplementedError

    def set_task(self, task: Task | None) -> None:
        """As `Recoveries.set_task`: what plans scored by another task is forgotten, too."""
        super().set_task(task)
        self._figures = {key: replace(one, accuracy=None, recovered=None) for key, one in self._figures.items()}
        vars(self).pop("_measured_by", None)

    def _report_by_the_others(self) -> None:
        before = self._chosen
        super()._report_by_the_others()
        if self._chosen and not before:  # what all examples said can't be compared with what some say
            self._figures = {key: replace(one, accuracy=None, recovered=None) for key, one in self._figures.items()}

    # Names

    @property
    def shelf(self) -> Shelf:
        """The plans that are kept under names."""
        return self._shelf

    def keep_plan(self, name: str) -> NamedPlan:
        """Keep the present recipe under a name. Raises `UsageError` for a name that won't do, or a plan that is kept
        already."""
        self._shelf = self._shelf.with_plan(name, self.recipe)
        return self._shelf.plans[-1]

    def rename_plan(self, old: str, new: str) -> None:
        """Give a kept plan another name. Raises `UsageError` for one that won't do."""
        self._shelf = self._shelf.renamed(old, new)

    def drop_plan(self, name: str) -> None:
        """Let go of a kept plan."""
        self._shelf = self._shelf.without(name)

    # Figures

    def figures(self, recipe: Recipe) -> Figures:
        """What is known of the network that a recipe gives."""
        found = self._figures.get(recipe, Figures())
        if all(one.plan.recipe != recipe for one in self.recoveries):  # it is no longer held
            found = replace(found, recovered=None)
        if recipe == Recipe():  # nothing is cut
            known = self._baseline_score
            accuracy = None if known is None else self._reported(known)
            return replace(found, accuracy=accuracy, latency=self._uncut_latency)
        return found

    def evaluate_plans(self, recipes: Sequence[Recipe], progress: Progress = silent) -> None:
        """Evaluate the networks of recipes by the task, those that weren't before. What `progress` stops keeps what it
        has found so far.

        Raises `TuiPruneError` without a task, or when it or a cut fails.
        """
        task = self._reporting_task()
        baseline = self._baseline(part(progress, 0.0, 0.1))
        for number, recipe in enumerate(recipes):
            step = part(progress, 0.1 + 0.9 * number / len(recipes), 0.1 + 0.9 * (number + 1) / len(recipes))
            if self.figures(recipe).accuracy is not None:
                continue
            plan = self._plan_of(recipe)
            if not plan.cuts:
                self._learn(recipe, accuracy=baseline, cost=plan.after)
                continue
            result = self._cut_aside(plan, part(step, 0.0, 0.4))
            score = task.score(result.model, part(step, 0.4, 1.0))
            self._learn(recipe, accuracy=score, cost=result.plan.after)

    def time_plans(self, recipes: Sequence[Recipe], progress: Progress = silent) -> None:
        """Measure the latency of the networks of recipes on this device, those that weren't before, each in turn with
        the uncut network. What `progress` stops keeps what it has found so far.

        Raises `TuiPruneError` when a cut fails.
        """
        for number, recipe in enumerate(recipes):
            step = part(progress, number / len(recipes), (number + 1) / len(recipes))
            if self.figures(recipe).latency is not None:
                continue
            plan, models = self._plan_of(recipe), [self.opened.module]
            if plan.cuts:
                result = self._cut_aside(plan, part(step, 0.0, 0.5))
                plan = result.plan
                models.append(result.model)
            both = measure(models, *self._subject.arguments, part(step, 0.5, 1.0))
            self._uncut_latency = both[0].latency
            self._learn(recipe, latency=both[-1].latency, uncut_latency=both[0].latency, cost=plan.after)

    def _learn(self, recipe: Recipe, **found: Any) -> None:
        _ = self._measured_by  # read now, off the event loop, since it may take a while
        self._figures[recipe] = replace(self._figures.get(recipe, Figures()), **found)

    def _note(self, plan: Plan, accuracy: Accuracy) -> None:
        super()._note(plan, accuracy)
        known = {} if accuracy.after is None else {"accuracy": accuracy.after}
        self._learn(plan.recipe, **known, recovered=accuracy.recovered, cost=plan.after)

    # What is kept between sessions

    @property
    def _made_from(self) -> dict[str, str]:
        return self._measured_by

    @cached_property
    def _measured_by(self) -> dict[str, str]:
        """What the figures depend on beside the recipe."""
        task = ""
        try:
            if self.task is not None and self.task.stamp is not None:
                task = f"{self.task.spec} {checksum(dict(self.task.stamp()))}"
            elif self.task is not None and self.task.file is not None:
                task = f"{self.task.file} {hashlib.sha256(self.task.file.read_bytes()).hexdigest()}"
        except OSError:
            task = ""
        device = environment(device_of(self.opened.module))
        return {"weights": self._weights_digest, "task": task, "device": device}

    def _figures_to_keep(self) -> dict[str, Any]:
        if not self._figures:
            return {}
        return {"by": self._measured_by, "of": figures_to_dicts(self._figures)}

    def _figures_that_hold(self, figures: Mapping[Recipe, Figures], by: Mapping[str, Any]) -> dict[Recipe, Figures]:
        """Of figures that were kept, those that hold for the present weights, task and device."""
        now = self._measured_by if figures else {}
        if not now.get("weights") or by.get("weights") != now["weights"]:
            return {}
        held = {}
        for recipe, one in figures.items():
            if by.get("task") != now["task"] or not now["task"]:
                one = replace(one, accuracy=None)
            if by.get("device") != now["device"]:
                one = replace(one, latency=None, uncut_latency=None)
            held[recipe] = one
        return held
