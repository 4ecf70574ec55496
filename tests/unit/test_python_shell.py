"""What somebody sees who prints things in a Python shell: one line, however large the network is."""

import pytest
import torch
from torch import nn

import tui_prune
from tests.small_nets import conv
from tui_prune import Recipe
from tui_prune.loading.open_model import open_model

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")
IMAGE = torch.zeros(1, 3, 8, 8)


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(conv(3, 400), nn.BatchNorm2d(400), nn.ReLU(), conv(400, 400), conv(400, 4))


def test_what_comes_of_a_network_is_printed_as_one_line_with_its_sums() -> None:
    model = Net().eval()
    graph = tui_prune.trace(model, IMAGE)
    result = tui_prune.prune(model, IMAGE, ratio=0.5, layers={"0": 0.25})
    sums = "parameters 164k → 62.8k (38 %), MACs 10.4M → 3.95M (38 %)"
    assert repr(graph) == "Graph(Net: 3 layers that put out channels, in 3 groups, 1 of them locked)"
    assert repr(graph.groups[2]) == "Group(4: 4 channels, locked: model output)"
    assert repr(result.plan) == f"Plan(Net: {sums}, Recipe(ratio=0.5, layers={{'0': 0.25}}))"
    assert repr(result).startswith(f"Result(Net: {sums}, exact to ")
    assert repr(result).endswith(", Recipe(ratio=0.5, layers={'0': 0.25}))")
    assert repr(result.report).startswith(f"Report(Net: {sums}, exact to ")
    assert repr(tui_prune.plan(graph)) == "Plan(Net: parameters 164k, MACs 10.4M, Recipe())"


def test_an_opened_network_is_printed_as_one_line() -> None:
    opened = open_model("nin")
    assert repr(opened) == ("OpenedModel(nin: weights from nin_digits.safetensors, 970k parameters, runs on 1,3,32,32)")
    assert "weights from no file" in repr(open_model(model=Net(), input_spec="1,3,8,8"))


def test_a_recipe_is_printed_as_it_can_be_written() -> None:
    recipe = Recipe(ratio=0.5, layers={"stem": 0.25}, lock=("out",), align="auto")
    assert eval(repr(recipe)) == recipe
    assert repr(Recipe(seed=1)) == "Recipe(seed=1)"
