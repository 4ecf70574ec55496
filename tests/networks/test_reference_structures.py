"""The bundled networks are what was published, and all of them can be run and trained."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tui_prune.models import NETWORKS, factory
from tui_prune.models.nin import NIN_WIDTHS, channel_shuffle, nin, nin_separable_expanded
from tui_prune.models.plain_conv import WIDTHS, plain_conv

REFERENCE = json.loads(Path(__file__).with_name("reference_networks.json").read_text(encoding="utf-8"))

PARAMETERS = {
    "nin": 969_822,
    "se_resnet18": 11_776_552,
    "se_resnet50": 28_071_976,
    "xception": 22_855_952,
    "darknet53": 41_609_928,
}


def printed(model: nn.Module) -> list[list[str]]:
    """Name, class and settings of each module, in the spelling of the published printouts.

    Releases of torch print the same settings differently: an in-place ReLU says `inplace` in the oldest printouts and
    `inplace=True` in the others; a batch norm of today adds `bias=True`.
    """
    return [spelled(name, type(module).__name__, module.extra_repr()) for name, module in model.named_modules() if name]


def spelled(name: str, kind: str, settings: str) -> list[str]:
    if kind == "ReLU" and settings == "inplace":
        settings = "inplace=True"
    if kind == "BatchNorm2d":
        settings = settings.replace(", bias=True", "")
    return [name, kind, settings]


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", REFERENCE)
def test_modules_are_the_published_ones(name: str) -> None:
    assert printed(factory(name)()) == [spelled(*module) for module in REFERENCE[name]]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_known(name: str) -> None:
    with torch.device("meta"):
        assert parameters(factory(name)()) == PARAMETERS[name]


def test_widths_of_plain_conv() -> None:
    with torch.device("meta"):
        whole, half = plain_conv(), plain_conv([width // 2 for width in WIDTHS])
    assert f"{parameters(whole) / 1e6:.2f}M" == "100.66M"
    assert f"{parameters(half) / 1e6:.2f}M" == "25.16M"
    names = [name for name, _ in whole.named_children()]
    assert names == [f"{kind}{number}" for number in range(1, 9) for kind in ("conv", "act")][:-1]


def test_every_network_is_there_by_name() -> None:
    assert set(REFERENCE) <= set(NETWORKS)
    with pytest.raises(KeyError):
        factory("no such network")


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_and_learns(name: str) -> None:
    shape = [int(size) for size in NETWORKS[name].input_spec.split(",")]
    if name == "plain_conv":
        shape[2:] = 8, 8
    model = factory(name)().train()
    output = model(torch.randn(shape))
    assert len(output) == 1
    assert output.isfinite().all()
    output.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["nin", "preact_resnet18", "se_resnet18", "se_resnet50", "xception", "darknet53"])
def test_number_of_classes_is_free(name: str) -> None:
    shape = [int(size) for size in NETWORKS[name].input_spec.split(",")]
    with torch.device("meta"):
        assert factory(name)(num_classes=7)(torch.empty(shape)).shape == (1, 7)


def test_widths_of_nin_are_free() -> None:
    model = nin([5, 7, 3, 11, 2, 6, 4, 9], num_classes=3)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    with pytest.raises(ValueError):
        nin(NIN_WIDTHS[:-1])


def test_groups_follow_the_widths_of_the_separable_nets() -> None:
    halves = [32, 64, 128, 128, 256, 256, 512, 256, 512, 256, 512, 512, 1024, 1024, 2048]
    model = nin_separable_expanded([width // 2 for width in halves])
    assert [block.conv1.groups for block in model.modules() if hasattr(block, "conv1")] == [
        16, 32, 64, 128, 128, 128, 256,
    ]  # fmt: skip


def test_grouped_nets_shuffle_by_the_groups_of_the_layer_before() -> None:
    blocks = [block for block in factory("nin_grouped_wide")().modules() if hasattr(block, "shuffle_groups")]
    assert [block.shuffle_groups for block in blocks] == [0, 2, 2, 16, 4, 4, 32]
    assert [block.shuffle_groups for block in blocks[1:]] == [block.conv.groups for block in blocks[:-1]]
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(channels, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_the_list_of_networks_imports_no_torch() -> None:
    code = "import sys, tui_prune.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
