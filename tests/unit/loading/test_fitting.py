"""Weights that fit a network are loaded whole; misfits are named and nothing is loaded."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import densenet121, mnasnet0_5, resnet18, vit_b_16

from tui_prune.errors import TuiPruneError
from tui_prune.loading.fitting import WeightsMismatchError, fit, load_weights
from tui_prune.loading.open_model import open_model


def network() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Sequential(nn.Linear(4, 2)))
    )


def test_all_differences_are_named_and_nothing_is_loaded() -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in network().state_dict().items()}
    del state["norm.weight"], state["norm.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["head.0.weight"] = torch.zeros(3, 4)
    with pytest.raises(WeightsMismatchError) as raised:
        load_weights(module, state, source="w.pt", network="Net")
    sentence = str(raised.value)
    assert "The weights in w.pt don't fit Net, so none were loaded" in sentence
    assert "it lacks norm.weight, norm.bias" in sentence
    assert "it has extra.weight too many" in sentence
    assert "head.0.weight (3x4 instead of 2x4)" in sentence
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_of_many_differences_the_first_few_are_named_and_the_rest_counted() -> None:
    with pytest.raises(WeightsMismatchError, match=r"it lacks conv1\.weight, bn1\.weight, bn1\.bias and \d+ more"):
        load_weights(resnet18(), network().state_dict(), source="w.pt", network="resnet18")


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.backbone."])
def test_a_prefix_more_or_less_is_no_difference(prefix: str) -> None:
    module, wrapped = network(), {prefix + name: tensor for name, tensor in network().state_dict().items()}
    load_weights(module, wrapped, source="w.pt", network="Net")
    assert torch.equal(module.conv.weight, wrapped[f"{prefix}conv.weight"])
    holder = nn.Module()
    holder.model = network()
    plain = network().state_dict()
    load_weights(holder, plain, source="w.pt", network="Holder")
    assert torch.equal(holder.model.conv.weight, plain["conv.weight"])


def test_a_network_with_data_parallel_inside() -> None:
    module = network()
    state = {name.replace("head.", "head.module."): tensor for name, tensor in network().state_dict().items()}
    load_weights(module, state, source="w.pt", network="Net")
    assert torch.equal(module.head[0].weight, state["head.module.0.weight"])


def test_counts_of_batches_may_be_missing_and_half_precision_becomes_the_networks() -> None:
    module = network()
    state = {name: tensor.half() for name, tensor in network().state_dict().items() if "num_batches" not in name}
    load_weights(module, state, source="w.pt", network="Net")
    assert module.conv.weight.dtype == torch.float32
    assert torch.equal(module.conv.weight, state["conv.weight"].float())


def test_a_file_does_not_need_to_stay_after_it_was_opened(tmp_path: Path) -> None:
    weights = resnet18(num_classes=3).state_dict()
    torch.save(weights, tmp_path / "w.pt")
    opened = open_model("resnet18", weights=tmp_path / "w.pt")
    with (tmp_path / "w.pt").open("r+b") as file:
        file.write(bytes(file.seek(0, 2)))
        file.seek(0)
        file.write(bytes((tmp_path / "w.pt").stat().st_size // 2))
    assert torch.equal(opened.module.conv1.weight, weights["conv1.weight"])
    assert opened.origin.arguments == {"num_classes": 3}


def old_densenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for kind in ("norm", "conv"):
        state = {
            name.replace(f".{kind}1.", f".{kind}.1.").replace(f".{kind}2.", f".{kind}.2."): t
            for name, t in state.items()
        }
    return state


def old_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): t for name, t in state.items()}


@pytest.mark.parametrize(("build", "aged"), [(densenet121, old_densenet), (vit_b_16, old_vit)])
def test_names_of_torchvisions_own_older_files_are_understood(build, aged) -> None:
    with torch.device("meta"):
        module = build()
    state = module.state_dict()
    assert aged(state).keys() != state.keys()
    assert fit(module, aged(state), source="w.pth", network="net").keys() == state.keys()


def test_a_network_that_insists_on_the_version_of_its_file() -> None:
    state = mnasnet0_5().state_dict()
    plain = {name: tensor.clone() for name, tensor in state.items()}
    module = mnasnet0_5()
    load_weights(module, plain, source="w.safetensors", network="mnasnet0_5")
    assert torch.equal(module.state_dict()["layers.0.weight"], plain["layers.0.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "w.pth")
    with pytest.raises(TuiPruneError, match=r"don't fit resnet34, so none were loaded: it lacks layer1\.2\.conv1"):
        open_model("resnet34", weights=tmp_path / "w.pth")
