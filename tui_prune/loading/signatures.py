"""Names and shapes of the tensors of every network that can be built by name; torchvision's and timm's are
cached on disk."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tui_prune.archives.origin import Origin
from tui_prune.config import folders
from tui_prune.files import read_json, write_json
from tui_prune.loading.building import build
from tui_prune.loading.sources.bundled import bundled_names
from tui_prune.loading.sources.timm import timm_version
from tui_prune.loading.sources.torchvision import published_sizes, torchvision_names, torchvision_version

Signature = Mapping[str, tuple[int, ...]]
_VARIANTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False},
    "inception_v3": {"aux_logits": False},
    "deeplabv3_mobilenet_v3_large": {"aux_loss": True},
    "deeplabv3_resnet101": {"aux_loss": True},
    "deeplabv3_resnet50": {"aux_loss": True},
    "fcn_resnet101": {"aux_loss": True},
    "fcn_resnet50": {"aux_loss": True},
}
"""Arguments that add or leave out whole parts."""
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def signature_of(module: nn.Module) -> Signature:
    """Names and shapes of the state dict of `module`."""
    return shapes_of(module.state_dict())


def shapes_of(state: Mapping[str, Any]) -> Signature:
    """Names and shapes of the tensors of a state dict."""
    return {name: tuple(tensor.shape) for name, tensor in state.items() if isinstance(tensor, Tensor)}


def variants(origin: Origin) -> tuple[Origin, ...]:
    """The network with and without the parts that can be left out."""
    if origin.kind != "torchvision" or origin.name not in _VARIANTS:
        return (origin,)
    return (origin, Origin(origin.kind, origin.name, {**_VARIANTS[origin.name], **origin.arguments}))


class Candidate(NamedTuple):
    """A network that weights may belong to."""

    origin: Origin
    sizes: tuple[int, ...]
    """Numbers of parameters that it is known to have, at its usual number of classes."""


def candidates(parameters: int, hint: str = "") -> list[Candidate]:
    """All networks, the likeliest first: named in `hint` (a file name), then of nearly as many `parameters`."""
    torchvision_candidates = [
        Candidate(origin, published_sizes(name))
        for name in torchvision_names()
        if not name.startswith("quantized_")
        for origin in variants(Origin("torchvision", name))
    ]
    bundled = [Candidate(Origin("bundled", name), ()) for name in bundled_names()]

    def unlikeliness(candidate: Candidate) -> tuple[bool, float, int]:
        name = candidate.origin.name
        distance = min((abs(size - parameters) for size in candidate.sizes), default=0)
        return name not in hint, distance, -len(name) if name in hint else len(name)

    return sorted([*bundled, *torchvision_candidates], key=unlikeliness)


def parameter_count(signature: Signature) -> int:
    """The number of parameters in a state dict, as far as the names tell buffers from them."""
    return sum(math.prod(shape) for name, shape in signature.items() if not name.endswith(_STATISTICS))


class SignatureTable:
    """The signatures of networks by origin, built when they are first asked for.

    Those of torchvision's and timm's networks are kept in the user's cache folder, in one file for each version of
    either. A file that can't be read is ignored, and so is a folder that can't be written.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Signature]] = {}
        self._changed: set[str] = set()

    def signature(self, origin: Origin) -> Signature:
        """Names and shapes of the state dict. Raises `TuiPruneError` when the network can't be built."""
        kept = origin.kind in _VERSIONS
        if origin.kind not in self._known:
            self._known[origin.kind] = _read(_file(origin.kind)) if kept else {}
        known, key = self._known[origin.kind], json.dumps([origin.name, dict(origin.arguments)])
        if key not in known:
            known[key] = signature_of(build(origin, "meta"))
            if kept:
                self._changed.add(origin.kind)
        return known[key]

    def keep(self) -> None:
        """Write what was built since the table was read."""
        for kind in sorted(self._changed):
            write_json(_file(kind), self._known[kind])
        self._changed.clear()


_VERSIONS: dict[str, Callable[[], str]] = {"torchvision": torchvision_version, "timm": timm_version}
"""The kinds of networks of which there are too many to build them each time."""


def _file(kind: str) -> Path:
    version = _VERSIONS[kind]().replace("+", "_")
    return folders()["cache"] / f"{kind}-{version}.json.gz"


def _read(file: Path) -> dict[str, Signature]:
    try:
        content = read_json(file)
        return {key: {name: _shape(shape) for name, shape in value.items()} for key, value in content.items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def _shape(sizes: list[int]) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in sizes):
        raise ValueError("a size is no number")
    return tuple(sizes)
