"""Rows that are written where numbers say, random numbers for each value, and kernels that look where a layer says."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import DeformConv2d

from tests.cuts import check_cut, reasons, zeros_in
from tests.exactness import Kept, prune_exactly
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

Gather = Callable[[Tensor, Tensor], Tensor]

ROWS, NUMBERS = torch.randn(5, 6), torch.tensor([0, 1, 1, 3, 2])


class Segments(nn.Module):
    """Rows are put together by their numbers, as the messages of a graph's edges are at its nodes."""

    def __init__(self, gather: Gather) -> None:
        super().__init__()
        self.gather, self.a, self.out = gather, nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        return self.out(self.gather(self.a(x).relu(), numbers))


@pytest.mark.parametrize(
    "gather",
    [
        lambda x, numbers: torch.zeros(4, x.shape[1]).index_add_(0, numbers, x),
        lambda x, numbers: x.new_zeros(4, x.shape[1]).index_add(0, numbers, x, alpha=2),
        lambda x, numbers: torch.zeros_like(x[:4]).index_add(0, numbers, x),
        lambda x, numbers: x.index_add(0, numbers, x),
        lambda x, numbers: torch.ones(4, x.shape[1]).index_copy_(0, numbers[[0, 1, 3]], x[:3]),
        lambda x, numbers: x.new_zeros(4, x.shape[1]).scatter_add(0, numbers[:, None].expand_as(x), x),
        lambda x, numbers: x.new_zeros(4, x.shape[1]).scatter_reduce(
            0, numbers[:, None].expand_as(x), x, "amax", include_self=False
        ),
    ],
    ids="index_add_ alpha zeros_like onto_itself index_copy scatter_add scatter_reduce".split(),
)
def test_rows_written_by_number(gather: Gather) -> None:
    check_cut(lambda: Segments(gather), (ROWS, NUMBERS), {"a": 8}, others=[(torch.randn(5, 6), NUMBERS.flip(0))])


def test_channels_written_by_number_stay() -> None:
    def shuffled(x: Tensor, numbers: Tensor) -> Tensor:
        return torch.zeros(len(x), 16).index_add(1, torch.arange(16).flip(0), x)

    result = prune_exactly(Segments(shuffled), (ROWS, NUMBERS))
    assert result.plan.layer("a").after == 16
    assert any("is written into a part of a tensor of fixed size" in reason for reason in reasons(result, "a"))


class Noisy(nn.Module):
    """A sample around a mean (Kingma and Welling 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.mean, self.spread, self.out = (
            nn.Linear(6, 16),
            *(nn.Linear(16, 8) for _ in "ms"),
            nn.Linear(8, 3),
        )
        self.drawn: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        mean, spread = self.mean(y), self.spread(y).exp()
        return self.out(mean + spread * torch.randn_like(spread)) + self.out(mean + torch.rand_like(mean))


def test_both_networks_draw_the_same_numbers() -> None:
    """Not comparable by hand: the original draws numbers for channels that the cut network doesn't have."""
    import tui_prune

    result = tui_prune.prune(Noisy(), torch.randn(2, 6), ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert [result.plan.layer(name).after for name in ("a", "mean", "spread")] == [8, 4, 4]


class Deformed(nn.Module):
    """A convolution whose kernel looks where a layer says (Zhu et al. 2019)."""

    def __init__(self, parts: int, groups: int, masked: bool) -> None:
        super().__init__()
        self.a, self.places = conv(3, 16), conv(16, parts * 18, 3, padding=1)
        self.mask = conv(16, parts * 9, 3, padding=1) if masked else None
        self.b, self.out = DeformConv2d(16, 12, 3, padding=1, groups=groups, bias=masked), conv(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(F.relu(self.b(y, self.places(y), None if self.mask is None else self.mask(y).sigmoid())))


@pytest.mark.parametrize(("parts", "groups", "masked"), [(1, 1, True), (1, 1, False), (4, 1, True), (1, 2, False)])
def test_deformed_convolution(parts: int, groups: int, masked: bool) -> None:
    def silenced(network: nn.Module, kept: Kept) -> None:
        zeros_in("a.weight", "a.bias")(network, {**kept, "a.bias/0": kept["a.weight/0"]})

    def build() -> nn.Module:
        return Deformed(parts, groups, masked)

    others = [torch.randn(2, 3, 4, 7)]
    result = check_cut(build, torch.randn(1, 3, 6, 5), {"a": 8, "b": 6}, others=others, reference=silenced)
    assert reasons(result, "places") == [
        "says where a kernel looks "
        "(return self.out(F.relu(self.b(y, self.places(y), None if self.mask is None else self.mask(y).sigmoid()))))"
    ]
    assert len(result.kept["a.weight/0"].view(parts, -1)) == parts
    assert bool((result.kept["a.weight/0"].view(parts, -1) // (16 // parts) == torch.arange(parts)[:, None]).all())
