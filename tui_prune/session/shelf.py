"""Plans that are kept side by side under names, and what was measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


def figures_to_dicts(figures: Mapping[Recipe, Figures]) -> dict[str, Any]:
    """Plain values, by the recipe as JSON."""
    return {json.dumps(recipe.to_dict()): figures_to_dict(one) for recipe, one in figures.items()}


def read_figures(values: Any) -> dict[Recipe, Figures]:
    """The figures that `figures_to_dicts` gave. Raises `UsageError` for anything else."""
    try:
        return {Recipe.from_dict(json.loads(text)): figures_from_dict(value) for text, value in values.items()}
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError("What was measured of the plans can't be read.") from error
