"""Every field of a recipe: what it is called, how its value is written and read, and what it means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tui_prune.app import answers
from tui_prune.errors import UsageError
from tui_prune.planning.recipe import (
    COMBINES,
    CRITERIA,
    GROUPED,
    HEADS,
    NORMALISATIONS,
    RESIDUALS,
    ROUNDINGS,
    SCOPES,
    Recipe,
)
from tui_prune.planning.sizes import parse_size

NONE = "none"
DEFAULT = Recipe()


@dataclass(frozen=True)
class Field:
    """A field of the recipe in the user's words."""

    name: str
    words: str
    meaning: str
    read: Callable[[str], Any]
    """What a text means. Raises `UsageError`."""
    write: Callable[[Any], str] = str
    """A value as one would type it."""
    unit: str = ""
    choices: tuple[str, ...] = ()

    def value(self, recipe: Recipe) -> str:
        """What a recipe says, as one would type it."""
        return self.write(getattr(recipe, self.name))

    def said(self, recipe: Recipe) -> str:
        """What a recipe says, as one would read it."""
        value = self.value(recipe)
        return f"{value}{self.unit}" if value != NONE else value

    def is_changed(self, recipe: Recipe) -> bool:
        """Whether a recipe says something else than a new one."""
        return getattr(recipe, self.name) != getattr(DEFAULT, self.name)

    def changed(self, recipe: Recipe, text: str) -> Recipe:
        """The recipe with this field as a text says. Raises `UsageError`."""
        return recipe.changed(**{self.name: self.read(text)})

    def reset(self, recipe: Recipe) -> Recipe:
        """The recipe with this field as it is in a new one."""
        return recipe.changed(**{self.name: getattr(DEFAULT, self.name)})


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.strip().lower() == NONE else read(text)


def _number(text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise UsageError("Type a number such as 0.01, or none.") from None


def _left(text: str) -> float:
    """A share up to all of it."""
    return 1.0 if text.strip() in ("100", "100%", "100 %") else answers.share(text)


def _names(text: str) -> tuple[str, ...]:
    return () if text.strip().lower() == NONE else tuple(filter(None, (name.strip() for name in text.split(","))))


def _pairs(read: Callable[[str], Any], example: str) -> Callable[[str], dict[str, Any]]:
    def pairs(text: str) -> dict[str, Any]:
        found = {}
        for part in _names(text):
            name, equals, value = part.rpartition("=")
            if not equals or not name.strip():
                raise UsageError(f"Type layers with their values, such as {example}; or none.")
            found[name.strip()] = read(value)
        return found

    return pairs


def _listed(values: Any) -> str:
    return ", ".join(values) or NONE


def _listed_pairs(write: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda table: _listed(f"{name}={write(value)}" for name, value in table.items())


def _share_or_none(value: float | None) -> str:
    return NONE if value is None else answers.said(value)


def _size(value: int | None) -> str:
    return NONE if value is None else f"{value / 1e6:.6g} MB"


def _choice(name: str, words: str, meaning: str, choices: tuple[str, ...]) -> Field:
    return Field(name, words, meaning, str.strip, choices=choices)


def _target(name: str, words: str, meaning: str) -> Field:
    return Field(name, words, meaning, _or_none(_left), _share_or_none, " %")


FIELDS = (
    Field("ratio", "cut", "this share of the channels", answers.share, answers.said, " %"),
    Field(
        "threshold",
        "or: scores below",
        "channels that score less go",
        _or_none(_number),
        lambda value: NONE if value is None else f"{value:g}",
    ),
    _target("target_macs", "or: MACs to", "the largest network within it"),
    _target("target_params", "or: parameters to", "the same for the parameters"),
    Field(
        "target_bytes",
        "or: size to",
        "the same for the bytes: 5 MB",
        _or_none(lambda text: parse_size("A size", text)),
        _size,
    ),
    _target("target_latency", "or: latency to", "the same, measured on this device"),
    _choice("criterion", "criterion", "what makes a channel important", CRITERIA),
    _choice("scope", "scope", "each layer alone, or all ranked together", SCOPES),
    _choice("combine", "tied scores", "what is made of several scores", COMBINES),
    _choice("normalise", "scores divided by", "each layer's mean or max, or none", NORMALISATIONS),
    Field("min_channels", "least channels", "so many stay in each layer", answers.whole),
    Field("max_ratio", "largest cut", "no layer loses a larger share", _left, answers.said, " %"),
    Field("align", "align", "widths are multiples; auto: measured", answers.alignment),
    _choice("align_rounding", "align rounds", "which multiple a width goes to", ROUNDINGS),
    _choice("residual", "residual streams", "keep: channels added up stay", RESIDUALS),
    _choice("grouped", "grouped layers", "even in each, or whole groups", GROUPED),
    _choice("heads", "attention heads", "places in each, or whole heads", HEADS),
    Field("seed", "seed", "of the criterion random", lambda text: answers.whole(text, 0)),
    Field(
        "layers",
        "own ratios",
        "conv1=25, layer2.*=50 (also r)",
        _pairs(answers.share, "conv1=25, layer2.*=50"),
        _listed_pairs(answers.said),
    ),
    Field(
        "layer_align",
        "own alignments",
        "conv1=8, layer2.*=16 (also A)",
        _pairs(answers.whole, "conv1=8, layer2.*=16"),
        _listed_pairs(str),
    ),
    Field("lock", "locked", "layers or globs that stay (also l)", _names, _listed),
    Field("unlock", "unlocked", "model outputs that may go (also l)", _names, _listed),
)
"""In the order in which they are shown: how much to cut, by what, within which limits, and where."""
