"""The same network on another example input, with as much of what was chosen as fits it."""

import dataclasses
from typing import TYPE_CHECKING

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.progress import Progress

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe
    from tui_prune.session.session import Session


def with_input(session: "Session", input_spec: str, progress: Progress) -> "Session":
    """A session on the same module, traced anew. Choices for layers that no longer fit are left out, and a note says
    so. Raises `UsageError` when the shape can't be read, `TuiPruneError` when the forward pass fails on it.
    """
    from tui_prune.loading.open_model import with_input as opened_with
    from tui_prune.session.session import Session

    opened = opened_with(session.opened, input_spec)
    try:
        traced = Session(
            opened, task=session.task, recipe=session.recipe, table=session.latency_table, progress=progress
        )
        traced.restore(session.state())
        _take_over(session, traced, progress)
        return traced
    except UsageError as error:
        note = f"Choices for single layers were left out: {error}"
        opened = dataclasses.replace(opened, notes=(note, *opened.notes))
        recipe = _for_all(session.recipe)
        if session.latency_table is not None:  # which is of the other input
            recipe = recipe.changed(target_latency=None)
        return Session(opened, task=session.task, recipe=recipe, table=session.latency_table, progress=progress)


def _take_over(session: "Session", traced: "Session", progress: Progress) -> None:
    """The recovered networks, too, where the same channels are cut."""
    for found in session.recoveries:
        try:
            traced.take_up(session.packed(found), progress)
        except Cancelled:
            raise
        except TuiPruneError as error:
            words = f"recovered weights were left: {error}"
            traced.opened = dataclasses.replace(traced.opened, notes=(words, *traced.opened.notes))


def _for_all(recipe: "Recipe") -> "Recipe":
    """What a recipe says of the network as a whole."""
    return recipe.changed(layers={}, layer_align={}, lock=(), unlock=())
