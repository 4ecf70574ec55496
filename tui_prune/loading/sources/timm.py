"""timm's networks by name, where timm is installed: it is no dependency. Without weights: nothing is ever downloaded.

timm is imported when one of its networks is first asked for.
"""

import difflib
import re
from collections.abc import Mapping
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from torch import nn

from tui_prune.errors import Remedy, UsageError

KIND = "timm"
ARGUMENTS = frozenset({"num_classes", "in_chans"})
"""What an origin may pass to a builder. None of them fetches anything."""
PREFIX = "timm:"
"""Before the name of one of timm's networks, where a user names it: many of torchvision's have the same names."""

_NAME_START = re.compile(r"[a-z]+")


def timm_version() -> str:
    """The version that is installed. Raises `UsageError` when none is."""
    try:
        return metadata.version("timm")
    except metadata.PackageNotFoundError:
        raise _missing() from None


def has_timm() -> bool:
    """Whether timm is installed; it isn't imported for that."""
    return find_spec("timm") is not None


def timm_names() -> list[str]:
    """The names of all networks. Raises `UsageError` where timm isn't installed."""
    return list(_timm().list_models())


def installed_names() -> list[str]:
    """The names of all networks; none where timm isn't installed."""
    return timm_names() if has_timm() else []


def timm_families() -> dict[str, list[str]]:
    """The names of all networks by family: a module of timm's, and what the name starts with."""
    timm = _timm()
    families: dict[str, list[str]] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            start = _NAME_START.match(name)
            families.setdefault(f"{module}.{start[0] if start else ''}", []).append(name)
    return families


def check_timm_name(name: str) -> None:
    """Raises `UsageError` when timm isn't installed or has no network of this name ("resnet18", "resnet18.a1_in1k")."""
    timm = _timm()
    if "/" in name or ":" in name or not timm.is_model(name):
        close = difflib.get_close_matches(name.lower(), timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(PREFIX + other for other in close)}?" if close else ""
        raise UsageError(f"timm {timm_version()} has no network {name!r}.{hint}", remedies=[Remedy.OTHER])


def build_timm(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with random weights."""
    return _timm().create_model(name, pretrained=False, **arguments)


def timm_input_spec(name: str, arguments: Mapping[str, Any]) -> str:
    """The shape of an input that the network can be run on."""
    settings = _timm().get_pretrained_cfg(name, allow_unregistered=True)
    channels, *sizes = getattr(settings, "input_size", None) or (3, 224, 224)
    return ",".join(map(str, (1, arguments.get("in_chans", channels), *sizes)))


def timm_name(module: nn.Module) -> str | None:
    """The name that timm has built a module by, as far as the module tells."""
    settings = getattr(module, "pretrained_cfg", None)
    name = settings.get("architecture") if isinstance(settings, Mapping) else None
    return name if isinstance(name, str) and _timm().is_model(name) else None


def _timm() -> Any:
    try:
        return import_module("timm")
    except ImportError:
        raise _missing() from None


def _missing() -> UsageError:
    return UsageError("timm isn't installed, so its networks can't be opened; install it with: pip install timm")
