"""Group norms over joined tensors, whose groups overlap those of the norms before: of every group of every norm equally
many channels stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cuts import check_cut
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGE, OTHER = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 8, 4)


class Joined(nn.Module):
    """`a` and `b` are joined and normed together; before that each by itself, where it has groups of its own."""

    def __init__(self, widths: tuple[int, int], groups: tuple[int | None, int | None, int]) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, widths[0]), conv(3, widths[1]), conv(sum(widths), 3)
        self.first, self.second = (
            nn.Identity() if own is None else nn.GroupNorm(own, width)
            for own, width in zip(groups[:2], widths, strict=True)
        )
        self.both = nn.GroupNorm(groups[2], sum(widths))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.first(self.a(x)), self.second(self.b(x))], 1)
        return self.out(F.silu(self.both(joined)))


@pytest.mark.parametrize(
    ("widths", "groups", "after"),
    [
        ((32, 16), (4, None, 4), (16, 8)),
        ((32, 16), (4, 4, 4), (16, 8)),
        ((32, 16), (8, 4, 6), (16, 8)),
        ((96, 64), (8, 8, 8), (48, 32)),
        ((30, 20), (5, 5, 5), (15, 10)),
        ((128, 64), (32, 32, 32), (64, 32)),
        ((20, 8), (4, None, 4), (12, 4)),  # rows of 5 and of 7 have no common unit
    ],
    ids=str,
)
def test_norms_whose_groups_overlap(
    widths: tuple[int, int], groups: tuple[int | None, int | None, int], after: tuple[int, int]
) -> None:
    named = dict(zip("ab", after, strict=True))
    check_cut(lambda: Joined(widths, groups), IMAGE, named, others=[OTHER])


def test_each_ratio_keeps_the_groups_even() -> None:
    for ratio, after in ((0.25, (24, 12)), (0.75, (8, 4))):
        check_cut(lambda: Joined((32, 16), (4, None, 4)), IMAGE, dict(zip("ab", after, strict=True)), ratio=ratio)


class Block(nn.Module):
    """A residual block of a diffusion model (Ho et al. 2020)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first, self.second = nn.GroupNorm(8, before), nn.GroupNorm(8, after)
        self.a, self.b = conv(before, after), conv(after, after)
        self.shortcut = conv(before, after) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(F.silu(self.second(self.a(F.silu(self.first(x))))))


class Denoiser(nn.Module):
    """Its decoder joins each stream with the one of the encoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.down, self.lower = conv(3, width), Block(width, width), Block(width, 2 * width)
        self.middle, self.upper = Block(4 * width, 2 * width), Block(3 * width, width)
        self.norm, self.out = nn.GroupNorm(8, width), conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(self.a(x))
        coarse = self.lower(F.avg_pool2d(fine, 2))
        y = F.interpolate(self.middle(torch.cat([coarse * 2, coarse], 1)), scale_factor=2.0)
        return self.out(F.silu(self.norm(self.upper(torch.cat([y, fine], 1)))))


@pytest.mark.parametrize("build", [lambda: Denoiser(16), lambda: Denoiser(32)], ids=["two a group", "four a group"])
def test_a_denoiser_is_halved(build: Callable[[], Denoiser]) -> None:
    width = build().a.out_channels
    fine = dict.fromkeys(["a", "down.a", "down.b", "upper.a", "upper.b", "upper.shortcut"], width // 2)
    coarse = [f"{name}.{layer}" for name in ("lower", "middle") for layer in ("a", "b", "shortcut")]
    check_cut(build, IMAGE, {**fine, **dict.fromkeys(coarse, width)}, others=[OTHER])
