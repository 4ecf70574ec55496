"""Code that picks channels by number, or takes branches and groups in another order at another width."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tui_prune
from tests.exactness import prune_exactly


class Picking(nn.Module):
    """A grouped convolution that reads channels by positions in a buffer, over and over along dense connections."""

    def __init__(self, width: int, positions: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.register_buffer("index", positions(width))
        self.norm, self.grouped = nn.BatchNorm2d(width), nn.Conv2d(width, 8, 1, groups=2, bias=False)
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        picked = self.norm(x.index_select(1, self.index)).relu()
        return torch.cat([x, self.last(self.grouped(picked))], 1)


def picking(positions: Callable[[int], Tensor], layers: int = 6) -> nn.Module:
    torch.manual_seed(0)
    dense = [Picking(8 * (i + 1), positions) for i in range(layers)]
    return nn.Sequential(nn.Conv2d(3, 8, 1), *dense, nn.Conv2d(8 * (layers + 1), 4, 1)).eval()


@pytest.mark.parametrize("channel, left", [(0, 5), (5, 8)])
def test_one_channel_that_is_picked_by_its_number_stays(channel: int, left: int) -> None:
    """Where others before it could go, its number would be another one's."""
    model = picking(lambda width: torch.full((width,), channel))
    result = prune_exactly(model, torch.randn(1, 3, 6, 6))
    widths = {layer.name: layer.after for layer in result.plan.layers}
    assert widths["0"] == left
    assert channel in result.kept.get("0.weight/0", torch.arange(8)).tolist()
    assert {widths[f"{n}.last"] for n in range(1, 7)} == {4}
    assert {widths[f"{n}.grouped"] for n in range(1, 7)} == {4}
    reasons = [lock["reason"] for lock in result.report.locks if lock["layer"] == "0"]
    assert "single channels are picked by their number" in reasons


def test_channels_that_are_picked_in_another_order_are_locked_or_follow() -> None:
    prune_exactly(picking(torch.randperm, layers=2), torch.randn(1, 3, 6, 6), telling=False)


class Branches(nn.Module):
    """Two branches of one width, nearly equal in what they put out, joined and read by a function of their order."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.join = join
        self.left, self.right, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(1, 4, 1)
        self.right.weight.data = self.left.weight.data + 1e-5 * torch.randn(8, 3, 1, 1)
        self.right.bias.data = self.left.bias.data.clone()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.join(self.left(x), self.right(x)))


def swapped_when_narrow(left: Tensor, right: Tensor) -> Tensor:
    left, right = (left, right) if left.shape[1] > 4 else (right, left)
    return left.square().mean(1, keepdim=True) - right.mean(1, keepdim=True)


def halves_swapped_when_narrow(left: Tensor, right: Tensor) -> Tensor:
    one, two = torch.cat([left, right] if left.shape[1] > 4 else [right, left], 1).chunk(2, 1)
    return one.square().mean(1, keepdim=True) - two.mean(1, keepdim=True)


def shuffled_otherwise_when_narrow(left: Tensor, right: Tensor) -> Tensor:
    both = torch.cat([left, right], 1)
    one, two = F.channel_shuffle(both, 2 if both.shape[1] > 8 else 4).chunk(2, 1)
    return one.square().mean(1, keepdim=True) - two.mean(1, keepdim=True)


@pytest.mark.parametrize("join", [swapped_when_narrow, halves_swapped_when_narrow, shuffled_otherwise_when_narrow])
def test_branches_that_change_places_at_another_width_stay(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = Branches(join).eval()
    try:
        result = tui_prune.prune(model, torch.randn(2, 3, 5, 5), ratio=0.5)
    except tui_prune.TuiPruneError:
        return
    widths = {layer.name: layer.after for layer in result.plan.layers}
    assert widths["left"] == 8  # the code goes by its width
    assert join is swapped_when_narrow or widths["right"] == 8
