"""Which network weights belong to, by the names and shapes of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tui_prune.errors import TuiPruneError
from tui_prune.opening.building import build
from tui_prune.opening.fitting import WeightsMismatchError, common_prefixes, compare_shapes, fit
from tui_prune.opening.opened import Origin
from tui_prune.opening.signatures import (
    Signature,
    SignatureTable,
    candidates,
    parameter_count,
    shapes_of,
    signature_of,
    variants,
)
from tui_prune.opening.sizes import with_sizes
from tui_prune.progress import Progress, silent

_OPTIONAL = "num_batches_tracked"
_NEAREST = 3
_LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Recognised:
    """The network that weights belong to."""

    origin: Origin
    exact: bool
    """All names and shapes are equal. Otherwise the network can still read them: they have older names."""


def recognise(state: Mapping[str, Tensor], *, source: str = "weights", progress: Progress = silent) -> Recognised:
    """The torchvision or bundled network that `state` fits, with the number of classes of its head.

    `source` is the file that `state` is from; what its name says is tried first.

    Raises `TuiPruneError`, with the nearest network, when `state` fits none.
    """
    forms = _forms(shapes_of(state))
    table = SignatureTable()
    overlaps: list[tuple[float, Origin]] = []
    try:
        ranked = candidates(parameter_count(forms[0]), Path(source).stem.lower())
        for index, candidate in enumerate(ranked):
            progress("recognise", index / len(ranked))
            signature = table.signature(candidate.origin)
            for shapes in forms:
                if _names(signature) == _names(shapes):
                    origin = with_sizes(candidate.origin, signature, shapes)
                    if origin is not None:
                        return Recognised(origin, exact=signature.keys() == shapes.keys())
            overlaps.append((max(_overlap(signature, shapes) for shapes in forms), candidate.origin))
    finally:
        table.keep()
    overlaps.sort(key=lambda pair: -pair[0])
    nearest = [origin for overlap, origin in overlaps[:_NEAREST] if overlap >= _LEAST_OVERLAP]
    for origin in nearest:
        try:
            fit(build(origin, "meta"), state, source=source, network=origin.title)
            return Recognised(origin, exact=False)
        except WeightsMismatchError:
            continue
    raise _unknown(nearest, forms, source)


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


def _unknown(nearest: list[Origin], forms: list[Signature], source: str) -> TuiPruneError:
    advice = f"Name the code that makes it, as in: tui-prune net.py:make --weights {source}"
    if not nearest:
        return TuiPruneError(f"{source} fits no network that tui-prune knows by name. {advice}")
    signature = signature_of(build(nearest[0], "meta"))
    shapes = max(forms, key=lambda form: _overlap(signature, form))
    mismatch = compare_shapes(shapes, signature)
    return TuiPruneError(
        f"{source} fits no network that tui-prune knows by name. The nearest is {nearest[0].title}, but {mismatch}. "
        f"{advice}"
    )
