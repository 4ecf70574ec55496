"""Which network weights belong to, by the names and shapes of their tensors."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from tui_prune.archives.inert_file import ModuleTensors
from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.loading.building import build
from tui_prune.loading.fitting import WeightsMismatchError, common_prefixes, compare_shapes, fit
from tui_prune.loading.recognise_timm import among_timm
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
from tui_prune.loading.sizes import class_count, likely_sizes, with_sizes
from tui_prune.loading.sources.timm import has_timm
from tui_prune.progress import Progress, silent

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
        return TuiPruneError(f"{source} fits no network that tui-prune knows by name. {advice}")
    found = table.signature(nearest[0])
    shapes = max(forms, key=lambda form: _overlap(found, form))
    origin, signature = likely_sizes(nearest[0], found, shapes)
    same = sum(signature.get(name) == shape for name, shape in shapes.items())
    every = len(signature.keys() | shapes.keys())
    return TuiPruneError(
        f"{source} fits no network that tui-prune knows by name. The nearest is {spec_of(origin)}, but "
        f"{compare_shapes(shapes, signature)}; {same} of {every} names and shapes fit ({same / every:.0%}), and part "
        f"of a network is never loaded. {advice}"
    )
