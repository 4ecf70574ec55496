"""The same network on another example input, with as much of what was chosen as fits it."""

from typing import TYPE_CHECKING

from tui_prune.errors import UsageError
from tui_prune.progress import Progress

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe
    from tui_prune.session import Session


def with_input(session: "Session", input_spec: str, progress: Progress) -> "Session":
    """A session on the same module, traced anew. Choices for layers that no longer fit are left out, and a note says
    so. Raises `UsageError` when the shape can't be read, `TuiPruneError` when the forward pass fails on it.
    """
    import dataclasses

    from tui_prune.opening.open_model import with_input as opened_with
    from tui_prune.session import Session

    opened = opened_with(session.opened, input_spec)
    try:
        traced = Session(opened, task=session.task, recipe=session.recipe, progress=progress)
        traced.restore(session.state())
        return traced
    except UsageError as error:
        note = f"Choices for single layers were left out: {error}"
        opened = dataclasses.replace(opened, notes=(note, *opened.notes))
        return Session(opened, task=session.task, recipe=_for_all(session.recipe), progress=progress)


def _for_all(recipe: "Recipe") -> "Recipe":
    """What a recipe says of the network as a whole."""
    return recipe.changed(layers={}, layer_align={}, lock=(), unlock=())
