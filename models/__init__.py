"""Networks to try things on: one readable file each, the same kind of file a user would bring.

Importing this package imports no torch; `factory` imports the one file that it needs.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn


class Network(NamedTuple):
    """Where a bundled network is found, and what it wants to see."""

    file: str
    """File in this package."""
    factory: str
    """Function in that file that returns the network with random weights."""
    input_spec: str
    """Shape of an example input."""
    about: str
    """What it is, in a few words."""
    parameters: int
    """How many it has."""
    trained: bool = False
    """Whether trained weights come with it."""
    pictures: str = ""
    """What was done to the pictures that it was trained on, as options of a built-in task."""


NETWORKS: dict[str, Network] = {
    "nin": Network(
        "nin.py",
        "nin",
        "1,3,32,32",
        "the network of the digits",
        969_822,
        trained=True,
        pictures="fit=stretch,interpolation=bilinear,mean=0.31,std=0.38",
    ),
    "nin_grouped_same_width": Network(
        "nin.py", "nin_grouped_same_width", "1,3,32,32", "nin with groups and channel shuffle", 87_390
    ),
    "nin_grouped_wide": Network(
        "nin.py", "nin_grouped_wide", "1,3,32,32", "with groups and shuffle, and wider", 591_390
    ),
    "nin_pruned_half": Network("nin.py", "nin_pruned_half", "1,3,32,32", "nin with half its channels gone", 276_943),
    "nin_pruned_half_aligned_8": Network(
        "nin.py", "nin_pruned_half_aligned_8", "1,3,32,32", "nin cut by half, in multiples of 8", 275_406
    ),
    "nin_plain_conv": Network("nin.py", "nin_plain_conv", "1,3,32,32", "nin, narrow at first, wide at last", 2_684_702),
    "nin_separable": Network("nin.py", "nin_separable", "1,3,32,32", "depthwise separable convolutions", 1_559_198),
    "nin_separable_expanded": Network(
        "nin.py", "nin_separable_expanded", "1,3,32,32", "separable, wider 1x1 convolutions", 3_113_310
    ),
    "plain_conv": Network("plain_conv.py", "plain_conv", "1,3,32,32", "eight convolutions in a row", 100_658_016),
    "preact_resnet18": Network(
        "preact_resnet18.py", "preact_resnet18", "1,3,32,32", "residual, norm first, small images", 11_172_170
    ),
    "se_resnet18": Network(
        "senet.py", "se_resnet18", "1,3,224,224", "residual with squeeze and excitation", 11_776_552
    ),
    "se_resnet50": Network(
        "senet.py", "se_resnet50", "1,3,224,224", "residual with squeeze and excitation", 28_071_976
    ),
    "xception": Network("xception.py", "xception", "1,3,299,299", "depthwise separable, residual", 22_855_952),
    "darknet53": Network("darknet53.py", "darknet53", "1,3,256,256", "residual, the backbone of YOLOv3", 41_609_928),
}


def factory(name: str) -> "Callable[..., nn.Module]":
    """The function that builds the bundled network `name`. Raises `KeyError` when there is none of that name."""
    network = NETWORKS[name]
    module = importlib.import_module(f"{__name__}.{network.file.removesuffix('.py')}")
    return getattr(module, network.factory)
