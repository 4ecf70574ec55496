"""torchvision's networks by name, without weights: nothing is ever downloaded.

torchvision itself is imported when it is first asked for, because that takes as long as importing torch.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module, metadata
from typing import Any

from torch import nn

KIND = "torchvision"
ARGUMENTS = frozenset({"num_classes", "num_keypoints", "aux_logits", "aux_loss", "image_size", "transform_input"})
"""What an origin may pass to a builder. None of them fetches anything."""

_IMAGE = "1,3,224,224"
_CLIP = "1,3,16,112,112"
_LARGE_CLIP = "1,3,16,224,224"
_INPUT_BY_NAME = {
    "inception_v3": "1,3,299,299",
    "quantized_inception_v3": "1,3,299,299",
    "s3d": _LARGE_CLIP,
    "mvit_v1_b": _LARGE_CLIP,
    "mvit_v2_s": _LARGE_CLIP,
}
_INPUT_BY_PACKAGE = {
    "torchvision.models.detection": "[3,320,320]",
    "torchvision.models.optical_flow": "1,3,128,128;1,3,128,128",
    "torchvision.models.video": _CLIP,
}
_OWN_INITIALISATION = frozenset({"googlenet", "inception_v3"})
"""Their builders draw from a truncated normal distribution for seconds, or warn; PyTorch's default is as good here."""


def torchvision_version() -> str:
    """The version that is installed."""
    return metadata.version("torchvision")


@lru_cache(maxsize=1)
def torchvision_names() -> tuple[str, ...]:
    """All names that torchvision itself has registered."""
    return tuple(name for name in _models().list_models() if torchvision_source(name).startswith("torchvision."))


def build_torchvision(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with random weights."""
    accepted = inspect.signature(_models().get_model_builder(name)).parameters
    without_weights = {key: None for key in ("weights", "weights_backbone") if key in accepted}
    if name.removeprefix("quantized_") in _OWN_INITIALISATION:
        return _models().get_model(name, init_weights=False, **without_weights, **arguments)
    return _models().get_model(name, **without_weights, **arguments)


def torchvision_input_spec(name: str, arguments: Mapping[str, Any]) -> str:
    """The shape of an input that the network can be run on."""
    if "image_size" in arguments:
        return f"1,3,{arguments['image_size']},{arguments['image_size']}"
    package = torchvision_source(name)
    return _INPUT_BY_NAME.get(name) or next(
        (spec for prefix, spec in _INPUT_BY_PACKAGE.items() if package.startswith(prefix)), _IMAGE
    )


def published_sizes(name: str) -> tuple[int, ...]:
    """Parameters of the network, one number for each of its published weights."""
    return tuple(
        weights.meta["num_params"] for weights in _models().get_model_weights(name) if "num_params" in weights.meta
    )


def torchvision_source(name: str) -> str:
    """The Python module that defines the network."""
    return _models().get_model_builder(name).__module__


def _models() -> Any:
    return import_module("torchvision.models")
