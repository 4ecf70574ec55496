"""A pruned network of transformers as a folder that `from_pretrained` reads, where a configuration can describe it.

Which number of the configuration decides which sizes is not known by name: networks are built with one number changed,
and what changes with it is looked at.
"""

import copy
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import nn

from tui_prune import paths
from tui_prune.archives.origin import Origin
from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.nested import all_tensors_in, map_tensors
from tui_prune.loading.building import build
from tui_prune.loading.sources.huggingface import CONFIG, KIND, plain_config
from tui_prune.progress import Progress
from tui_prune.saving.probe import probe_arguments, relative_error, run, sampled
from tui_prune.saving.whole_file import TargetExistsError
from tui_prune.surgery.verify import TOLERANCES

NAME = "transformers"
_MOST_FIELDS = 6
"""Numbers of a configuration that are changed at a time."""
_USUAL_TOLERANCE = 1e-4
_FINE_TOLERANCE = 1e-6
"""In double precision, with parts that networks compute in single precision."""

Steps = tuple[str | int, ...]
Shapes = dict[str, tuple[int, ...]]
Axis = tuple[str, int]


@dataclass(frozen=True)
class Folder:
    """What was written."""

    changes: tuple[str, ...]
    """Numbers of the configuration that changed: "intermediate_size 3072 → 1536"."""
    bytes: int
    max_error: float
    """Of what `from_pretrained` gives, beside the pruned network."""


def write_folder(
    checkpoint: Checkpoint, network: nn.Module, target: Path, *, force: bool, progress: Progress
) -> Folder:
    """Write a folder for `from_pretrained`; it is read again and compared before it takes its place.

    Raises `UsageError` for a network that isn't of transformers, `TuiPruneError` where no configuration describes it,
    or where it gives other numbers. Nothing was written then.
    """
    check_folder(target, force=force)
    config = getattr(network, "config", None)
    if not type(network).__module__.startswith("transformers.") or config is None:
        raise UsageError(f"--format {NAME} is for networks of transformers; this is a {type(network).__name__}.")
    name, wanted = type(network).__name__, _shapes(network)
    before = checkpoint.origin.arguments.get(CONFIG) if checkpoint.origin.kind == KIND else plain_config(config)
    progress("find a configuration", 0.1)
    fitted, changes = fitted_config(name, dict(before or {}), wanted, progress)
    made = build(Origin(KIND, name, {CONFIG: fitted}))
    made.load_state_dict(network.state_dict())
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    try:
        made.eval().save_pretrained(part)  # type: ignore[operator]
        progress("compare", 0.8)
        difference = _compared(checkpoint, network, type(network).from_pretrained(part, local_files_only=True))  # type: ignore[attr-defined]
        octets = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        _put_in_place(part, target)
    except OSError as error:
        raise TuiPruneError(f"{target} can't be written: {error.strerror or error}. Nothing was changed.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Folder(changes, octets, difference)


def check_folder(target: Path, *, force: bool) -> None:
    """Raise `TargetExistsError` when there is something and `force` isn't set; `TuiPruneError` when it is no folder of
    `save_pretrained`, which nothing replaces, or when its parent is missing."""
    if not paths.is_folder(target.absolute().parent):
        raise TuiPruneError(f"{target} can't be written: there is no folder {target.absolute().parent}. Make it first.")
    if not os.path.lexists(target):
        return
    if not force:
        raise TargetExistsError(target)
    if not (paths.is_folder(target) and paths.is_file(target / "config.json")):
        raise TuiPruneError(f"{target} is no folder of save_pretrained, so it isn't replaced. Name another one.")


def fitted_config(
    name: str, config: dict[str, Any], wanted: Shapes, progress: Progress
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The configuration with which a class of transformers has these shapes, and what has changed in it.

    Raises `TuiPruneError` where there is none, with what would have to be two things at a time.
    """
    own = _shapes_of(name, config)
    if own is None or own.keys() != wanted.keys():
        raise TuiPruneError(f"The configuration of {name} doesn't build a network of the same parts. {_ELSE}")
    cut = {axis for axis in _axes(own) if _size(own, axis) != _size(wanted, axis)}
    found: dict[Steps, int] = {}
    torn = ""
    fields = [field for field in _numbers(config) if _may_decide(field[1], own, cut)]
    for number, (path, value) in enumerate(fields):
        progress("find a configuration", 0.1 + 0.5 * number / len(fields))
        implied = _implied(name, config, path, value, own, wanted)
        values = dict.fromkeys(implied.values())
        if len(values) == 1 and (new := next(iter(values))) != value:
            if new.denominator == 1 and new > 0:
                found[path] = int(new)
        elif len(values) > 1 and not torn and set(implied) & cut:
            torn = _torn(path, implied)
    for count in range(min(len(found), _MOST_FIELDS) + 1):
        for chosen in itertools.combinations(found.items(), count):
            trial = copy.deepcopy(config)
            for path, size in chosen:
                _set(trial, path, size)
            if _shapes_of(name, trial) == wanted:
                changes = tuple(f"{_dotted(path)} {_at(config, path)} → {size}" for path, size in chosen)
                return trial, changes
    raise TuiPruneError(f"No configuration of {name} describes this network{torn}. {_ELSE}")


_ELSE = "Cut layers of a kind by the same ratio, in the scope local; or load the pruned checkpoint by tui_prune.load."


def _implied(
    name: str, config: dict[str, Any], path: Steps, value: int, own: Shapes, wanted: Shapes
) -> dict[Axis, Fraction]:
    """What a number would have to be by each of the sizes that change with it."""
    for other in (2 * value, 3 * value, value + 1):
        trial = copy.deepcopy(config)
        _set(trial, path, other)
        shapes = _shapes_of(name, trial)
        if shapes is None or shapes.keys() != own.keys():
            continue
        implied = {}
        for axis in _axes(own):
            if len(shapes[axis[0]]) == len(own[axis[0]]) and _size(shapes, axis) != _size(own, axis):
                slope = Fraction(_size(shapes, axis) - _size(own, axis), other - value)
                implied[axis] = value + (_size(wanted, axis) - _size(own, axis)) / slope
        return implied
    return {}


def _may_decide(value: int, own: Shapes, cut: set[Axis]) -> bool:
    return value > 1 and any(_size(own, axis) % value == 0 or value % _size(own, axis) == 0 for axis in cut)


def _torn(path: Steps, implied: Mapping[Axis, Fraction]) -> str:
    """Two layers that would need different values of a number."""
    places: dict[Fraction, str] = {}
    for (tensor, _), value in implied.items():
        places.setdefault(value, tensor.rpartition(".")[0])
    (one, where), (other, elsewhere) = itertools.islice(places.items(), 2)
    return f": {_dotted(path)} would have to be {one} by {where} and {other} by {elsewhere}"


def _shapes_of(name: str, config: Mapping[str, Any]) -> Shapes | None:
    try:
        return _shapes(build(Origin(KIND, name, {CONFIG: config}), "meta"))
    except Cancelled:
        raise
    except TuiPruneError:  # a configuration that its class doesn't take
        return None


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _axes(shapes: Shapes) -> Iterator[Axis]:
    for name, shape in shapes.items():
        yield from ((name, dim) for dim in range(len(shape)))


def _size(shapes: Shapes, axis: Axis) -> int:
    return shapes[axis[0]][axis[1]]


def _numbers(value: Any, path: Steps = ()) -> Iterator[tuple[Steps, int]]:
    """All whole numbers of a configuration, with the way to each."""
    if type(value) is int:
        yield path, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _numbers(entry, (*path, key))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from _numbers(entry, (*path, place))


def _at(config: Any, path: Steps) -> Any:
    for step in path:
        config = config[step]
    return config


def _set(config: Any, path: Steps, value: int) -> None:
    _at(config, path[:-1])[path[-1]] = value


def _dotted(path: Steps) -> str:
    return ".".join(map(str, path))


def _compared(checkpoint: Checkpoint, network: nn.Module, again: nn.Module) -> float:
    """How far their outputs differ. Raises `TuiPruneError` where that is more than rounding.

    What the code reads beside its weights, such as the scale of an attention, can differ by so little that it hides in
    the rounding of single precision. So both are compared in double precision, too, and by such numbers themselves.
    """
    args, kwargs = probe_arguments(checkpoint)
    expected, outputs = run(network, args, kwargs), run(again.eval(), args, kwargs)
    error = relative_error([sampled(output) for output in expected], outputs)
    limit = max((TOLERANCES.get(output.dtype, _USUAL_TOLERANCE) for output in all_tensors_in(expected)), default=0.0)
    fine = 0.0
    with suppress(Exception):  # code that doesn't run in double precision
        arguments = map_tensors((args, kwargs), lambda one: one.double() if one.is_floating_point() else one)
        twins = (copy.deepcopy(one).double() for one in (network, again))
        exact, other = (run(twin, *arguments) for twin in twins)
        fine = relative_error([sampled(output) for output in exact], other)
    setting = next(_different_settings(network, again), "")
    if error > limit or fine > _FINE_TOLERANCE or setting:
        how = f"{setting}; " if setting else ""
        raise TuiPruneError(
            f"What from_pretrained gives has the right shapes and isn't the pruned network: {how}its outputs differ by "
            f"{max(error, fine):.1e} of the largest. Nothing was written; tui_prune.load reads the pruned checkpoint."
        )
    return error


def _different_settings(network: nn.Module, again: nn.Module) -> Iterator[str]:
    """Numbers with a fraction that modules keep and that aren't the same, in words."""
    for (name, one), (_, other) in zip(network.named_modules(), again.named_modules(), strict=True):
        for key, value in vars(other).items():
            own = vars(one).get(key)
            if type(value) is float and type(own) is float and value != own:
                yield f"{name}.{key} is {own:g} there and {value:g} by its configuration"


def _put_in_place(part: Path, target: Path) -> None:
    if not os.path.lexists(target):
        os.rename(part, target)
        return
    old = part.with_suffix(".old")
    os.rename(target, old)
    try:
        os.rename(part, target)
    except OSError:
        with suppress(OSError):
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
