"""What of a session is worth keeping when the line drops: its steps, its named plans, and what was measured of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.session.plans import Plans
from tui_prune.session.shelf import Figures, Shelf, read_figures
from tui_prune.session.side_by_side import SideBySide
from tui_prune.session.steps import Steps, read_recipes

VERSION = 1


class Keepsake(Steps, SideBySide):
    """The part of a session that can be written down and taken up again."""

    _plans: Plans
    _plans_of: Callable[[Graph], Plans]

    def _begin(self, first: Recipe) -> None:
        self._history: list[Recipe] = [first]
        self._place = 0
        self._costs = {}
        self._figures: dict[Recipe, Figures] = {}

    def state(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what `restore` takes in a new session on the same network."""
        return {
            "version": VERSION,
            "history": [recipe.to_dict() for recipe in self._history],
            "place": self._place,
            "plans": self._shelf.to_list(),
            "figures": self._figures_to_keep(),
        }

    def restore(self, state: Mapping[str, Any], progress: Progress = silent) -> None:
        """Take up the steps and plans of another session's `state`. What was measured is taken up where weights, task
        and device are the same.

        Raises `UsageError`, and changes nothing, where the state isn't one or doesn't fit this network.
        """
        if not isinstance(state, Mapping) or state.get("version") != VERSION:
            raise UsageError("What was kept of the last session is of another version of tui-prune.")
        history, place = read_recipes(state.get("history")), state.get("place")
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(history):
            raise UsageError("The steps that were kept can't be read.")
        shelf = Shelf.from_list(state.get("plans", []))
        measured = state.get("figures") or {}
        if not isinstance(measured, Mapping) or not isinstance(measured.get("by", {}), Mapping):
            raise UsageError("What was measured of the plans can't be read.")
        figures = self._figures_that_hold(read_figures(measured.get("of", {})), measured.get("by", {}))
        for recipe in (*history, *(plan.recipe for plan in shelf.plans)):
            graph = self._graph_for(recipe)
            self._plans_of(graph).check(graph, recipe)
        plan = self._make_plan(history[place])
        progress("plan", 1.0)  # whoever has stopped this keeps the choices that are there
        self._history, self._place, self._plan = history, place, plan
        self._shelf, self._figures = shelf, figures
        uncut = [one.uncut_latency for one in figures.values() if one.uncut_latency is not None]
        self._uncut_latency = uncut[-1] if uncut else self._uncut_latency
