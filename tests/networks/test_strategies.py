"""Every bundled recipe on the network that it is named after: what it cuts and what it leaves, exact, saved, loaded.

The default run sees the small ones on small images; `-m networks` all of them.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import tui_prune
from tests.exactness import (
    TELLING,
    TOLERANCE,
    assert_exact,
    largest_error,
    masked_original,
    other_values,
    prune_exactly,
    randomise_norms,
)
from tui_prune.models import NETWORKS, factory
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe_files import recipe_names
from tui_prune.result import Result

SLOW = pytest.mark.networks
ALL = r"(?!(fc|classifier|classifier\.1|tnn_bin\.11)$).*"
"""Every layer but the last, which makes the classes."""
MIDDLE = r"middle\.\d\.body\.(1\.pointwise|4\..*|7\.depthwise)"
LAST = r"exit\.1\.pointwise|exit\.4\..*"
ENTRY = r"stem\..*|entry\.0\.body\.(0\..*|3\.depthwise)|entry\.[12]\.body\.(1\.pointwise|4\.depthwise)"
EXIT = r"exit\.0\.body\.(1\.pointwise|4\.depthwise)"


def half(width: int) -> int:
    return width // 2


@dataclass(frozen=True)
class Strategy:
    recipe: str
    cut: str
    """The names of the layers that lose channels, as a regular expression. Every other layer stays as wide as it is."""
    width: Callable[[int], int] | None = half
    """What is left of a width; None where all channels are ranked together."""
    size: int = 64
    """Of the square images."""

    @property
    def network(self) -> str:
        return self.recipe.partition("-")[0]


QUICK = [
    Strategy("nin-half", ALL, None, 32),
    Strategy("nin-half-aligned-8", ALL, None, 32),
    Strategy("nin_grouped_same_width-half", r"tnn_bin\.(0|(2|3|5|6|10)\.conv)", None, 32),
    Strategy("nin_grouped_wide-half", ALL, None, 32),
    Strategy("nin_plain_conv-half", ALL, None, 32),
    Strategy("nin_separable-half", ALL, None, 32),
    Strategy("nin_separable_expanded-half", ALL, None, 32),
    Strategy("resnet18-inside", r"layer\d\.\d\.conv1"),
    Strategy("resnet18-streams", ALL),
    Strategy("preact_resnet18-inside", r"layer\d\.\d\.conv1", size=32),
    Strategy("preact_resnet18-streams", ALL, size=32),
    Strategy("se_resnet18-inside", r"layer\d\.\d\.conv1"),
    Strategy("se_resnet18-streams", r"conv1|layer\d\.\d\.(conv\d|downsample\.0|se\.fc\.2)"),
    Strategy("mobilenet_v2-inside", r"features\.([2-9]|1[0-7])\.conv\.[01]\.0|features\.17\.conv\.2|features\.18\.0"),
    Strategy("mobilenet_v2-streams", r"features\.([2-9]|1\d)\..*"),
    Strategy("shufflenet_v2_x1_0-downsampling", r"stage\d\.0\.branch2\.[03]"),
    Strategy("shufflenet_v2_x1_0-all", ALL),
]
LARGE = [
    Strategy("shufflenet_v2_x1_0-right-branch", r"stage\d\.\d\.branch2\.[03]"),
    Strategy("resnet50-inside", r"layer\d\.\d\.conv[12]"),
    Strategy("resnet50-streams", r"layer\d\..*"),
    Strategy("se_resnet50-inside", r"layer\d\.\d\.conv[12]"),
    Strategy("se_resnet50-streams", r"layer\d\.\d\.(conv\d|downsample\.0|se\.fc\.2)"),
    Strategy("resnext50_32x4d-even", r"layer\d\.\d\.conv[12]"),
    Strategy("resnext50_32x4d-whole-groups", r"layer\d\.\d\.conv[12]"),
    Strategy("xception-branches-kept", f"stem\\.0|{MIDDLE}|{LAST}"),
    Strategy("xception-shortcuts-kept", f"{ENTRY}|{MIDDLE}|{EXIT}|{LAST}"),
    Strategy(
        "xception-middle-third",
        rf"{ENTRY}|entry\.2\.(shortcut\.0|body\.4\.pointwise)|middle\..*|exit\.0\.body\.1\.depthwise|{EXIT}|{LAST}",
    ),
    Strategy("densenet121-inside", r".*\.denselayer\d+\.conv1"),
    Strategy("densenet121-joined", ALL, lambda width: width - int(width * 0.05)),
    Strategy("darknet53-inside", r".*\.squeeze\.conv", size=32),
    Strategy("darknet53-streams", r"stages\..*", size=32),
    Strategy("plain_conv-half", r"conv\d", size=8),
]
DETECTORS = [
    Strategy(
        "fasterrcnn_mobilenet_v3_large_320_fpn-backbone",
        r"backbone\.body\.([2-9]|1[0-5])\.block\.(0\.0|1\.0|2\.fc[12])",
    ),
    Strategy("fasterrcnn_mobilenet_v3_large_320_fpn-all", r"backbone\..*|rpn\.head\.conv\..*|.*\.fc[67]"),
    Strategy("fasterrcnn_resnet50_fpn-backbone", r"backbone\.body\.layer\d\.\d\.conv[12]"),
    Strategy("fasterrcnn_resnet50_fpn-all", r"backbone\..*|rpn\.head\.conv\..*|.*\.fc[67]"),
]


BY_RECIPE = {strategy.recipe: strategy for strategy in (*QUICK, *LARGE, *DETECTORS)}


pytestmark = pytest.mark.usefixtures("one_thread")


def strategies(listed: list[Strategy], *marks: Any) -> list[Any]:
    return [pytest.param(strategy, marks=marks, id=strategy.recipe) for strategy in listed]


@lru_cache(maxsize=1)
def build(network: str) -> nn.Module:
    """The network with random weights and random batch-norm statistics; detectors see tiny images."""
    torch.manual_seed(0)
    if network in NETWORKS:
        model = factory(network)()
    elif network.startswith("fasterrcnn"):
        model = torchvision.models.get_model(network, weights=None, weights_backbone=None, min_size=96, max_size=128)
    else:
        model = torchvision.models.get_model(network, weights=None)
    return randomise_norms(model).eval()


def image(strategy: Strategy) -> Tensor:
    return torch.randn(1, 3, strategy.size, strategy.size, generator=torch.Generator().manual_seed(0))


def cut(strategy: Strategy, inputs: Any) -> Result:
    model = build(strategy.network)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = tui_prune.prune(model, inputs, tui_prune.Recipe.from_toml(strategy.recipe))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert result.report.equivalence.kind == "exact"
    return result


def assert_only_these_are_cut(strategy: Strategy, result: Result) -> None:
    """Layers that the strategy speaks of lose channels; no other layer loses one, and what fits stays as it was."""
    original, touched = build(strategy.network), 0
    for layer in result.plan.layers:
        if layer.producer:
            meant = re.fullmatch(strategy.cut, layer.name) is not None
            weight = result.model.get_submodule(layer.name).weight
            assert len(weight) == layer.after, layer.name
            if strategy.width is None:
                assert (layer.after < layer.before) is meant, layer.name
            else:
                assert layer.after == (strategy.width(layer.before) if meant else layer.before), layer.name
            touched += meant
    assert touched
    for name, parameter in result.model.named_parameters():
        if parameter.shape == original.get_parameter(name).shape:
            assert torch.equal(parameter, original.get_parameter(name)), name
    assert result.plan.after.params == sum(parameter.numel() for parameter in result.model.parameters())
    assert result.plan.after.macs < result.plan.before.macs


@torch.no_grad()
def assert_comes_back(result: Result, path: Path, inputs: Tensor, model: nn.Module | None = None) -> None:
    """From its file the network has the same numbers."""
    loaded = tui_prune.load(tui_prune.save(path, result), model=model)
    assert torch.equal(loaded(inputs), result.model(inputs))


@pytest.mark.parametrize("strategy", [*strategies(QUICK), *strategies(LARGE, SLOW)])
def test_strategy(strategy: Strategy, tmp_path: Path) -> None:
    result = cut(strategy, image(strategy))
    assert_only_these_are_cut(strategy, result)
    if strategy.recipe == "plain_conv-half":
        assert_exact_where_the_output_is_cut(build(strategy.network), result, image(strategy))
    else:
        assert_exact(build(strategy.network), result, (image(strategy),))
    assert_comes_back(result, tmp_path / "out.pt", image(strategy))


@torch.no_grad()
def assert_exact_where_the_output_is_cut(model: nn.Module, result: Result, inputs: Tensor) -> None:
    """The cut network's outputs are the kept ones of the masked original."""
    new = other_values(inputs)
    kept = result.kept["conv8.weight/0"]
    expected, plain = masked_original(model, result)(new)[:, kept], model(new)[:, kept]
    assert largest_error(result.model(new), expected) < TOLERANCE
    assert largest_error(plain, expected) > TELLING


def test_the_plain_network_becomes_a_quarter_at_any_width(tmp_path: Path) -> None:
    widths = [4, 8, 16, 32, 64, 128, 256, 512]
    torch.manual_seed(0)
    model, inputs = factory("plain_conv")(widths).eval(), torch.randn(1, 3, 8, 8)
    result = tui_prune.prune(model, inputs, tui_prune.Recipe.from_toml("plain_conv-half"))
    assert [layer.after for layer in result.plan.layers] == [width // 2 for width in widths]
    assert_exact_where_the_output_is_cut(model, result, inputs)
    assert_comes_back(result, tmp_path / "out.pt", inputs, model=factory("plain_conv")(widths))


class Stages(nn.Module):
    """What a detector computes of its images before it ranks and picks boxes, and of two boxes in each image."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: list[Tensor]) -> list[Any]:
        images, _ = self.detector.transform(images)
        features = self.detector.backbone(images.tensors)
        boxes = [torch.tensor([[0.0, 0.0, 64.0, 64.0], [10.0, 20.0, 60.0, 90.0]]) for _ in images.image_sizes]
        heads = self.detector.roi_heads
        pooled = heads.box_head(heads.box_roi_pool(features, boxes, images.image_sizes))
        return [*self.detector.rpn.head(list(features.values())), heads.box_predictor(pooled)]


@torch.no_grad()
@pytest.mark.parametrize("strategy", strategies(DETECTORS, SLOW))
def test_strategy_of_a_detector(strategy: Strategy, tmp_path: Path) -> None:
    """On images of different sizes; a detector with settings of one's own is loaded into one's own module."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, *size, generator=generator) for size in ((90, 120), (110, 70))]
    result = cut(strategy, ([torch.rand(3, 96, 96, generator=generator)],))
    assert_only_these_are_cut(strategy, result)
    plain, masked = build(strategy.network), masked_original(build(strategy.network), result)
    expected = Stages(masked)(images)
    assert largest_error(Stages(result.model)(images), expected) < TOLERANCE
    assert largest_error(Stages(plain)(images), expected) > TELLING
    own = build.__wrapped__(strategy.network)  # it is cut in place
    loaded = tui_prune.load(tui_prune.save(tmp_path / "out.pt", result), model=own)
    assert largest_error(Stages(loaded)(images), Stages(result.model)(images)) == 0.0
    masked.roi_heads.score_thresh = loaded.roi_heads.score_thresh = 0.0  # Random heads are never sure of a box.
    for ours, theirs in zip(loaded(images), masked(images), strict=True):
        assert len(ours["scores"]) > 0
        assert torch.allclose(ours["scores"], theirs["scores"], rtol=TOLERANCE, atol=0)


def test_every_recipe_is_tried() -> None:
    assert sorted(BY_RECIPE) == list(recipe_names())


def test_a_saved_strategy_loads_in_a_fresh_process(tmp_path: Path) -> None:
    strategy = BY_RECIPE["nin-half"]
    result = cut(strategy, image(strategy))
    tui_prune.save(tmp_path / "out.pt", result)
    with torch.no_grad():
        torch.save((image(strategy), result.model(image(strategy))), tmp_path / "expected.pt")
    program = (
        "import torch, tui_prune\n"
        "torch.set_num_threads(1)\n"
        "image, expected = torch.load('expected.pt')\n"
        "assert torch.allclose(tui_prune.load('out.pt')(image), expected, rtol=1e-4, atol=1e-5)\n"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


# What single recipes promise besides.


def test_half_of_nin_is_half_of_all_its_channels() -> None:
    """As in the published table: of 1408 channels 703 stay."""
    strategy = BY_RECIPE["nin-half"]
    result = cut(strategy, image(strategy))
    assert sum(layer.after for layer in result.plan.layers if layer.producer and layer.name != "tnn_bin.11") == 703


def test_widths_of_the_aligned_nin_are_multiples_of_8() -> None:
    strategy = BY_RECIPE["nin-half-aligned-8"]
    result = cut(strategy, image(strategy))
    assert {layer.after % 8 for layer in result.plan.layers if layer.producer and layer.name != "tnn_bin.11"} == {0}


@pytest.mark.parametrize("network", ["nin_grouped_same_width", "nin_grouped_wide"])
def test_grouped_nets_keep_their_groups(network: str) -> None:
    strategy = BY_RECIPE[f"{network}-half"]
    result = cut(strategy, image(strategy))
    groups = [part.groups for part in result.model.modules() if isinstance(part, nn.Conv2d)]
    assert groups == [1, 2, 2, 16, 4, 4, 32, 8, 1]


@SLOW
@pytest.mark.parametrize(("recipe", "groups", "width"), [("even", 32, 2), ("whole-groups", 16, 4)])
def test_groups_of_resnext(recipe: str, groups: int, width: int) -> None:
    strategy = BY_RECIPE[f"resnext50_32x4d-{recipe}"]
    first = cut(strategy, image(strategy)).model.layer1[0].conv2
    assert (first.groups, first.weight.shape[1], first.in_channels) == (groups, width, 64)


# Sums and groups: every network takes every choice.

SUMLESS = {"plain_conv", "densenet121", "shufflenet_v2_x1_0"}
"""Networks without sums, besides all of nin."""


def of_each_network(listed: list[Strategy], *marks: Any) -> list[Any]:
    first = {strategy.network: strategy for strategy in reversed(listed)}
    return [pytest.param(strategy, marks=marks, id=network) for network, strategy in reversed(first.items())]


@pytest.mark.parametrize("strategy", [*of_each_network(QUICK), *of_each_network([*LARGE, *DETECTORS], SLOW)])
def test_choices_of_sums_and_groups(strategy: Strategy) -> None:
    """Streams stay or go as asked, with every way to cut grouped convolutions."""
    inputs = ([torch.rand(3, 96, 96)],) if strategy in DETECTORS else image(strategy)
    graph = tui_prune.trace(build(strategy.network), inputs, probing=False)
    streams = {layer for group in graph.groups if group.residual for layer in group.layers}
    assert bool(streams) is not (strategy.network in SUMLESS or strategy.network.startswith("nin"))
    for grouped in ("auto", "even", "whole"):
        with_streams = narrowed(tui_prune.plan(graph, ratio=0.5, residual="cut", grouped=grouped))
        assert streams <= with_streams
        assert narrowed(tui_prune.plan(graph, ratio=0.5, residual="keep", grouped=grouped)) == with_streams - streams


def narrowed(plan: Plan) -> set[str]:
    return {layer.name for layer in plan.layers if layer.producer and layer.after < layer.before}


@SLOW
@pytest.mark.parametrize("choices", [{"residual": "keep"}, {"grouped": "even"}, {"grouped": "whole"}], ids=str)
@pytest.mark.parametrize("network", ["preact_resnet18", "se_resnet18", "se_resnet50", "xception", "darknet53"])
def test_choices_are_exact(network: str, choices: dict[str, str]) -> None:
    """For the networks that the sweep over torchvision's doesn't see."""
    strategy = BY_RECIPE.get(f"{network}-inside") or BY_RECIPE[f"{network}-shortcuts-kept"]
    prune_exactly(build(network), image(strategy), **choices)
