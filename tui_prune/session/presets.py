"""Recipes to start from: those that come with the opened network, a few that suit any, and the user's own files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tui_prune.errors import UsageError
from tui_prune.planning.plan import Noted
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.recipe_files import (
    own_recipe_folder,
    own_recipe_names,
    recipe_file,
    recipe_names,
    recipe_remark,
)
from tui_prune.session.words import in_words

if TYPE_CHECKING:
    from tui_prune.session.session import Session

OWN = "yours"

_GENERAL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("half of every layer", "each layer loses its least important half", {"ratio": 0.5}),
    (
        "half, ranked together",
        "the half of all channels that batch norm scales least; layers differ",
        {"ratio": 0.5, "scope": "global", "criterion": "bn_scale"},
    ),
    ("inside blocks only", "half of what no addition joins: residual streams stay", {"ratio": 0.5, "residual": "keep"}),
    ("half the MACs", "the largest network with half the multiply-adds", {"target_macs": 0.5}),
    ("half the MACs, by 8", "the same, all widths multiples of 8", {"target_macs": 0.5, "align": 8}),
    ("half the MACs, by 16", "the same, all widths multiples of 16", {"target_macs": 0.5, "align": 16}),
    ("half the parameters", "the largest network with half the weights", {"target_params": 0.5}),
)
"""Name, what it does, and the fields that it sets. Locks, limits and the criterion stay as they were chosen."""

_CLEAN: dict[str, Any] = {
    "ratio": 0.0,
    "layers": {},
    "align": 1,
    "layer_align": {},
    "scope": "local",
    "residual": "cut",
}
"""What a general preset puts back first."""


@dataclass(frozen=True)
class Preset:
    """A recipe to start from."""

    name: str
    kind: str
    """Whose it is: the network's name, "any network", or `OWN`."""
    words: str
    """What it does."""
    recipe: Recipe | None
    obstacle: str = ""
    """Why it can't be chosen here; empty: it can."""


def presets(session: Session) -> list[Preset]:
    """All presets for the opened network, its own first; whether they fit is for `tried` to say."""
    network = session.opened.origin.name
    found = [_from_file(name, network) for name in recipe_names() if name.partition("-")[0] == network]
    for name, words, fields in _GENERAL:
        if fields.get("residual") == "keep" and not any(group.residual for group in session.graph.groups):
            continue
        found.append(Preset(name, "any network", words, session.recipe.changed(**{**_CLEAN, **fields})))
    found += [_from_file(name, OWN) for name in own_recipe_names()]
    return found


def _from_file(name: str, kind: str) -> Preset:
    file = own_recipe_folder() / f"{name}.toml" if kind == OWN else recipe_file(name)
    try:
        recipe = Recipe.from_toml(file)
    except UsageError as error:
        return Preset(name, kind, "", None, str(error))
    return Preset(name, kind, recipe_remark(file) or in_words(recipe), recipe)


def tried(session: Session, preset: Preset) -> Preset:
    """A preset that was planned on the opened network, unless that takes long: it may not fit, or change nothing."""
    if preset.recipe is None:
        return preset
    try:
        if session.waits_for(preset.recipe):
            return preset
        plan = session.preview(preset.recipe)
    except UsageError as error:
        return replace(preset, obstacle=str(error))
    if plan.cuts or preset.kind == OWN:
        return preset
    lost = next((layer.note for layer in plan.layers if layer.noted is Noted.UNRANKED), "nothing of it may be cut")
    return replace(preset, obstacle=f"It would cut nothing here: {lost}.")
