"""What the user chose: a frozen recipe, read from and written to TOML."""

import dataclasses
import fnmatch
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.formatting import shown
from tui_prune.graph.units import Units
from tui_prune.planning.criteria import CRITERIA as KNOWN_CRITERIA
from tui_prune.planning.recipe_files import recipe_file
from tui_prune.planning.sizes import parse_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CRITERIA = tuple(KNOWN_CRITERIA)
COMBINES = ("auto", "sum", "mean", "max")
NORMALISATIONS = ("none", "mean", "max")
SCOPES = ("local", "global")
ROUNDINGS = ("nearest", "up", "down")
RESIDUALS = ("cut", "keep")
GROUPED = ("auto", "even", "whole")
HEADS = ("width", "whole", "auto")
TARGETS = ("target_macs", "target_params", "target_bytes", "target_latency")
AUTO = "auto"
LARGEST_SEED = 2**63
LARGEST_STEP = 0.99
"""The ratio at which steps end."""

AMOUNTS = (("ratio",), ("threshold",), TARGETS)
"""Fields that say how much to cut; those of one row go together, those of different rows don't."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """Every choice that a plan follows from. Nothing is cut by the default recipe.

    Layer names are module names ("layer1.0.conv1"); in `layers` and `layer_align` a key may also be a glob
    ("layer1.*"). An exact name wins over a glob, a later glob over an earlier one. Two recipes are equal where their
    `key` is: the same choices, with the globs in the same order.

    Raises `UsageError` when a value is out of its range.
    """

    ratio: float = 0.0
    """Share of the channels to cut, 0 to 1 (1 excluded)."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Ratios of single layers. A layer that has one takes no part in the global ranking. With 1, the residual branch
    that the layer is in goes whole."""
    threshold: float | None = None
    """Instead of a ratio: channels with a lower score than this go."""
    target_macs: float | None = None
    """Instead of a ratio: the largest network that has at most this share of the MACs."""
    target_params: float | None = None
    """Instead of a ratio: the same for the parameters."""
    target_bytes: int | None = None
    """Instead of a ratio: the same for the bytes of all parameters; also "5MB", "300kB", "2MiB"."""
    target_latency: float | None = None
    """Instead of a ratio: the same for the latency on this device, as a share of what it is now."""
    min_channels: int = 1
    """So many channels stay in each layer at least."""
    max_ratio: float = 1.0
    """No layer loses a larger share of its channels than this."""
    align: int | str = 1
    """Kept widths are multiples of this number wherever they can be; "auto": the one that suits this device."""
    layer_align: Mapping[str, int] = field(default_factory=dict)
    align_rounding: str = "nearest"
    criterion: str = "l2"
    combine: str = AUTO
    """What is made of the scores that several layers give to one channel: "sum", "mean", "max", or what suits the
    criterion."""
    normalise: str = "none"
    """What the scores of a layer are divided by, to be compared with those of others: their "mean", "max"."""
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
    heads: str = "width"
    """How attention is cut: places in each head ("width"), "whole" heads (one of keys and values with all that it
    serves), or whole heads where no places can go ("auto")."""
    seed: int = 0
    """Of the criterion "random"."""

    def __post_init__(self) -> None:
        _check_ratio("ratio", self.ratio)
        for name, ratio in self.layers.items():
            _check_ratio(f"the ratio of {name}", ratio, whole=True)
        self._check_amounts()
        if self.align != AUTO:
            _check_alignment("align", self.align, ', or "auto"')
        for name, align in self.layer_align.items():
            _check_alignment(f"the alignment of {name}", align)
        _check_choice("align_rounding", self.align_rounding, ROUNDINGS)
        _check_choice("criterion", self.criterion, CRITERIA)
        _check_choice("combine", self.combine, COMBINES)
        _check_choice("normalise", self.normalise, NORMALISATIONS)
        _check_choice("scope", self.scope, SCOPES)
        _check_choice("residual", self.residual, RESIDUALS)
        _check_choice("grouped", self.grouped, GROUPED)
        _check_choice("heads", self.heads, HEADS)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < LARGEST_SEED:
            raise UsageError(f"seed must be a whole number from 0 up to {LARGEST_SEED}; it is {shown(self.seed)}.")
        for name in ("ratio", "threshold", "target_macs", "target_params", "target_latency", "max_ratio"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else float(value))
        ratios = {name: float(ratio) for name, ratio in self.layers.items()}
        object.__setattr__(self, "layers", MappingProxyType(ratios))
        object.__setattr__(self, "layer_align", MappingProxyType(dict(self.layer_align)))
        object.__setattr__(self, "lock", _names("lock", self.lock))
        object.__setattr__(self, "unlock", _names("unlock", self.unlock))

    def __repr__(self) -> str:
        """As one would write it: fields at their default are left out."""
        chosen = (f"{name}={value!r}" for name, value in self._chosen().items())
        return f"Recipe({', '.join(chosen)})"

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def key(self) -> str:
        """What tells recipes apart, in this process and in files: all that was chosen, in order.

        Fields at their default are left out, so that a field that a later version adds changes no key.
        """
        return json.dumps(self._chosen())

    def _chosen(self) -> dict[str, Any]:
        """Plain values of the fields that aren't at their default."""
        default = default_of(type(self)).to_dict()
        return {name: value for name, value in self.to_dict().items() if value != default[name]}

    def _check_amounts(self) -> None:
        for name in ("target_macs", "target_params", "target_latency"):
            _check_target(name, getattr(self, name))
        if self.target_bytes is not None:
            object.__setattr__(self, "target_bytes", parse_size("target_bytes", self.target_bytes))
        if self.threshold is not None and not _is_number(self.threshold):
            raise UsageError(f"threshold must be a number to compare scores with; it is {shown(self.threshold)}.")
        if not _is_count(self.min_channels):
            raise UsageError(f"min_channels must be a whole number of at least 1; it is {shown(self.min_channels)}.")
        if not _is_number(self.max_ratio) or not 0 <= self.max_ratio <= 1:
            raise UsageError(f"max_ratio must be a share from 0 to 1; it is {shown(self.max_ratio)}.")
        chosen = [next(name for name in row if says_amount(name, getattr(self, name))) for row in self._amounts()]
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(chosen)} each say how much to cut; give one of them.")

    def _amounts(self) -> list[tuple[str, ...]]:
        return [row for row in AMOUNTS if any(says_amount(name, getattr(self, name)) for name in row)]

    @property
    def units(self) -> Units:
        """How what can be cut in two ways is cut."""
        return Units(self.grouped, self.heads)

    def cuts_to_nothing(self, layer: str) -> bool:
        """Whether a layer's own ratio is 1."""
        own = choose(self.layers, (layer,), (layer,))
        return own is not None and own[1] == 1

    @property
    def targets(self) -> tuple[str, ...]:
        """The fields that name a target."""
        return tuple(name for name in TARGETS if getattr(self, name) is not None)

    @property
    def needs_latency(self) -> bool:
        """Whether its plan follows from what layers take on this device."""
        return self.align == AUTO or self.target_latency is not None

    @property
    def finds_multiple(self) -> bool:
        """Whether the alignment is the one that suits this device: where it is "auto", and for a latency that is asked
        for without any."""
        return self.align == AUTO or (self.target_latency is not None and self.align == 1)

    @property
    def fixed_widths(self) -> bool:
        """Whether ratios alone say how wide each layer becomes, whatever the scores are."""
        free = self.threshold is not None or self.targets or self.needs_latency
        return self.scope == "local" and not free and self.min_channels == 1 and self.max_ratio == 1

    def changed(self, **fields: Any) -> "Recipe":
        """This recipe with some fields replaced. A ratio, a threshold and targets each say how much to cut: setting one
        lets go of the others."""
        given = [row for row in AMOUNTS if any(says_amount(name, fields.get(name)) for name in row)]
        if not given and "ratio" in fields:
            given = [("ratio",)]
        if given:
            gone = {name: 0.0 if name == "ratio" else None for row in AMOUNTS if row not in given for name in row}
            fields = {**gone, **fields}
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every field, ready for TOML or JSON."""
        return {
            name: dict(value)
            if isinstance(value, MappingProxyType)
            else list(value)
            if isinstance(value, tuple)
            else value
            for name in (field.name for field in dataclasses.fields(self))
            for value in (getattr(self, name),)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe that `to_dict` gave. Raises `UsageError` for an unknown field or a wrong value."""
        known = {f.name for f in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise UsageError(f"The recipe has no field {shown(name)}; it knows {', '.join(sorted(known))}.")
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
        """The recipe as the text of a TOML file, with what each field means; fields at their default are left out."""
        import tomli_w

        from tui_prune.planning.fields import with_comments

        return with_comments(tomli_w.dumps(self._chosen()))


_DEFAULTS: dict[type[Recipe], Recipe] = {}


def default_of(kind: type[Recipe]) -> Recipe:
    """The recipe that cuts nothing."""
    if kind not in _DEFAULTS:
        _DEFAULTS[kind] = kind()
    return _DEFAULTS[kind]


def read_recipe_values(path: str | Path) -> dict[str, Any]:
    """The fields that a recipe file, or a bundled recipe, sets. Raises `UsageError` when it can't be read."""
    file = paths.absolute(recipe_file(path))
    if not paths.is_file(file):
        raise UsageError(f"The recipe {path} can't be read. {paths.not_a_file(file, path)}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {path} can't be read: {error}.") from error
    except (ValueError, RecursionError) as error:  # also numbers of too many digits, and what is nested too deep
        raise UsageError(f"The recipe {path} is not TOML: {error or 'nested too deep'}.") from error


def choose(table: Mapping[str, Any], names: Sequence[str], own: Sequence[str]) -> tuple[str, Any] | None:
    """The entry of a table that speaks of a group of layers: an exact one of all `names` first, else the last glob or
    parent module that means one of its `own` (those that don't only pass channels on, as a depthwise layer does)."""
    entries = list(table.items())[::-1]
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


def _check_ratio(what: str, ratio: float, *, whole: bool = False) -> None:
    """`whole`: it may be 1 as well."""
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not (0 <= ratio < 1 or (whole and ratio == 1)):
        most = "to 1" if whole else "up to, but not including, 1"
        raise UsageError(f"{what} must be a share from 0 {most}; it is {shown(ratio)}.")


def says_amount(name: str, value: Any) -> bool:
    """Whether a field says how much to cut, and isn't left at nothing."""
    return value is not None and not (name == "ratio" and value == 0)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, (int, float)) and isfinite(value)
    except OverflowError:  # a whole number that no float is large enough for
        return False


def _is_count(value: Any) -> bool:
    """Whether a value can be a number of channels; no layer has a thousand million of them."""
    return not isinstance(value, bool) and isinstance(value, int) and 1 <= value <= 10**9


def _check_target(name: str, share: float | None) -> None:
    if share is not None and not (_is_number(share) and 0 < share <= 1):
        raise UsageError(f"{name} must be a share of the network as it is, above 0 and up to 1; it is {shown(share)}.")


def _check_alignment(what: str, align: int | str, otherwise: str = "") -> None:
    if not _is_count(align):
        raise UsageError(f"{what} must be a whole number of at least 1{otherwise}; it is {shown(align)}.")


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{what} must be one of {', '.join(choices)}; it is {shown(value)}.")


def _names(what: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} takes a list of layer names; it is {shown(names)}.")
    return tuple(names)


def stepped(ratio: float, by: float) -> float:
    """A ratio that is raised or lowered, within 0 and 0.99."""
    return round(min(max(ratio + by, 0.0), LARGEST_STEP), 4)
