"""Plans that are kept side by side under names, and what was measured of the networks that they give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from tui_prune.cost.cost import Cost
from tui_prune.errors import UsageError
from tui_prune.planning.recipe import Recipe

LONGEST_NAME = 40


@dataclass(frozen=True)
class NamedPlan:
    """A recipe that was kept under a name."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Figures:
    """What was measured of the network that a recipe gives. Weights don't change, so it holds for the session."""

    accuracy: float | None = None
    """What the task says of the cut network."""
    recovered: float | None = None
    """The same once it was recovered."""
    latency: float | None = None
    """Seconds of one forward pass."""
    uncut_latency: float | None = None
    """That of the uncut network, measured in turn with it."""
    cost: Cost | None = None
    """What the network needs that was measured: its own code may have fixed widths that no plan could know of."""


@dataclass(frozen=True)
class Shelf:
    """Named plans in the order in which they were put there; every change gives a new shelf."""

    plans: tuple[NamedPlan, ...] = ()

    @property
    def free_name(self) -> str:
        """A name that none of them has: "plan 2"."""
        names = {plan.name for plan in self.plans}
        number = len(self.plans) + 1
        while f"plan {number}" in names:
            number += 1
        return f"plan {number}"

    def find(self, recipe: Recipe) -> NamedPlan | None:
        """The plan with this recipe."""
        return next((plan for plan in self.plans if plan.recipe == recipe), None)

    def with_plan(self, name: str, recipe: Recipe) -> Shelf:
        """One more. Raises `UsageError` for a name that won't do, and for a recipe that is there already."""
        known = self.find(recipe)
        if known is not None:
            raise UsageError(f"This plan is kept already, as {known.name}.")
        return Shelf((*self.plans, NamedPlan(self._free(name), recipe)))

    def renamed(self, old: str, new: str) -> Shelf:
        """One of them under another name. Raises `UsageError` for a name that won't do."""
        if new.strip() == old:
            return self
        name = self._free(new)
        return Shelf(tuple(NamedPlan(name, plan.recipe) if plan.name == old else plan for plan in self.plans))

    def without(self, name: str) -> Shelf:
        """All but one."""
        return Shelf(tuple(plan for plan in self.plans if plan.name != name))

    def _free(self, name: str) -> str:
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"Type a name of 1 to {LONGEST_NAME} letters.")
        if any(plan.name == name for plan in self.plans):
            raise UsageError(f"There is a plan called {name} already.")
        return name

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [{"name": plan.name, "recipe": plan.recipe.to_dict()} for plan in self.plans]

    @classmethod
    def from_list(cls, values: Any) -> Shelf:
        """The shelf that `to_list` gave. Raises `UsageError` for anything else."""
        shelf = cls()
        try:
            for value in values:
                shelf = shelf.with_plan(value["name"], Recipe.from_dict(value["recipe"]))
        except (TypeError, KeyError, AttributeError) as error:
            raise UsageError("The plans that were kept can't be read.") from error
        return shelf


def figures_to_dict(figures: Figures) -> dict[str, Any]:
    """Plain values; a recovered network is lost with its session, and so is what was measured of it."""
    return {name: value for name, value in asdict(figures).items() if name != "recovered"}


def figures_from_dict(values: Any) -> Figures:
    """The figures that `figures_to_dict` gave. Raises `UsageError` for anything else."""
    try:
        numbers = [values[name] for name in ("accuracy", "latency", "uncut_latency")]
        cost = None if values["cost"] is None else Cost(*(int(values["cost"][name]) for name in Cost.__match_args__))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UsageError("What was measured of the plans can't be read.") from error
    if not all(value is None or (isinstance(value, (int, float)) and isfinite(value)) for value in numbers):
        raise UsageError("What was measured of the plans can't be read.")
    accuracy, latency, uncut = numbers
    return Figures(accuracy, None, latency, uncut, cost)


@dataclass(frozen=True)
class Measurements:
    """What was measured, by recipe. Each change gives another one."""

    figures: Mapping[Recipe, Figures] = field(default_factory=dict)
    uncut_latency: float | None = None
    """The latest of the uncut network, in seconds."""

    def with_figures(self, recipe: Recipe, **found: Any) -> Measurements:
        """The same, with what was found of the network by a recipe."""
        known = replace(self.figures.get(recipe, Figures()), **found)
        return Measurements({**self.figures, recipe: known}, found.get("uncut_latency", self.uncut_latency))

    def without_scores(self) -> Measurements:
        """The same, of which no task has said anything."""
        return self._each(accuracy=None, recovered=None)

    def _each(self, **fields: Any) -> Measurements:
        return replace(self, figures={key: replace(one, **fields) for key, one in self.figures.items()})

    def to_dict(self, made_from: Mapping[str, str]) -> dict[str, Any]:
        """Plain values, which `read_measurements` takes, with what they depend on (`Evaluation.made_from`)."""
        figures = {json.dumps(recipe.to_dict()): figures_to_dict(one) for recipe, one in self.figures.items()}
        return {"by": dict(made_from), "of": figures}

    def that_hold(self, then: Mapping[str, Any], now: Mapping[str, str]) -> Measurements:
        """Those that hold for the present weights, task and device, by what they depended on and what they would."""
        if not now.get("weights") or then.get("weights") != now["weights"]:
            return Measurements()
        held = self
        if then.get("task") != now["task"] or not now["task"]:
            held = held._each(accuracy=None)
        if then.get("device") != now["device"]:
            held = held._each(latency=None, uncut_latency=None)
        known = [one.uncut_latency for one in held.figures.values() if one.uncut_latency is not None]
        return replace(held, uncut_latency=known[-1] if known else None)


def read_measurements(values: Any) -> tuple[Measurements, Mapping[str, Any]]:
    """What `Measurements.to_dict` gave, and what that depended on. Raises `UsageError` for anything else."""
    measured = values or {}
    try:
        then = measured.get("by", {})
        figures = {
            Recipe.from_dict(json.loads(text)): figures_from_dict(value)
            for text, value in measured.get("of", {}).items()
        }
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError("What was measured of the plans can't be read.") from error
    if not isinstance(then, Mapping):
        raise UsageError("What was measured of the plans can't be read.")
    return Measurements(figures), then
