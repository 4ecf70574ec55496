"""One entry for each field of a recipe: what it is called, how its value is typed, and how it is told.

All that speaks of single fields is made from this table: the options of the command line, the sheet of the recipe in
the app, the words of the history, the comments of a recipe file, and the documentation of `tui_prune.prune`. A new
field is declared in `Recipe`, which checks it, described here, and used by the planner.
"""

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.formatting import size
from tui_prune.planning import answers
from tui_prune.planning.recipe import (
    AUTO,
    COMBINES,
    CRITERIA,
    GROUPED,
    HEADS,
    NORMALISATIONS,
    RESIDUALS,
    ROUNDINGS,
    SCOPES,
    Recipe,
    default_of,
)
from tui_prune.planning.sizes import parse_size

MANY = 2
"""Layers of which a sentence gives the names; more of them are counted."""

Say = Callable[[Any, Any, int], str]
"""What has changed, by the values of a field before and after. Of more layers than the number, their number is said."""


@dataclass(frozen=True)
class Option:
    """How the command line takes a field. Texts that mean no value raise `UsageError`."""

    flag: str
    metavar: str
    parse: Callable[[str], Any]
    """The value of a text; of an option that is repeated, of all of its texts."""
    repeated: bool = False


@dataclass(frozen=True)
class Field:
    """A field of the recipe in words, and its values as texts."""

    name: str
    title: str
    """What the app calls it, in a few words."""
    meaning: str
    """What the app says of it, in a few words."""
    help: str
    """What the command line and the documentation say of it: one sentence, without its full stop."""
    option: Option
    read: Callable[[str], Any]
    """The value that a text means that somebody types into the app. Raises `UsageError`."""
    say: Say
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
        return f"{value}{self.unit}" if value != answers.NONE else value

    def is_changed(self, recipe: Recipe) -> bool:
        """Whether a recipe says something else than a new one."""
        return bool(getattr(recipe, self.name) != getattr(default_of(type(recipe)), self.name))

    def arguments(self, recipe: Recipe) -> list[str]:
        """What a recipe says as arguments of the command line; none where that is what a new one says."""
        value = getattr(recipe, self.name)
        if not self.is_changed(recipe):
            return []
        if isinstance(value, Mapping):
            texts = [f"{key}={entry!r}" for key, entry in value.items()]
        else:
            texts = [str(one) for one in value] if self.option.repeated else [str(value)]
        return [word for text in texts for word in (self.option.flag, text)]

    def changed(self, recipe: Recipe, text: str) -> Recipe:
        """The recipe with this field as a text says. Raises `UsageError`."""
        return recipe.changed(**{self.name: self.read(text)})

    def reset(self, recipe: Recipe) -> Recipe:
        """The recipe with this field as it is in a new one."""
        return recipe.changed(**{self.name: getattr(default_of(type(recipe)), self.name)})


def option_of(name: str) -> str:
    """The option of a field: "align_rounding" is --align-rounding."""
    return f"--{name.replace('_', '-')}"


# How values are written


def _listed(values: Any) -> str:
    return ", ".join(values) or answers.NONE


def _listed_pairs(write: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda table: _listed(f"{name}={write(value)}" for name, value in table.items())


# How the command line takes them


def _plain(number: Callable[[str], Any], flag: str, what: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return number(text)
        except ValueError:
            raise UsageError(f"{flag} takes {what}; it was {text!r}.") from None

    return parse


def _float(name: str, metavar: str = "R") -> Option:
    flag = option_of(name)
    return Option(flag, metavar, _plain(float, flag, "a number"))


def _int(name: str) -> Option:
    flag = option_of(name)
    return Option(flag, "N", _plain(int, flag, "a whole number"))


def _pairs_option(flag: str, metavar: str, example: str, number: Callable[[str], Any]) -> Option:
    def parse(texts: Sequence[str]) -> dict[str, Any]:
        pairs = {}
        for text in texts:
            name, _, value = text.rpartition("=")
            try:
                pairs[name] = number(value)
            except ValueError:
                name = ""
            if not name:
                raise UsageError(f"{flag} takes {metavar}, such as {example!r}; it was {text!r}.")
        return pairs

    return Option(flag, metavar, parse, repeated=True)


def _align_option() -> Option:
    number = _plain(int, "--align", "a whole number, or auto")
    return Option("--align", f"N|{AUTO}", lambda text: AUTO if text == AUTO else number(text))


# How changes are told


def share(value: float) -> str:
    """A share in words: "12.5 %"."""
    return f"{100 * value:.4g} %"


def _of(words: Callable[[Any], str]) -> Say:
    """Of a field of which only the new value counts."""
    return lambda before, after, many: words(after)


def _target_words(what: str, said: Callable[[Any], str] = share) -> Say:
    return _of(lambda after: f"no target of {what}" if after is None else f"{what} to {said(after)}")


def _table(what: str, said: Callable[[Any], str]) -> Say:
    """Of a table by layer: what is new in it, or gone."""

    def say(before: Mapping[str, Any], after: Mapping[str, Any], many: int) -> str:
        new = {name: value for name, value in after.items() if name not in before or before[name] != value}
        gone = [name for name in before if name not in after]
        words = []
        if len(new) <= many:
            words += [f"{what} of {name} {said(value)}" for name, value in new.items()]
        elif len(set(new.values())) == 1:
            words.append(f"{what} of {_counted(new)} {said(next(iter(new.values())))}")
        else:
            words.append(f"{what}s of {_counted(new)}")
        if gone:
            words.append(f"no {what} of {_named(gone, many)}")
        return ", ".join(words) or f"{what}s in another order"

    return say


def _list(new: str, gone: str) -> Say:
    """Of a list of layers: which are new in it, or gone."""

    def say(before: tuple[str, ...], after: tuple[str, ...], many: int) -> str:
        added = [name for name in after if name not in before]
        removed = [name for name in before if name not in after]
        words = [f"{verb} {_named(names, many)}" for verb, names in ((new, added), (gone, removed)) if names]
        return ", ".join(words) or f"{new} in another order"

    return say


def _named(names: list[str], many: int) -> str:
    return " and ".join(names) if len(names) <= many else _counted(names)


def _counted(names: Sized) -> str:
    return "1 layer" if len(names) == 1 else f"{len(names)} layers"


# The table


def _choice(
    name: str, title: str, meaning: str, help: str, choices: tuple[str, ...], say: Callable[[str], str]
) -> Field:
    option = Option(option_of(name), "|".join(choices), str)
    return Field(name, title, meaning, help, option, str.strip, _of(say), choices=choices)


def _target(name: str, title: str, meaning: str, help: str, what: str) -> Field:
    def write(value: float | None) -> str:
        return answers.NONE if value is None else answers.said(value)

    return Field(
        name, title, meaning, help, _float(name), answers.or_none(answers.up_to_all), _target_words(what), write, " %"
    )


FIELDS = (
    Field(
        "ratio",
        "cut",
        "this share of the channels",
        "Share of the channels to cut, from 0 up to, but not including, 1",
        _float("ratio"),
        answers.share,
        _of(lambda after: f"global ratio {share(after)}"),
        answers.said,
        " %",
    ),
    Field(
        "threshold",
        "or: scores below",
        "channels that score less go",
        "Instead of a ratio: channels with a lower score than this go",
        _float("threshold", "S"),
        answers.or_none(answers.number),
        _of(lambda after: "no threshold" if after is None else f"threshold {after:.4g}"),
        lambda value: answers.NONE if value is None else f"{value:g}",
    ),
    _target(
        "target_macs",
        "or: MACs to",
        "the largest network within it",
        "Instead of a ratio: the largest network with at most this share of the MACs",
        "MACs",
    ),
    _target(
        "target_params",
        "or: parameters to",
        "the same for the parameters",
        "Instead of a ratio: the largest network with at most this share of the parameters",
        "parameters",
    ),
    Field(
        "target_bytes",
        "or: size to",
        "the same for the bytes: 5 MB",
        "Instead of a ratio: the largest network whose parameters take at most so much: 5MB, 300kB, 2MiB",
        Option("--target-bytes", "SIZE", str),
        answers.or_none(lambda text: parse_size("A size", text)),
        _target_words("bytes", size),
        lambda value: answers.NONE if value is None else f"{value / 1e6:.6g} MB",
    ),
    _target(
        "target_latency",
        "or: latency to",
        "the same, measured on this device",
        "Instead of a ratio: the largest network with at most this share of the latency, measured on this device",
        "latency",
    ),
    _choice(
        "criterion",
        "criterion",
        "what makes a channel important",
        "How the importance of a channel is told",
        CRITERIA,
        lambda after: f"criterion {after}",
    ),
    _choice(
        "scope",
        "scope",
        "each layer alone, or all ranked together",
        "local: each layer loses the ratio; global: all channels are ranked together",
        SCOPES,
        lambda after: "ranked all together" if after == "global" else "ranked layer by layer",
    ),
    _choice(
        "combine",
        "tied scores",
        "what is made of several scores",
        "What is made of the scores that several layers give to one channel; auto: what suits the criterion",
        COMBINES,
        lambda after: f"scores combined: {after}",
    ),
    _choice(
        "normalise",
        "scores divided by",
        "each layer's mean or max, or none",
        "What a layer's scores are divided by, to be compared with those of others",
        NORMALISATIONS,
        lambda after: f"scores normalised: {after}",
    ),
    Field(
        "min_channels",
        "least channels",
        "so many stay in each layer",
        "So many channels stay in each layer at least",
        _int("min_channels"),
        answers.whole,
        _of(lambda after: f"at least {after} channel{'s' if after > 1 else ''} each"),
    ),
    Field(
        "max_ratio",
        "largest cut",
        "no layer loses a larger share",
        "No layer loses a larger share of its channels than this",
        _float("max_ratio"),
        answers.up_to_all,
        _of(lambda after: f"at most {share(after)} of a layer"),
        answers.said,
        " %",
    ),
    Field(
        "align",
        "align",
        "widths are multiples; auto: measured",
        "Kept widths are multiples of this number wherever they can be; auto: of what suits this device, measured",
        _align_option(),
        answers.alignment,
        _of(lambda after: f"align {after}"),
    ),
    _choice(
        "align_rounding",
        "align rounds",
        "which multiple a width goes to",
        "Which multiple a width goes to",
        ROUNDINGS,
        lambda after: f"rounded {'to the nearest' if after == 'nearest' else after}",
    ),
    _choice(
        "residual",
        "residual streams",
        "keep: channels added up stay",
        "Whether channels that are added to another layer's may be cut; keep: they stay",
        RESIDUALS,
        lambda after: f"residual streams {'stay' if after == 'keep' else 'may be cut'}",
    ),
    _choice(
        "grouped",
        "grouped layers",
        "even in each, or whole groups",
        "How grouped convolutions and norms are cut: even in each group, whole groups, or whichever is finer (auto)",
        GROUPED,
        lambda after: f"grouped layers cut: {after}",
    ),
    _choice(
        "heads",
        "attention heads",
        "places in each, or whole heads",
        "How attention is cut: places in each head (width), whole heads, or whole where no places can go (auto)",
        HEADS,
        lambda after: f"attention heads cut: {after}",
    ),
    Field(
        "seed",
        "seed",
        "of the criterion random",
        "Seed of the criterion random",
        _int("seed"),
        lambda text: answers.whole(text, 0),
        _of(lambda after: f"seed {after}"),
    ),
    Field(
        "layers",
        "own ratios",
        "conv1=25, layer2.*=50 (also r)",
        "Ratio of a layer or a glob of layers; with 1, the residual branch that it is in goes whole",
        _pairs_option("--layer", "NAME=R", "layer1.*=0.25", float),
        answers.pairs(answers.share, "conv1=25, layer2.*=50"),
        _table("ratio", share),
        _listed_pairs(answers.said),
    ),
    Field(
        "layer_align",
        "own alignments",
        "conv1=8, layer2.*=16 (also A)",
        "Alignment of a layer or a glob of layers",
        _pairs_option("--layer-align", "NAME=N", "layer1.*=16", int),
        answers.pairs(answers.whole, "conv1=8, layer2.*=16"),
        _table("alignment", str),
        _listed_pairs(str),
    ),
    Field(
        "lock",
        "locked",
        "layers or globs that stay (also L)",
        "A layer or a glob of layers that stays as it is",
        Option("--lock", "NAME", tuple, repeated=True),
        answers.names,
        _list("lock", "unlock"),
        _listed,
    ),
    Field(
        "unlock",
        "unlocked",
        "model outputs that may go (also L)",
        "A layer whose channels leave the model as its output, and may be cut all the same",
        Option("--unlock", "NAME", tuple, repeated=True),
        answers.names,
        _list("lift the lock of", "put back the lock of"),
        _listed,
    ),
)
"""In the order in which they are shown: how much to cut, by what, within which limits, and where."""


def options(recipe: Recipe, fields: Sequence[Field] = FIELDS) -> list[str]:
    """The arguments of the command line that choose a recipe: ["--ratio", "0.5", "--lock", "conv1"]."""
    return [word for field in fields for word in field.arguments(recipe)]


def with_comments(toml: str, fields: Sequence[Field] = FIELDS) -> str:
    """A recipe file whose fields say behind them what they mean."""
    help_of = {field.name: field.help for field in fields}

    def remark(match: re.Match[str]) -> str:
        help = help_of.get(match["key"] or match["table"])
        return match[0] if help is None else f"{match[0]}  # {help[0].lower()}{help[1:]}"

    return re.sub(r"^(?:(?P<key>\w+) = .*|\[(?P<table>\w+)\])$", remark, toml, flags=re.MULTILINE)


def documentation(fields: Sequence[Field] = FIELDS, kind: type[Recipe] = Recipe) -> list[str]:
    """A line for each field, with its choices and its default."""
    lines = []
    for field in fields:
        choices = f" ({', '.join(field.choices)})" if field.choices else ""
        lines.append(f"{field.name}: {field.help}{choices}; by default {field.value(default_of(kind))}.")
    return lines
