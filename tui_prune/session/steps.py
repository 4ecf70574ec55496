"""The steps that a session has taken: each is a recipe, and any of them can be gone back to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tui_prune.cost.cost import Cost
from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.session.words import in_words, what_changed


class Step(NamedTuple):
    """A choice that was made."""

    recipe: Recipe
    words: str
    """What it has changed: "ratio of layer1.0.conv1 50 %"."""


class Steps:
    """The part of a session that goes from recipe to recipe."""

    _plan: Plan
    _history: list[Recipe]
    _place: int
    _costs: dict[tuple[Graph, Recipe], Cost]

    def preview(self, recipe: Recipe) -> Plan:
        """The plan that a recipe would give; nothing changes. Raises `UsageError`, also where long work is needed
        first: a preview answers at once."""
        waits_for = self.waits_for(recipe)
        if waits_for:
            raise UsageError(f"Before this can be shown {waits_for}.")
        return self._make_plan(recipe)

    def waits_for(self, recipe: Recipe) -> str:
        """In words, the long work that is needed before this recipe can be planned."""
        raise NotImplementedError

    def _make_plan(self, recipe: Recipe) -> Plan:
        """The plan of a recipe. Raises `UsageError`."""
        raise NotImplementedError

    def _graph_for(self, recipe: Recipe) -> Graph:
        """The graph in a recipe's units."""
        raise NotImplementedError

    @property
    def recipe(self) -> Recipe:
        return self._history[self._place]

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def graph(self) -> Graph:
        return self._plan.graph

    @property
    def steps(self) -> tuple[Step, ...]:
        """All choices, the first one first: also those after the present place, which can be made again."""
        first = self._history[0]
        words = ["as opened" if first == Recipe() else in_words(first)]
        words += [what_changed(before, after) for before, after in zip(self._history, self._history[1:], strict=False)]
        return tuple(map(Step, self._history, words))

    @property
    def place(self) -> int:
        """Which of `steps` is the present one."""
        return self._place

    @property
    def can_undo(self) -> bool:
        return self._place > 0

    @property
    def can_redo(self) -> bool:
        return self._place < len(self._history) - 1

    def cost(self, recipe: Recipe) -> Cost | None:
        """What the network would need by a recipe; None where it takes long to say, or the recipe doesn't fit."""
        key = self._graph_for(recipe), recipe
        if key not in self._costs:
            try:
                self._costs[key] = self.preview(recipe).after
            except UsageError:
                return None
        return self._costs[key]

    def holds(self, plan: Plan) -> bool:
        """Whether a plan follows from what is known of the network now: a cut may have found widths that its own code
        fixes."""
        return plan.graph is self._graph_for(plan.recipe)

    def apply(self, recipe: Recipe) -> Plan:
        """Choose a whole recipe. Raises `UsageError`."""
        if recipe != self.recipe:
            plan = self._make_plan(recipe)
            self._history[self._place + 1 :] = [recipe]
            self._place += 1
            self._plan = plan
        return self._plan

    def undo(self) -> Plan:
        """Take the last choice back; nothing where there is none."""
        return self.go_to(self._place - 1) if self.can_undo else self._plan

    def redo(self) -> Plan:
        return self.go_to(self._place + 1) if self.can_redo else self._plan

    def go_to(self, place: int) -> Plan:
        """Go to one of `steps`; none is lost by that. Raises `UsageError` where there is no such step."""
        if not 0 <= place < len(self._history):
            raise UsageError(f"There is no step {place}: there are {len(self._history)}.")
        self._plan = self._make_plan(self._history[place])
        self._place = place
        return self._plan


def read_recipes(values: Any) -> list[Recipe]:
    """The recipes of a state. Raises `UsageError` where it isn't a list of recipes."""
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise UsageError("The steps that were kept can't be read.")
    return [Recipe.from_dict(value) for value in values]
