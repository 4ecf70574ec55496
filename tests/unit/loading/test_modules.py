"""Modules that the caller passes: wrappers come off, what can't be pruned is refused, known networks are known."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.loading.origins import origin_of
from tui_prune.loading.plain_module import plain_module
from tui_prune.models import NETWORKS, factory


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_a_module_of_the_callers_is_opened_as_it_is() -> None:
    net = Net().train()
    opened = open_model(model=net, input_spec="2,3,8,8")
    assert opened.module is net
    assert net.training
    assert (opened.title, opened.origin) == ("Net", Origin("module", f"{Net.__module__}.Net"))
    assert opened.example_inputs[0].shape == (2, 3, 8, 8)


def test_wrappers_come_off() -> None:
    net = Net()
    assert plain_module(torch.compile(net)) is net
    assert plain_module(nn.DataParallel(net)) is net
    assert plain_module(torch.compile(nn.DataParallel(net))) is net


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_scripts_are_refused_whole_and_as_a_part() -> None:
    scripted = torch.jit.trace(Net(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(TuiPruneError, match="it is a TorchScript module"):
        open_model(model=scripted)
    with pytest.raises(TuiPruneError, match="its part '0' is a TorchScript module"):
        open_model(model=nn.Sequential(scripted))


@pytest.mark.filterwarnings("ignore")
def test_quantised_networks_are_refused() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    with pytest.raises(TuiPruneError, match=r"its part '0' is quantised\. Prune the float network"):
        open_model(model=quantised)


def test_networks_without_values_are_refused() -> None:
    with torch.device("meta"):
        net = Net()
    with pytest.raises(TuiPruneError, match=r"conv\.weight is on the meta device, so it has no values"):
        open_model(model=net)
    with pytest.raises(TuiPruneError, match=r"weight has no shape yet\. Run the network once first"):
        open_model(model=nn.LazyLinear(3))


def test_what_is_no_network_is_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"Pass a network and not its class: Net\(\), not Net"):
        open_model(model=Net)
    with pytest.raises(UsageError, match=r"must be a torch\.nn\.Module; this is a dict"):
        open_model(model={})


@pytest.mark.parametrize(
    ("module", "origin"),
    [
        (lambda: models.resnet18(num_classes=10), Origin("torchvision", "resnet18", {"num_classes": 10})),
        (lambda: models.mobilenet_v3_small(), Origin("torchvision", "mobilenet_v3_small")),
        (
            lambda: models.googlenet(init_weights=False, transform_input=True),
            Origin("torchvision", "googlenet", {"transform_input": True}),
        ),
        *((factory(name), Origin("bundled", name)) for name in NETWORKS),
    ],
    ids=["resnet18", "mobilenet_v3_small", "googlenet", *NETWORKS],
)
def test_a_network_that_has_a_name_is_known_by_it(module, origin: Origin) -> None:
    with torch.device("meta"):
        assert origin_of(module()) == origin


def test_a_detector_is_known_after_it_has_seen_images() -> None:
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    detector = models.get_model(name, weights=None, weights_backbone=None).eval()
    with torch.no_grad():
        detector([torch.rand(3, 32, 32)])
    assert origin_of(detector) == Origin("torchvision", name)


def changed_resnet(change: str) -> nn.Module:
    network = models.resnet18()
    if change == "another activation":
        network.relu = nn.GELU()
    elif change == "another stride":
        network.conv1.stride = (1, 1)
    elif change == "a hook":
        network.fc.register_forward_hook(lambda module, inputs, output: output * 2)
    elif change == "tied weights":
        network.layer1[0].conv1.weight = network.layer1[0].conv2.weight
    elif change == "another layer":
        network.fc = nn.Sequential(nn.Linear(512, 3))
    return network


@pytest.mark.parametrize("change", ["another activation", "another stride", "a hook", "another layer", "tied weights"])
def test_a_changed_network_is_its_owners(change: str) -> None:
    assert origin_of(changed_resnet(change)) == Origin("module", "torchvision.models.resnet.ResNet")


def test_a_file_can_be_loaded_into_a_module(tmp_path: Path) -> None:
    weights = Net().state_dict()
    torch.save(weights, tmp_path / "w.pt")
    opened = open_model(str(tmp_path / "w.pt"), model=Net(), input_spec="1,3,8,8")
    assert torch.equal(opened.module.conv.weight, weights["conv.weight"])
    assert not opened.module.training
