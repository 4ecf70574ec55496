"""What a comparison must not take for a wrong cut: equal scores that are ranked the other way round, products of a map
with itself, branches that only training or other values run, and inputs of another size."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tests.cuts import check_cut, zeros_in
from tests.exactness import Reference


class RankedPairs(nn.Module):
    """Each token comes twice with the same score but for rounding; what is read of the best is where they stand."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.score = nn.Linear(6, 32), nn.Linear(32, 1)
        self.place = nn.Parameter(torch.randn(64, 5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x).relu()
        hidden = torch.cat([hidden, hidden / 3 * 3], 1)
        best = self.score(hidden).squeeze(-1).topk(40, dim=1)
        return self.place[best.indices] * best.values.unsqueeze(-1)


class SelfCorrelation(nn.Module):
    """All pairs of positions of one layer's map, over the root of its width."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.out = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.encoder(x).flatten(2), self.encoder(x.flip(-1)).flatten(2)
        pairs = torch.matmul(first.transpose(1, 2), second).view(-1, 16, 1, 16)
        return self.out(pairs / torch.sqrt(torch.tensor(first.shape[1])))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head_dim = 8
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        shape = *x.shape[:2], -1, self.head_dim
        query, key, value = (part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class TrainingOnly(nn.Module):
    """An auxiliary head that only training runs, with attention of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.attention, self.auxiliary = nn.Linear(6, 16), Attention(), Attention()
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        out = self.out(self.attention(x))
        return out + 0 * self.auxiliary(x).mean() if self.training else out


class Padded(nn.Module):
    """As many rows again, of a constant, in front of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.attention, self.out = nn.Linear(6, 16), Attention(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        x = torch.cat([x, torch.ones(x.shape[0], x.shape[1], x.shape[2])], 1)
        return self.out(self.attention(x) * torch.full((1, x.shape[1], 1), 0.5))


PARTS = ("query", "key", "value")
ATTENTION = {"inner": 8, "attention.out": 8, **{f"attention.{part}": 8 for part in PARTS}}
ROWS = zeros_in(*(f"attention.{part}.{own}" for part in PARTS for own in ("weight", "bias")))


@pytest.mark.parametrize(
    ("build", "shape", "after", "reference"),
    [
        (SelfCorrelation, (1, 3, 4, 4), {"encoder": 8}, zeros_in("encoder.weight", "encoder.bias")),
        (TrainingOnly, (1, 7, 6), ATTENTION, ROWS),
        (Padded, (1, 7, 6), ATTENTION, ROWS),
    ],
)
def test_it_is_cut(
    build: Callable[[], nn.Module], shape: tuple[int, ...], after: dict[str, int], reference: Reference
) -> None:
    torch.manual_seed(0)
    check_cut(build, torch.randn(shape), after, reference=reference)


def test_equal_scores_may_be_ranked_either_way() -> None:
    torch.manual_seed(0)
    result = tui_prune.prune(RankedPairs().eval(), torch.randn(1, 32, 6), ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert result.model.inner.out_features == 16


class FindsMore(nn.Module):
    """Looks closer at rows that score above zero: at none of the original's, and all of the cut network's."""

    def __init__(self, closer: Callable[[Tensor], Tensor], boxes: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.score, self.middle, self.out = (nn.Linear(*n) for n in ((6, 16), (16, 1), (16, 8), (8, 6)))
        self.closer, self.boxes = closer, boxes
        with torch.no_grad():
            self.inner.weight[8:] /= 10
            self.inner.bias.fill_(1.0)
            self.score.weight.copy_(torch.tensor([0.01] * 8 + [-5.0] * 8))
            self.score.bias.fill_(0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.inner(x).relu()
        scores = self.score(hidden)
        rows = hidden[scores.squeeze(-1) > 0]
        if len(rows):
            rows = self.closer(rows)
        boxes = self.out(self.middle(rows).relu()).view(-1, 2, 3)
        return scores, self.boxes(boxes) if len(boxes) else boxes


@pytest.mark.parametrize("places", [(torch.exp, torch.clone), (torch.clone, torch.exp)], ids=["channels", "uncut rows"])
def test_what_only_the_cut_network_finds_is_compared_by_its_channels(
    places: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
) -> None:
    torch.manual_seed(0)
    model, x = FindsMore(*places).eval(), torch.rand(4, 6) / 10
    assert not bool((model(x)[0] > 0).any())
    result = tui_prune.prune(model, x, ratio=0.5)
    assert bool((result.model(x)[0] > 0).all())
    assert (result.model.inner.out_features, result.report.equivalence.kind) == (8, "exact")
