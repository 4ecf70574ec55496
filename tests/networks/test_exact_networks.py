"""Whole networks, cut and equal to the masked original, with random batch-norm statistics; what stays says why.

The default run sees one of each kind on small images; `-m networks` also the others, the large ones, and all with other
choices.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import tui_prune
from tests.exactness import only_kept_heads, prune_exactly, randomise_norms, trains
from tui_prune.models import NETWORKS, factory

AUXILIARY = {"googlenet", "inception_v3"}


@dataclass(frozen=True)
class Network:
    name: str
    size: int = 64
    """Of the square images."""
    left: float = 0.4
    """At most this share of the parameters is left after a cut of 50 %."""
    locks: frozenset[str] = field(default_factory=frozenset)
    """Reasons, besides "model output", for which something stays."""

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        if self.name in NETWORKS:
            model = factory(self.name)()
        else:
            settings = {"init_weights": True} if self.name in AUXILIARY else {}
            model = getattr(torchvision.models, self.name)(**settings)
        if self.name == "vit_b_16":  # Its head starts at zero: no output could show anything.
            nn.init.normal_(model.heads.head.weight, std=0.05)
        return randomise_norms(model).eval()

    @property
    def image(self) -> torch.Tensor:
        return torch.randn(1, 3, self.size, self.size)


UNEVEN = "its blocks are of unequal size (grouped convolution, is reshaped into equal parts)"
ALONE = "each of its blocks has a single channel, which must stay (grouped convolution, is reshaped into equal parts)"
UNREACHED = frozenset(
    {"AuxLogits may read it, which the example input doesn't reach", "the forward pass doesn't use it"}
)

QUICK = [
    Network("nin", 32),
    Network("nin_separable_expanded", 32),
    Network("nin_grouped_wide", 32),
    Network("nin_grouped_same_width", 32, 0.6, frozenset({UNEVEN, ALONE})),
    Network("resnet50"),
    Network("resnext50_32x4d"),
    Network("densenet121"),
    Network("mobilenet_v2"),
    Network("mobilenet_v3_small"),
    Network("shufflenet_v2_x1_0", left=0.5),
    Network("efficientnet_b0"),
    Network("regnet_y_400mf"),
    Network("squeezenet1_1"),
    Network("googlenet"),
    Network("inception_v3", 96, 0.6, UNREACHED),
    Network("convnext_tiny"),
]
MORE = [
    # Of the same kinds as a network above.
    Network("nin_plain_conv", 32),
    Network("nin_separable", 32),
    Network("resnet18"),
    Network("mobilenet_v3_large"),
    Network("squeezenet1_0"),
    Network("alexnet"),
    Network("mnasnet1_0"),
    # Large.
    Network("vgg16_bn"),
    Network("swin_t"),
    Network("vit_b_16", 224),
]


pytestmark = pytest.mark.usefixtures("one_thread")


def networks(listed: list[Network], *marks: Any) -> list[Any]:
    return [pytest.param(network, marks=marks, id=network.name) for network in listed]


@pytest.mark.parametrize("network", [*networks(QUICK), *networks(MORE, pytest.mark.networks)])
def test_cut_by_half(network: Network) -> None:
    result = prune_exactly(network.build(), network.image, reference=only_kept_heads)
    assert result.report.equivalence.kind == "exact"
    assert result.plan.after.params <= network.left * result.plan.before.params
    assert result.plan.after.macs < result.plan.before.macs
    assert_explained(result, network.locks)
    if network.name not in AUXILIARY:
        trains(result.model, torch.randn(2, 3, network.size, network.size))


def assert_explained(result: tui_prune.Result, expected: frozenset[str]) -> None:
    """Nothing stays whole without a reason, and the reasons are the known ones."""
    assert {lock.reason for lock in result.plan.graph.locks if not lock.is_output} == expected
    for layer in result.plan.layers:
        if layer.after == layer.before > 1 and layer.producer:
            assert layer.locked or layer.note, layer.name


@pytest.mark.parametrize(
    "network",
    [
        *networks([Network("googlenet", 224)]),
        *networks([Network("inception_v3", 299)], pytest.mark.networks),
    ],
)
@pytest.mark.parametrize("training", [False, True], ids=["in eval mode", "in train mode"])
def test_auxiliary_heads_still_fit(network: Network, training: bool) -> None:
    """They run in train mode only, whichever mode the network comes in."""
    model = network.build().train(training)
    result = tui_prune.prune(model, network.image, ratio=0.5)
    assert result.model.training is training
    outputs = result.model.train()(torch.randn(2, 3, network.size, network.size))
    assert [tuple(output.shape) for output in outputs] == [(2, 1000)] * len(outputs)
    assert len(outputs) > 1
    trains(result.model, torch.randn(2, 3, network.size, network.size))


@pytest.mark.networks
def test_auxiliary_heads_that_small_images_do_not_reach_still_fit() -> None:
    """Inception's auxiliary head can't see an image of 96 pixels: its first layer may not lose what it reads."""
    result = tui_prune.prune(Network("inception_v3").build(), torch.randn(1, 3, 96, 96), ratio=0.5)
    trains(result.model, torch.randn(2, 3, 299, 299))


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "shufflenet_v2_x1_0"])
def test_cut_network_takes_other_batches_and_sizes(name: str) -> None:
    result = tui_prune.prune(Network(name).build(), torch.randn(1, 3, 64, 64), ratio=0.5)
    with torch.no_grad():
        assert result.model(torch.randn(3, 3, 96, 72)).shape == (3, 1000)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("resnet18", r"layer\d\.\d\.conv1"), ("resnet50", r"conv1|layer\d\.\d\.conv[12]")],
)
def test_residual_streams_can_be_kept(name: str, inside: str) -> None:
    """Only what is inside of the blocks is cut, and resnet50's first layer, to whose output nothing is added."""
    result = prune_exactly(Network(name).build(), torch.randn(1, 3, 64, 64), residual="keep")
    for layer in result.plan.layers:
        if layer.producer:
            assert layer.after == (layer.before // 2 if re.fullmatch(inside, layer.name) else layer.before), layer.name


@pytest.mark.parametrize(("grouped", "width"), [("even", 2), ("whole", 4)])
def test_grouped_convolutions_of_resnext(grouped: str, width: int) -> None:
    result = prune_exactly(Network("resnext50_32x4d").build(), torch.randn(1, 3, 64, 64), grouped=grouped)
    first = result.model.layer1[0].conv2
    assert (first.groups, first.in_channels // first.groups) == (32 if grouped == "even" else 16, width)


def aligned(layer: Any, align: int) -> bool:
    return layer.after % align == 0 or bool(layer.locked) or "align" in layer.note


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0", "nin_grouped_wide"])
def test_widths_are_aligned_or_say_why_not(name: str) -> None:
    network = Network(name, 32 if name.startswith("nin") else 64)
    result = prune_exactly(network.build(), network.image, ratio=0.3, align=8)
    assert [layer.name for layer in result.plan.layers if layer.producer and not aligned(layer, 8)] == []


OTHER_CHOICES: dict[str, dict[str, Any]] = {
    "almost all": {"ratio": 0.9},
    "all but one": {"ratio": 0.99},
    "aligned": {"ratio": 0.3, "align": 8},
    "global": {"scope": "global", "criterion": "l1"},
    "even": {"grouped": "even"},
    "whole": {"grouped": "whole"},
    "residual kept": {"residual": "keep"},
    "random": {"criterion": "random", "seed": 1, "ratio": 0.7},
}


@pytest.mark.networks
@pytest.mark.parametrize("choices", OTHER_CHOICES.values(), ids=list(OTHER_CHOICES))
@pytest.mark.parametrize("network", networks([n for n in [*QUICK, *MORE] if n.name != "vit_b_16"]))
def test_other_choices(network: Network, choices: dict[str, Any]) -> None:
    """A cut that leaves one channel may leave nothing of the signal: only equality is asked for."""
    result = prune_exactly(network.build(), network.image, reference=only_kept_heads, telling=False, **choices)
    if not result.plan.cuts:
        assert all(layer.locked for layer in result.plan.layers)
        assert network.name.startswith("nin_grouped")  # A shuffle ties all groups of the grouped layers together.
        assert choices == OTHER_CHOICES["whole"]
    if "align" in choices:
        assert [layer.name for layer in result.plan.layers if layer.producer and not aligned(layer, 8)] == []


@pytest.mark.networks
@pytest.mark.parametrize("network", networks([Network("resnet50"), Network("nin", 32)]))
def test_double_precision_leaves_no_doubt(network: Network) -> None:
    result = prune_exactly(network.build().double(), network.image.double())
    assert result.report.equivalence.max_error < 1e-12
