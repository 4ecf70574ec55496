"""Pruning in rounds: one cut and one proof in the end."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import UsageError
from tui_prune.tasks.task import Task

INPUTS = torch.randn(64, 3, 6, 6, generator=torch.Generator().manual_seed(3))


class Shuffled(nn.Module):
    """A residual stream, a grouped convolution and a channel shuffle, so that columns change places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inner, self.grouped = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.last, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        y = torch.relu(self.grouped(torch.relu(self.inner(x))))
        y = y.view(len(y), 2, -1, *y.shape[2:]).transpose(1, 2).flatten(1, 2)
        return self.head((x + self.last(y)).mean((2, 3)))


@pytest.fixture
def net(one_thread_and_seed: None) -> nn.Module:
    return Shuffled().eval()


@pytest.fixture
def task(net: nn.Module) -> Task:
    wanted = net(INPUTS).detach()

    def evaluate(model: nn.Module) -> float:
        return -float((model(INPUTS).detach() - wanted).norm() / wanted.norm())

    return Task(calibration=lambda: INPUTS.split(16), evaluate=evaluate)


@pytest.mark.parametrize("choice", [{"ratio": 0.5}, {"target_macs": 0.4}, {"target_bytes": 3000, "scope": "global"}])
def test_rounds_end_where_the_recipe_wants(net: nn.Module, task: Task, choice: dict, tmp_path: Path) -> None:
    result = tui_prune.prune_in_rounds(net, INPUTS[:1], task, rounds=2, **choice)
    report = result.report
    assert report.equivalence.kind == "exact"
    if "ratio" in choice:
        assert result.model.inner.out_channels == 8
    if "target_macs" in choice:
        assert report.macs.after <= 0.4 * report.macs.before
    if "target_bytes" in choice:
        assert report.bytes.after <= 3000
    assert set(report.recovered) <= {"reconstructed"}
    assert report.accuracy.before == pytest.approx(0.0, abs=1e-6)
    assert report.accuracy.recovered > report.accuracy.after
    assert report.params.after == sum(parameter.numel() for parameter in result.model.parameters())
    tui_prune.save(tmp_path / "out.pt", result)
    loaded = tui_prune.load(tmp_path / "out.pt", model=Shuffled()).eval()
    with torch.no_grad():
        assert torch.allclose(loaded(INPUTS), result.model.eval()(INPUTS), atol=1e-5)


def test_what_rounds_can_not_do_is_a_sentence(net: nn.Module, task: Task) -> None:
    with pytest.raises(UsageError, match="say how to recover"):
        tui_prune.prune_in_rounds(net, INPUTS[:1], task, ratio=0.5, reconstruct=False)
    with pytest.raises(UsageError, match="one round at least"):
        tui_prune.prune_in_rounds(net, INPUTS[:1], task, ratio=0.5, rounds=0)
