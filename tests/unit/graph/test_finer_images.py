"""What follows a pixel shuffle, by torch's operator or by views: each run of r * r channels becomes one channel of a
finer image, and goes together."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cuts import check_cut
from tests.exactness import Kept
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGE, OTHER = torch.randn(1, 3, 4, 6), torch.randn(2, 3, 5, 3)


class Finer(nn.Module):
    """`a` puts out 16 channels of an image twice as fine; `between` is what happens to them."""

    kept: Tensor | None = None

    def __init__(self, views: bool, between: Callable[["Finer", Tensor, Tensor], Tensor], own: nn.Module) -> None:
        super().__init__()
        self.views, self.between = views, between
        self.a, self.own, self.out = conv(3, 64), own, conv(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        batch, width, height, wide = y.shape
        if self.views:
            parts = y.view(batch, width // 4, 2, 2, height, wide).permute(0, 1, 4, 2, 5, 3)
            y = parts.reshape(batch, width // 4, 2 * height, 2 * wide)
        else:
            y = F.pixel_shuffle(y, 2)
        return self.out(self.between(self, y, F.interpolate(x, scale_factor=2)).relu())

    def seen(self, y: Tensor) -> Tensor:
        """What a statistic over channels sees: in the masked original, the kept ones."""
        return y if self.kept is None else y[:, self.kept]


def over_kept(masked: Finer, kept: Kept) -> None:
    """Statistics over the kept channels only."""
    masked.kept = kept["out.weight/1"]


class WithoutParameters(nn.LayerNorm):
    """A norm over channels that has no tensor to read its size off."""

    def __init__(self) -> None:
        super().__init__(16, elementwise_affine=False)


def normed_by_hand(net: Finer, y: Tensor, x: Tensor) -> Tensor:
    if net.kept is None:
        return net.own(y.movedim(1, -1)).movedim(-1, 1)
    rows = y[:, net.kept].movedim(1, -1)
    normed = F.layer_norm(rows, rows.shape[-1:]).movedim(-1, 1)
    return torch.zeros_like(y).index_copy(1, net.kept, normed)


@pytest.mark.parametrize("views", [False, True], ids=["operator", "views"])
@pytest.mark.parametrize(
    ("between", "own", "after"),
    [
        (lambda net, y, x: torch.cat([y, net.own(x)], 1)[:, : y.shape[1]] * y, lambda: conv(3, 16), {"own": 8}),
        (lambda net, y, x: y * net.own(x).sigmoid(), lambda: conv(3, 16), {"own": 8}),
        (lambda net, y, x: y * net.seen(y).mean(1, keepdim=True), nn.Identity, {}),
        (lambda net, y, x: y * net.seen(y).amax(1, keepdim=True), nn.Identity, {}),
        (lambda net, y, x: y / net.seen(y).norm(dim=1, keepdim=True), nn.Identity, {}),
        (lambda net, y, x: net.own(y), lambda: nn.BatchNorm2d(16), {}),
        (lambda net, y, x: net.own(y), lambda: nn.GroupNorm(4, 16), {}),
        (lambda net, y, x: net.own(y.movedim(1, -1)).movedim(-1, 1), lambda: nn.LayerNorm(16), {}),
        (normed_by_hand, WithoutParameters, {}),
        (lambda net, y, x: F.avg_pool2d(y, 2), nn.Identity, {}),
        (lambda net, y, x: y * net.own(y.mean((2, 3), keepdim=True)), lambda: conv(16, 16), {"own": 8}),
        (lambda net, y, x: net.own(y), lambda: conv(16, 16, groups=16), {"own": 8}),
    ],
    ids="joined gated mean largest unit batch_norm group_norm layer_norm bare_norm pooled excited depthwise".split(),
)
def test_runs_of_channels_go_together(
    between: Callable[[Finer, Tensor, Tensor], Tensor],
    own: Callable[[], nn.Module],
    after: dict[str, int],
    views: bool,
) -> None:
    result = check_cut(
        lambda: Finer(views, between, own()), IMAGE, {"a": 32, **after}, others=[OTHER], reference=over_kept
    )
    runs = result.kept["a.weight/0"].view(-1, 4)
    assert torch.equal(runs, runs[:, :1] // 4 * 4 + torch.arange(4))
    assert all(lock["layer"] == "out" for lock in result.report.locks)


class JoinedWithASkip(nn.Module):
    """The decoder of a restorer: what comes from below is made finer and joined with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.up = conv(3, 16), conv(16, 12, 2, stride=2), conv(12, 64)
        self.c, self.out = conv(32, 16), conv(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(self.c(torch.cat([F.pixel_shuffle(self.up(self.b(y)), 2), y], 1)).relu())


def test_joined_with_a_skip_connection() -> None:
    after = {"a": 8, "b": 6, "up": 32, "c": 8}
    check_cut(JoinedWithASkip, IMAGE, after, others=[torch.randn(2, 3, 8, 2)])


class FinerTokens(nn.Module):
    """Each token becomes four of a quarter of its width (Cao et al. 2021, Swin-Unet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.out = nn.Linear(6, 8), nn.Linear(8, 64), nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        batch, height, wide, width = y.shape
        parts = y.view(batch, height, wide, 2, 2, width // 4).permute(0, 1, 3, 2, 4, 5)
        return self.out(self.norm(parts.reshape(batch, 2 * height, 2 * wide, width // 4)))


def test_tokens_that_become_several() -> None:
    result = check_cut(FinerTokens, torch.randn(1, 4, 3, 6), {"a": 4, "b": 32}, others=[torch.randn(2, 2, 5, 6)])
    rows = result.kept["b.weight/0"].view(4, 8)
    assert torch.equal(rows, rows[:1] + 16 * torch.arange(4).view(4, 1))
