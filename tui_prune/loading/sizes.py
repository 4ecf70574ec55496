"""The number of classes and other sizes of a network, read off the shapes of its weights."""

import math
from collections.abc import Iterator

from torch import nn

from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.loading.building import build
from tui_prune.loading.signatures import Signature, signature_of

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
