"""Operators that give values and the positions at which they were found: among channels, positions mean others once
channels go, so these stay where something reads the positions, and only there."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.cuts import check_cut, reasons
from tests.exactness import Kept, prune_exactly
from tests.small_nets import IMAGES, conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

Operator = Callable[[Tensor], Tensor]


class Gated(nn.Module):
    """A gate for each place of an image, by what `operator` finds among its channels (Woo et al. 2018, CBAM)."""

    kept: Tensor | None = None

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.operator = operator
        self.a, self.gate, self.out = conv(3, 16), conv(1, 1), conv(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        found = self.operator(y if self.kept is None else y[:, self.kept])
        return self.out(y * self.gate(found).sigmoid())


def over_kept(masked: Gated, kept: Kept) -> None:
    """The operator sees the kept channels only."""
    masked.kept = kept["a.weight/0"]


@pytest.mark.parametrize(
    "operator",
    [
        lambda y: torch.max(y, 1, keepdim=True)[0],
        lambda y: y.min(dim=1, keepdim=True).values,
        lambda y: y.max(1)[0].unsqueeze(1),
        lambda y: y.median(1, keepdim=True)[0],
        lambda y: y.nanmedian(1, keepdim=True)[0],
        lambda y: y.median() + 0 * y.mean(1, keepdim=True),
        lambda y: y.kthvalue(3, 1, keepdim=True)[0],
        lambda y: y.cummax(1)[0].mean(1, keepdim=True),
        lambda y: y.cumprod(1).mean(1, keepdim=True),
    ],
    ids="max min squeezed median nanmedian median_of_all kthvalue cummax cumprod".split(),
)
def test_values_whose_positions_are_not_read(operator: Operator) -> None:
    others = [torch.randn(1, 3, 5, 9)]
    check_cut(lambda: Gated(operator), torch.randn(IMAGES), {"a": 8}, others=others, reference=over_kept)


def read(y: Tensor) -> Tensor:
    values, places = y.max(1, keepdim=True)
    return values + places


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (read, "operator max gives positions among them, which are read by add (return values + places)"),
        (
            lambda y: y.median(1, keepdim=True)[1].detach().float(),
            "operator median gives positions among them, which are read by _to_copy "
            "(lambda y: y.median(1, keepdim=True)[1].detach().float(),)",
        ),
    ],
    ids=["added", "through a view"],
)
def test_positions_that_are_read(operator: Operator, reason: str) -> None:
    result = prune_exactly(Gated(operator), torch.randn(IMAGES))
    assert result.plan.layer("a").after == 16
    assert reason in reasons(result, "a")


class PutsOutPositions(Gated):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.a(x)
        values, places = y.max(1, keepdim=True)
        return self.out(y * values), places


def test_positions_that_the_model_puts_out() -> None:
    result = prune_exactly(PutsOutPositions(nn.Identity()), torch.randn(IMAGES))
    assert result.plan.layer("a").after == 16
    assert any("positions among them, which are put out by the model" in reason for reason in reasons(result, "a"))


def test_positions_along_another_dimension_are_free() -> None:
    def tallest(y: Tensor) -> Tensor:
        places = y.flatten(2).max(2)[1]
        return places[:, :, None, None].float().mean(1, keepdim=True).expand(-1, 1, *y.shape[2:])

    check_cut(lambda: Gated(tallest), torch.randn(IMAGES), {"a": 8}, reference=over_kept)


@pytest.mark.parametrize(
    "operator",
    [
        lambda y: y.flatten(2).topk(3, -1)[0].mean((1, 2))[:, None, None, None],
        lambda y: y.sort(2, descending=True)[0][:, :, :1].mean(1, keepdim=True),
        lambda y: y.flatten(2).argmax(2).float().mean(1)[:, None, None, None] / 10,
    ],
    ids=["topk", "sort", "argmax"],
)
def test_ranks_along_another_dimension(operator: Operator) -> None:
    def as_wide(y: Tensor) -> Tensor:
        return operator(y).expand(-1, 1, *y.shape[2:])

    check_cut(lambda: Gated(as_wide), torch.randn(IMAGES), {"a": 8}, reference=over_kept)
