"""What the user chose: a frozen recipe, read from and written to TOML."""

import dataclasses
import fnmatch
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.planning.recipe_files import recipe_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CRITERIA = ("l1", "l2", "bn_scale", "random")
SCOPES = ("local", "global")
ROUNDINGS = ("nearest", "up", "down")
RESIDUALS = ("cut", "keep")
GROUPED = ("auto", "even", "whole")


@dataclass(frozen=True)
class Recipe:
    """Every choice that a plan follows from. Nothing is cut by the default recipe.

    Layer names are module names ("layer1.0.conv1"); in `layers` and `layer_align` a key may also be a glob
    ("layer1.*"). An exact name wins over a glob, a later glob over an earlier one.

    Raises `UsageError` when a value is out of its range.
    """

    ratio: float = 0.0
    """Share of the channels to cut, 0 to 1 (1 excluded)."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Ratios of single layers. A layer that has one takes no part in the global ranking."""
    align: int = 1
    """Kept widths are multiples of this number wherever they can be."""
    layer_align: Mapping[str, int] = field(default_factory=dict)
    align_rounding: str = "nearest"
    criterion: str = "l2"
    scope: str = "local"
    """`local`: each layer loses the ratio. `global`: all channels are ranked together."""
    lock: tuple[str, ...] = ()
    """Layers, by name or glob, that stay as they are."""
    unlock: tuple[str, ...] = ()
    """Layers whose channels leave the model as its output and may be cut all the same."""
    residual: str = "cut"
    """`keep`: channels that are added to another layer's stay."""
    grouped: str = "auto"
    """How grouped convolutions and norms are cut: "even" in each group, "whole" groups, or whichever is finer."""
    seed: int = 0
    """Of the criterion "random"."""

    def __post_init__(self) -> None:
        _check_ratio("ratio", self.ratio)
        for name, ratio in self.layers.items():
            _check_ratio(f"the ratio of {name}", ratio)
        _check_alignment("align", self.align)
        for name, align in self.layer_align.items():
            _check_alignment(f"the alignment of {name}", align)
        _check_choice("align_rounding", self.align_rounding, ROUNDINGS)
        _check_choice("criterion", self.criterion, CRITERIA)
        _check_choice("scope", self.scope, SCOPES)
        _check_choice("residual", self.residual, RESIDUALS)
        _check_choice("grouped", self.grouped, GROUPED)
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        object.__setattr__(self, "layer_align", MappingProxyType(dict(self.layer_align)))
        object.__setattr__(self, "lock", _names("lock", self.lock))
        object.__setattr__(self, "unlock", _names("unlock", self.unlock))

    def changed(self, **fields: Any) -> "Recipe":
        """This recipe with some fields replaced."""
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every field, ready for TOML or JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe that `to_dict` gave. Raises `UsageError` for an unknown field or a wrong value."""
        known = {f.name for f in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise UsageError(f"The recipe has no field {name!r}; it knows {', '.join(sorted(known))}.")
        try:
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise UsageError(f"The recipe has a value of the wrong kind: {error}.") from error

    @classmethod
    def from_toml(cls, path: str | Path) -> "Recipe":
        """Read a recipe file, or a bundled recipe by its name ("resnet18-inside").

        Raises `UsageError` when there is none, when it can't be read or isn't a recipe.
        """
        return cls.from_dict(read_recipe_values(path))

    def to_toml(self) -> str:
        """The recipe as the text of a TOML file; fields at their default are left out."""
        import tomli_w

        default = Recipe().to_dict()
        return tomli_w.dumps({name: value for name, value in self.to_dict().items() if value != default[name]})


def read_recipe_values(path: str | Path) -> dict[str, Any]:
    """The fields that a recipe file, or a bundled recipe, sets. Raises `UsageError` when it can't be read."""
    file = recipe_file(path)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {path} can't be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe {path} is not TOML: {error}.") from error


def choose(table: Mapping[str, Any], names: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, Any] | None:
    """The entry of a table that speaks of a group of layers: an exact one of all `names` first, else the last glob or
    parent module that means one of its `own` (those that don't only pass channels on, as a depthwise layer does)."""
    entries = list(reversed(table.items()))
    for key, value in entries:
        if key in names:
            return key, value
    for key, value in entries:
        if any(matches(key, name) for name in own):
            return key, value
    return None


def matches(key: str, name: str) -> bool:
    """Whether a name, a glob or a parent module means a layer: "layer1.*" and "layer1" mean layer1.0.conv1."""
    return key == name or fnmatch.fnmatchcase(name, key) or name.startswith(f"{key}.")


def _check_ratio(what: str, ratio: float) -> None:
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio < 1:
        raise UsageError(f"{what} must be a share from 0 up to, but not including, 1; it is {ratio!r}.")


def _check_alignment(what: str, align: int) -> None:
    if isinstance(align, bool) or not isinstance(align, int) or align < 1:
        raise UsageError(f"{what} must be a whole number of at least 1; it is {align!r}.")


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{what} must be one of {', '.join(choices)}; it is {value!r}.")


def _names(what: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} takes a list of layer names; it is {names!r}.")
    return tuple(names)
