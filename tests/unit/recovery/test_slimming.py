"""Penalties for one's own training loop: they weigh what can be cut, and nothing else."""

import copy
import re

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import UsageError
from tui_prune.guide import chapter

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """`last_norm` scales the model's output, so only `first` and `middle` can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.middle = nn.Conv2d(6, 4, 1)
        self.last, self.last_norm = nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_norm(self.last(torch.relu(self.middle(torch.relu(self.norm(self.first(x)))))))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0, -0.5]))
        net.last_norm.weight.fill_(10)
    return net


def test_slimming_sums_the_scales_that_can_be_cut(net: Net) -> None:
    graph = tui_prune.trace(net, IMAGES)
    penalty = tui_prune.slimming_penalty(net, graph)
    assert penalty.item() == pytest.approx(7)
    penalty.backward()
    assert net.norm.weight.grad.tolist() == [1, -1, 0, 1, 1, -1]
    assert net.last_norm.weight.grad is None
    assert tui_prune.slimming_penalty(net).item() == pytest.approx(27)


def test_slimming_works_on_a_copy_and_not_on_another_network(net: Net) -> None:
    graph = tui_prune.trace(net, IMAGES)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.norm.weight.fill_(1)
    assert tui_prune.slimming_penalty(twin, graph).item() == pytest.approx(6)
    with pytest.raises(UsageError, match="The graph is of another model"):
        tui_prune.slimming_penalty(nn.Sequential(nn.Conv2d(3, 4, 1)), graph)
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    with pytest.raises(UsageError, match="group_penalty"):
        tui_prune.slimming_penalty(plain)
    with pytest.raises(UsageError, match="group_penalty"):
        tui_prune.slimming_penalty(plain, tui_prune.trace(plain, IMAGES))


def by_hand(slices: list[list[Tensor]]) -> float:
    """The sum over channels of the norm of all that goes with one, over the root of how much that is."""
    vectors = [torch.cat([part.reshape(-1) for part in parts]) for parts in slices]
    return sum(vector.detach().norm().item() / len(vector) ** 0.5 for vector in vectors)


def test_group_penalty_takes_all_that_goes_with_a_channel(net: Net) -> None:
    expected = by_hand(
        [
            [net.first.weight[c], net.first.bias[c], net.norm.weight[c], net.norm.bias[c], net.middle.weight[:, c]]
            for c in range(6)
        ]
        + [[net.middle.weight[c], net.middle.bias[c], net.last.weight[:, c]] for c in range(4)]
    )
    graph = tui_prune.trace(net, IMAGES)
    penalty = tui_prune.group_penalty(graph)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    assert net.first.weight.grad.abs().min() > 0
    assert net.last.weight.grad.abs().min() > 0  # its columns go, its rows are the model's output
    assert net.last.bias.grad is None
    assert net.last_norm.weight.grad is None
    twin = copy.deepcopy(net).double()
    assert tui_prune.group_penalty(graph, twin).item() == pytest.approx(expected, rel=1e-5)


class Blocks(nn.Module):
    """A residual pair around a depthwise and a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.c, self.out = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.out(torch.relu(self.c(x + self.b(x))))


def test_group_penalty_follows_additions_and_grouped_convolutions() -> None:
    torch.manual_seed(0)
    net = Blocks()
    graph = tui_prune.trace(net, IMAGES, grouped="even")
    a, b, c, out = net.a, net.b, net.c, net.out
    expected = by_hand(
        [
            [a.weight[n], a.bias[n], b.weight[n], b.bias[n], c.weight[n // 4 * 4 : n // 4 * 4 + 4, n % 4]]
            for n in range(8)
        ]
        + [[c.weight[n], c.bias[n], out.weight[:, n]] for n in range(8)]
    )
    assert tui_prune.group_penalty(graph).item() == pytest.approx(expected, rel=1e-5)


def test_training_with_it_empties_whole_channels(net: Net) -> None:
    graph = tui_prune.trace(net, IMAGES)
    with torch.no_grad():
        net.first.weight[2], net.first.bias[2], net.norm.bias[2], net.middle.weight[:, 2] = 0, 0, 0, 0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        tui_prune.group_penalty(graph).backward()
        optimizer.step()
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())
    assert net.first.weight[2].abs().max() == 0  # an empty channel stays empty, and its gradient finite
    assert net.last_norm.weight.tolist() == [10, 10]


def test_nothing_to_penalise() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    graph = tui_prune.trace(net, IMAGES)
    with pytest.raises(UsageError, match="No channel of this network can be cut"):
        tui_prune.group_penalty(graph)
    with pytest.raises(UsageError, match="The graph is of another model"):
        tui_prune.group_penalty(tui_prune.trace(Net(), IMAGES), net)


def test_the_example_of_the_guide_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", chapter("sparse-training").text, re.DOTALL)
    assert len(example.strip().splitlines()) == 15
    torch.manual_seed(0)
    net = Net()
    before = net.norm.weight.detach().abs().sum()
    batches = [(IMAGES, torch.zeros(4, 6, 6, dtype=torch.long)) for _ in range(3)]
    names = {"model": net, "batches": batches, "__name__": "example"}
    exec(compile(example, "sparse-training.md", "exec"), names)
    assert net.norm.weight.detach().abs().sum() < before
    assert names["result"].report.params.after < names["result"].report.params.before
