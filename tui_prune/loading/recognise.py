"""Which network weights belong to, by the names and shapes of their tensors.

timm has more than a thousand networks: the likely families are built first."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from tui_prune.archives.inert_file import ModuleTensors
from tui_prune.archives.origin import Origin
from tui_prune.errors import Remedy, TuiPruneError
from tui_prune.loading.building import build
from tui_prune.loading.fitting import WeightsMismatchError, common_prefixes, compare_shapes, fit
from tui_prune.loading.recognised import Recognised, spec_of
from tui_prune.loading.signatures import (
    Candidate,
    Signature,
    SignatureTable,
    candidates,
    parameter_count,
    shapes_of,
    signature_of,
    variants,
)
from tui_prune.loading.sources.timm import has_timm, timm_families
from tui_prune.progress import Progress, part, silent

_OPTIONAL = "num_batches_tracked"
_NEAREST = 3
_LEAST_OVERLAP = 0.5


def recognise(state: Mapping[str, Tensor], *, source: str = "weights", progress: Progress = silent) -> Recognised:
    """The torchvision, bundled or (where it is installed) timm network that `state` fits, with the number of classes
    of its head. Every name and shape has to fit.

    `source` is the file that `state` is from; what its name says is tried first, and decides where several fit.

    Raises `TuiPruneError`, with the nearest network, when `state` fits none.
    """
    forms = _forms(shapes_of(state))
    hint = Path(source).stem.lower()
    table = SignatureTable()
    near: list[Origin] = []
    try:
        ranked = candidates(parameter_count(forms[0]), hint)
        for index, candidate in enumerate(ranked):
            progress("recognise", index / len(ranked))
            origin = _fitting(candidate.origin, table.signature(candidate.origin), forms)
            if origin is not None:
                others = _others(candidate, ranked, table, forms)
                return _recognised(origin, others, table, forms, hint, exact=True)
            near.append(candidate.origin)
        nearest = _nearest(near, table, forms)
        for origin in nearest:
            try:
                fit(build(origin, "meta"), state, source=source, network=origin.title)
            except WeightsMismatchError:
                continue
            return _recognised(origin, [], table, forms, hint, exact=False)
        if has_timm():
            found = among_timm(forms[-1], hint, table, lambda origin, own: _fitting(origin, own, forms), progress)
            if found.fitting:
                return _recognised(found.fitting[0], found.fitting[1:], table, forms, hint, exact=True)
            nearest = _nearest([*nearest, *found.near], table, forms)
        raise _unknown(nearest, table, forms, source, _advice(state, source))
    finally:
        table.keep()


def _fitting(origin: Origin, signature: Signature, forms: list[Signature]) -> Origin | None:
    """`origin` with the sizes that make it fit one of the forms of the weights; None where it doesn't."""
    for shapes in forms:
        if _names(signature) == _names(shapes):
            sized = with_sizes(origin, signature, shapes)
            if sized is not None:
                return sized
    return None


def _others(found: Candidate, ranked: list[Candidate], table: SignatureTable, forms: list[Signature]) -> list[Origin]:
    """What fits as well, among the networks of the same number of parameters and among the bundled ones."""
    if found.origin.kind == "bundled":
        alike = [one for one in ranked if one.origin.kind == "bundled" and one != found]
    else:
        alike = [one for one in ranked if one != found and set(one.sizes) & set(found.sizes)]
    fitting = (_fitting(one.origin, table.signature(one.origin), forms) for one in alike)
    return [origin for origin in fitting if origin is not None]


def _recognised(
    origin: Origin, others: list[Origin], table: SignatureTable, forms: list[Signature], hint: str, *, exact: bool
) -> Recognised:
    decided = ""
    if others:
        decided = "the name of the file decided" if origin.name in hint else "the shortest name was taken"
    classes = origin.arguments.get("num_classes") or class_count(origin, forms[0] if exact else table.signature(origin))
    tensors = len(forms[0])
    return Recognised(origin, exact, tensors, classes, tuple(others), decided)


def _nearest(origins: list[Origin], table: SignatureTable, forms: list[Signature]) -> list[Origin]:
    """The few that share the most tensors with the weights."""
    overlaps = [(max(_overlap(table.signature(origin), shapes) for shapes in forms), origin) for origin in origins]
    overlaps.sort(key=lambda pair: -pair[0])
    return [origin for overlap, origin in overlaps[:_NEAREST] if overlap >= _LEAST_OVERLAP]


def sized_for(origin: Origin, state: Mapping[str, Tensor]) -> Origin:
    """`origin` with the number of classes and the like that `state` has, where that makes it fit."""
    for candidate in variants(origin):
        signature = signature_of(build(candidate, "meta"))
        for shapes in _forms(shapes_of(state)):
            if _names(signature) == _names(shapes):
                return with_sizes(candidate, signature, shapes) or origin
    return origin


def _forms(shapes: Signature) -> list[Signature]:
    """The shapes under the names as they are, and without what all names start with."""
    return [
        {name.removeprefix(prefix): shape for name, shape in shapes.items()}
        for prefix in ("", *common_prefixes(shapes))
    ]


def _names(signature: Signature) -> frozenset[str]:
    return frozenset(name for name in signature if not name.endswith(_OPTIONAL))


def _overlap(signature: Signature, shapes: Signature) -> float:
    """Tensors that both have, with the same shape, as a share of all: 0 to 1."""
    common = sum(signature.get(name) == shape for name, shape in shapes.items())
    return common / len(signature.keys() | shapes.keys())


def _advice(state: Mapping[str, Tensor], source: str) -> str:
    """What to do with weights of a network that isn't known."""
    command = f"tui-prune net.py:make --weights {source}"
    if not isinstance(state, ModuleTensors):
        return f"Name the code that makes it, as in: {command}"
    return (
        f"It is a whole {state.kind.rpartition('.')[2] or 'module'}, of which only the tensors were read. Write a file "
        f"net.py with its code ({state.recipe}), and open {command}"
    )


def _unknown(
    nearest: list[Origin], table: SignatureTable, forms: list[Signature], source: str, advice: str
) -> TuiPruneError:
    if not nearest:
        sentence = f"{source} fits no network that tui-prune knows by name. {advice}"
        return TuiPruneError(sentence, remedies=[Remedy.OWN_CODE])
    found = table.signature(nearest[0])
    shapes = max(forms, key=lambda form: _overlap(found, form))
    origin, signature = likely_sizes(nearest[0], found, shapes)
    same = sum(signature.get(name) == shape for name, shape in shapes.items())
    every = len(signature.keys() | shapes.keys())
    return TuiPruneError(
        f"{source} fits no network that tui-prune knows by name. The nearest is {spec_of(origin)}, but "
        f"{compare_shapes(shapes, signature)}; {same} of {every} names and shapes fit ({same / every:.0%}), and part "
        f"of a network is never loaded. {advice}",
        remedies=[Remedy.OWN_CODE],
    )


Fits = Callable[[Origin, Signature], Origin | None]
"""The origin with the sizes of the weights' head, where the network of that signature fits them."""
_STAGE = "recognise: timm's"
_LEAST_ALIKE = 0.4
_MOST_FAMILIES = 6
_NUMBER = re.compile(r"\d+")


class InTimm(NamedTuple):
    """What was found among timm's networks."""

    fitting: list[Origin]
    """Those that fit, with their sizes; the ones named in the file name first."""
    near: list[Origin]
    """Those of the likeliest families that don't fit."""


def among_timm(shapes: Signature, hint: str, table: SignatureTable, fits: Fits, progress: Progress) -> InTimm:
    """Compare with the networks of the families whose names of tensors, numbers aside, are most like these.

    Families are known by one of their networks each (some 200, a few hundredths of a second each when they aren't in
    the table yet). `hint` is the name of the weights' file.
    """
    families = timm_families()
    likely = _likely_families(families, shapes, hint, table, part(progress, 0.0, 0.6))
    names = [name for family in likely for name in families[family]]
    names.sort(key=lambda name: (name not in hint, -len(name) if name in hint else len(name), name))
    fitting, near = _compare(names, table, fits, part(progress, 0.6, 0.9))
    # The same network often stands in another family, too, with another padding or norm: tf_efficientnet_b0.
    found = [origin.name for origin in fitting]
    rest = (name for family in families.keys() - set(likely) for name in families[family])
    akin = sorted(name for name in rest if any(one in name or name in one for one in found))
    fitting += _compare(akin, table, fits, part(progress, 0.9, 1.0))[0]
    return InTimm(fitting, near)


def _compare(
    names: list[str], table: SignatureTable, fits: Fits, progress: Progress
) -> tuple[list[Origin], list[Origin]]:
    """Those that fit, with their sizes, and those that don't."""
    fitting, near = [], []
    for index, name in enumerate(names):
        progress(_STAGE, index / len(names))
        origin = Origin("timm", name)
        signature = _signature(table, origin)
        if signature is not None:
            sized = fits(origin, signature)
            if sized is None:
                near.append(origin)
            else:
                fitting.append(sized)
    return fitting, near


def _likely_families(
    families: dict[str, list[str]], shapes: Signature, hint: str, table: SignatureTable, progress: Progress
) -> list[str]:
    wanted = _patterns(shapes)
    alike: list[tuple[float, str]] = []
    for index, (family, names) in enumerate(families.items()):
        progress(_STAGE, index / len(families))
        named = [name for name in names if name in hint]
        first = min(named or names, key=lambda name: (len(name), name))
        signature = _signature(table, Origin("timm", first))
        if signature is not None:
            found = _patterns(signature)
            alike.append((len(found & wanted) / len(found | wanted), family))
    alike.sort(key=lambda pair: -pair[0])
    return [family for share, family in alike[:_MOST_FAMILIES] if share >= _LEAST_ALIKE]


def _signature(table: SignatureTable, origin: Origin) -> Signature | None:
    try:
        return table.signature(origin)
    except TuiPruneError:  # a few need packages that aren't installed
        return None


def _patterns(signature: Signature) -> frozenset[str]:
    return frozenset(_NUMBER.sub("#", name) for name in signature)


_LINEAR = ("num_classes", "num_keypoints", "in_chans")
_LARGEST_HEAD = 16
"""Tensors that may depend on such a size; a network that differs in more of them is another one."""


def with_sizes(origin: Origin, signature: Signature, shapes: Signature) -> Origin | None:
    """`origin`, whose tensors have the shapes `signature`, with the sizes that give it `shapes`; None: no sizes do."""
    differing = [name for name, shape in shapes.items() if name in signature and signature[name] != shape]
    if not differing:
        return origin
    if len(differing) > _LARGEST_HEAD:
        return None
    sizes = dict(_solved(origin, shapes, differing))
    sized = Origin(origin.kind, origin.name, {**origin.arguments, **sizes})
    try:
        built = signature_of(build(sized, "meta"))
    except TuiPruneError:
        return None
    return sized if all(built.get(name) == shape for name, shape in shapes.items()) else None


def likely_sizes(origin: Origin, signature: Signature, shapes: Signature) -> tuple[Origin, Signature]:
    """`origin`, which `shapes` don't fit, with the sizes that bring them nearer; and its tensors' shapes then."""
    differing = [name for name, shape in shapes.items() if name in signature and signature[name] != shape]
    if not differing or len(differing) > _LARGEST_HEAD:
        return origin, signature
    sized = Origin(origin.kind, origin.name, {**origin.arguments, **dict(_solved(origin, shapes, differing))})
    try:
        return sized, signature_of(build(sized, "meta"))
    except TuiPruneError:
        return origin, signature


def class_count(origin: Origin, shapes: Signature) -> int | None:
    """The number of classes of the head that `shapes` has; None where the network has none that can be chosen."""
    return _linear_size(origin, "num_classes", shapes, list(shapes))


def _solved(origin: Origin, shapes: Signature, differing: list[str]) -> Iterator[tuple[str, int]]:
    for argument in _LINEAR:
        size = _linear_size(origin, argument, shapes, differing)
        if size is not None:
            yield argument, size
    if "encoder.pos_embedding" in differing and "conv_proj.weight" in shapes:
        patches = math.isqrt(shapes["encoder.pos_embedding"][1] - 1)
        yield "image_size", patches * shapes["conv_proj.weight"][-1]


def _linear_size(origin: Origin, argument: str, shapes: Signature, differing: list[str]) -> int | None:
    """The size for which a tensor gets its shape, from the shapes that it has for 2 and for 3."""
    try:
        two, three = (signature_of(_built_with(origin, argument, size)) for size in (2, 3))
    except TuiPruneError:
        return None
    for name in differing:
        if name not in two or name not in three or len(two[name]) != len(shapes[name]):
            continue
        for at_two, at_three, wanted in zip(two[name], three[name], shapes[name], strict=True):
            if at_two != at_three:
                size, rest = divmod(wanted - at_two, at_three - at_two)
                return size + 2 if rest == 0 and size > -2 else None
    return None


def _built_with(origin: Origin, argument: str, size: int) -> nn.Module:
    return build(Origin(origin.kind, origin.name, {**origin.arguments, argument: size}), "meta")
