"""How a module that somebody passes can be built again."""

from types import BuiltinFunctionType, FunctionType
from typing import Any

from torch import nn

from tui_prune.archives.origin import MODULE, Origin
from tui_prune.loading.building import build
from tui_prune.loading.recognise import sized_for
from tui_prune.loading.signatures import Signature, candidates, parameter_count, signature_of
from tui_prune.loading.sources.bundled import bundled_source
from tui_prune.loading.sources.timm import timm_name
from tui_prune.loading.sources.torchvision import torchvision_source

_KNOWN_CODE = ("torchvision.models.", "timm.models.", "tui_prune.models.")
_SWITCH = "transform_input"
_REMEMBERED = {"MultiScaleRoIAlign": frozenset({"scales", "map_levels"})}
"""What modules note of the first images that they see: it says nothing of what they are."""
_NEAREST = 6
"""How many of torchvision's networks of the same code, the nearest in size, are compared with a module."""


def origin_of(module: nn.Module) -> Origin:
    """By name, where the module is exactly one of torchvision's, timm's or bundled networks; else only by its owner."""
    kind = type(module)
    if kind.__module__.startswith(_KNOWN_CODE):
        signature = signature_of(module)
        for origin in _of_the_same_code(module, signature):
            built = build(origin, "meta")
            if not _same_parts(built, module):
                continue
            sized = origin if signature_of(built) == signature else sized_for(origin, module.state_dict())
            sized = _switched(sized, module)
            if _same_settings(built if sized is origin else build(sized, "meta"), module):
                return sized
    return Origin(MODULE, f"{kind.__module__}.{kind.__qualname__}")


def _of_the_same_code(module: nn.Module, signature: Signature) -> list[Origin]:
    kind = type(module)
    if kind.__module__.startswith("timm."):
        name = timm_name(module)
        return [] if name is None else [Origin("timm", name)]
    by_likelihood = [candidate.origin for candidate in candidates(parameter_count(signature))]
    sources = {"torchvision": torchvision_source, "bundled": bundled_source}
    found = [origin for origin in by_likelihood if sources[origin.kind](origin.name) == kind.__module__]
    return found if all(origin.kind == "bundled" for origin in found) else found[:_NEAREST]


def _switched(origin: Origin, module: nn.Module) -> Origin:
    """With the change of colours that torchvision switches on together with some of its published weights."""
    if origin.kind == "torchvision" and getattr(module, _SWITCH, False) is True:
        return Origin(origin.kind, origin.name, {**origin.arguments, _SWITCH: True})
    return origin


def _same_parts(built: nn.Module, module: nn.Module) -> bool:
    return [(name, type(part)) for name, part in built.named_modules()] == [
        (name, type(part)) for name, part in module.named_modules()
    ]


def _same_settings(built: nn.Module, module: nn.Module) -> bool:
    """Whether two modules of the same parts have the same settings and shapes, and nobody has hooked into `module`."""
    if not _same_parts(built, module) or signature_of(built) != signature_of(module):
        return False
    if len(list(built.parameters())) != len(list(module.parameters())):
        return False  # somebody has tied some
    return all(_same_part(*parts) for parts in zip(built.modules(), module.modules(), strict=True))


def _same_part(ours: nn.Module, theirs: nn.Module) -> bool:
    hooked = theirs._forward_hooks or theirs._forward_pre_hooks or "forward" in vars(theirs)
    return not hooked and ours.extra_repr() == theirs.extra_repr() and _settings(ours) == _settings(theirs)


def _settings(part: nn.Module) -> dict[str, Any]:
    remembered = {"training"} | _REMEMBERED.get(type(part).__name__, frozenset())
    return {name: value for name, value in vars(part).items() if name not in remembered and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (int, float, str, FunctionType, BuiltinFunctionType, type))
