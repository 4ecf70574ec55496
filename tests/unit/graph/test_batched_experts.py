"""Parameters that hold the matrices of several experts side by side: inner and outer axes are cut, experts stay."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.exactness import assert_exact, prune_exactly, trains, widths
from tests.networks.libraries.reference import zero_the_cut
from tui_prune import load, save

EXPERTS = 4


class Mixture(nn.Module):
    """Experts between two layers; subclasses say how they are run."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate, self.out = nn.Linear(6, 16), nn.Linear(16, EXPERTS), nn.Linear(16, 3)
        self.up = nn.Parameter(torch.randn(EXPERTS, 16, 24) / 4)
        self.down = nn.Parameter(torch.randn(EXPERTS, 24, 16) / 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        return self.out(x + self.mix(x, self.gate(x).softmax(-1)))

    def mix(self, x: Tensor, weights: Tensor) -> Tensor:
        raise NotImplementedError


class AllExperts(Mixture):
    """Every expert sees every row."""

    def mix(self, x: Tensor, weights: Tensor) -> Tensor:
        hidden = torch.einsum("bd,edh->beh", x, self.up).relu()
        return (torch.einsum("beh,ehd->bed", hidden, self.down) * weights.unsqueeze(-1)).sum(1)


class OneExpert(Mixture):
    """Each row goes to the expert that its gate prefers; the rows of an expert lie side by side."""

    def mix(self, x: Tensor, weights: Tensor) -> Tensor:
        weight, chosen = weights.max(-1)
        chosen, order = chosen.sort()
        ends = (chosen.unsqueeze(1) <= torch.arange(EXPERTS)).sum(0).to(torch.int32)
        hidden = torch._grouped_mm(x[order], self.up, offs=ends).relu()
        mixed = torch._grouped_mm(hidden, self.down, offs=ends)
        return mixed[order.argsort()] * weight.unsqueeze(-1)


GROUPED = pytest.mark.skipif(not hasattr(torch, "_grouped_mm"), reason="this PyTorch has no grouped product")


@pytest.mark.parametrize("kind", [AllExperts, pytest.param(OneExpert, marks=GROUPED)])
def test_experts_lose_hidden_channels_and_stay(kind: type[Mixture], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = kind(), torch.randn(8, 6)
    result = prune_exactly(model, inputs, reference=zero_the_cut)
    found = widths(result)
    assert (found["enter"], found["up"], found["down"]) == ((16, 8), (24, 12), (16, 8))
    assert result.model.up.shape == (EXPERTS, 8, 12)
    assert found["gate"] == (EXPERTS, EXPERTS)
    assert_exact(model, result, (torch.randn(5, 6),), reference=zero_the_cut)
    save(tmp_path / "cut.pt", result)
    loaded = load(tmp_path / "cut.pt", model=kind())
    torch.testing.assert_close(loaded(inputs), result.model(inputs))
    trains(result.model, inputs)
