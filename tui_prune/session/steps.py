"""The steps that a session has taken: each is a recipe, and any of them can be gone back to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tui_prune.errors import UsageError
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.session.words import in_words, what_changed


class Step(NamedTuple):
    """A choice that was made."""

    recipe: Recipe
    words: str
    """What it has changed: "ratio of layer1.0.conv1 50 %"."""


@dataclass(frozen=True, eq=False)
class Choices:
    """All recipes that were chosen, and which of them holds, with its plan. Each change gives another one."""

    recipes: tuple[Recipe, ...]
    """The first one first: also those after the present one, which can be chosen again."""
    place: int
    plan: Plan

    @property
    def recipe(self) -> Recipe:
        """The present one."""
        return self.recipes[self.place]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What each of the recipes has changed."""
        first = self.recipes[0]
        words = ["as opened" if first == Recipe() else in_words(first)]
        words += [what_changed(before, after) for before, after in zip(self.recipes, self.recipes[1:], strict=False)]
        return tuple(map(Step, self.recipes, words))

    def then(self, recipe: Recipe, plan: Plan) -> Choices:
        """One more step, in the place of those that were taken back."""
        return Choices((*self.recipes[: self.place + 1], recipe), self.place + 1, plan)

    def at(self, place: int, plan: Plan) -> Choices:
        """The same at another step."""
        return replace(self, place=place, plan=plan)

    def with_plan(self, plan: Plan) -> Choices:
        """The same with another plan of the present recipe."""
        return replace(self, plan=plan)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which `read_steps` takes."""
        return {"history": [recipe.to_dict() for recipe in self.recipes], "place": self.place}


def read_steps(values: Mapping[str, Any]) -> tuple[tuple[Recipe, ...], int]:
    """The recipes that `Choices.to_dict` gave, and which of them held. Raises `UsageError` for anything else."""
    recipes, place = values.get("history"), values.get("place")
    if (
        not isinstance(recipes, list)
        or not all(isinstance(recipe, Mapping) for recipe in recipes)
        or not isinstance(place, int)
        or isinstance(place, bool)
        or not 0 <= place < len(recipes)
    ):
        raise UsageError("The steps that were kept can't be read.")
    return tuple(Recipe.from_dict(recipe) for recipe in recipes), place
