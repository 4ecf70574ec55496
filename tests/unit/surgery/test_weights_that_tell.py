"""Weights that hide a wrong cut (even attention, a branch that is switched off, equal channels) don't let it pass."""

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tests.exactness import prune_exactly


class ScaledByWidth(nn.Module):
    """Attention whose scores are scaled by a tensor made of the width, which no rule follows; nearly even."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.last = nn.Linear(16, 5)
        for part in (self.query, self.key):
            part.weight.data *= 0.01
            part.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.query(x), self.key(x)
        scores = query @ key.transpose(1, 2) * torch.tensor([4.0 / query.shape[-1]])
        return self.last(scores.softmax(-1) @ self.value(x))


class SwitchedOff(nn.Module):
    """A branch that a scale of zero switches off divides by a tensor made of its width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.back = nn.Linear(6, 12), nn.Linear(12, 16), nn.Linear(1, 12)
        self.scale = nn.Parameter(torch.zeros(12))
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        inner = self.inner(x)
        mean = inner.sum(-1, keepdim=True) / torch.tensor([float(inner.shape[-1])])
        return self.last(x + self.scale * self.back(mean))


class ZeroHead(nn.Module):
    """A head that starts at zero; what it reads is multiplied with a tensor made of the width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 12), nn.Linear(12, 16), nn.Linear(16, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu())
        return self.head(x * torch.tensor([float(x.shape[-1])]))


@pytest.mark.parametrize(
    "kind, shape, whole",
    [
        (ScaledByWidth, (2, 7, 16), {"query": 16, "key": 16}),
        (SwitchedOff, (2, 6), {"inner": 16}),
        (ZeroHead, (2, 6), {"second": 16}),
    ],
)
def test_what_the_weights_hide_is_locked(kind: type[nn.Module], shape: tuple[int, ...], whole: dict[str, int]) -> None:
    torch.manual_seed(0)
    result = prune_exactly(kind().eval(), torch.randn(shape), telling=False)
    widths = {layer.name: layer.after for layer in result.plan.layers}
    assert {name: widths[name] for name in whole} == whole
    assert result.report.equivalence.kind == "exact"


def test_all_else_is_cut() -> None:
    torch.manual_seed(0)
    widths = {
        kind: {
            layer.name: layer.after
            for layer in prune_exactly(kind().eval(), torch.randn(2, 6), telling=False).plan.layers
        }
        for kind in (SwitchedOff, ZeroHead)
    }
    assert widths[SwitchedOff]["first"] == 6
    assert widths[ZeroHead]["first"] == 6


class Zeroed(nn.Module):
    """All weights of its last layer are zero, so that its output says nothing of the layers before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


def test_a_head_of_zeros_is_compared_with_other_weights_and_keeps_its_own() -> None:
    model = Zeroed().eval()
    result = tui_prune.prune(model, torch.randn(1, 3, 6, 6), ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert {layer.name: layer.after for layer in result.plan.layers}["first"] == 4
    assert not result.model.last.weight.any()
    assert torch.equal(result.model.last.bias, model.last.bias)
    assert torch.equal(result.model.norm.running_var, torch.ones(4))
