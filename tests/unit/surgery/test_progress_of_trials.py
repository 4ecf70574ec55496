"""Trials that get further count as progress, and a search for sizes comes to an end."""

import torch
from torch import Tensor, nn

from tests.exactness import assert_exact, prune_exactly, widths


class Halved(nn.Module):
    """Checks the width of what it is given, and halves the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.channels
        return self.conv(x)


class Doubled(nn.Module):
    """Checks the width of what it is given, and doubles the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.channels
        return self.conv(nn.functional.interpolate(x, scale_factor=2.0))


class Coder(nn.Module):
    """Two parts that each keep a width, behind a norm that has fewer groups once it is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32)
        self.smaller, self.between = Halved(32), nn.Conv2d(32, 64, 1)
        self.larger, self.out = Doubled(64), nn.Conv2d(64, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.smaller(self.norm(self.enter(x)).relu())
        return self.out(self.larger(self.between(x).relu()).relu())


def test_two_parts_that_each_keep_a_width_behind_a_norm() -> None:
    torch.manual_seed(0)
    model, image = Coder(), torch.randn(1, 3, 8, 8)
    result = prune_exactly(model, image)
    assert {name: after for name, (_, after) in widths(result).items()} == {
        "enter": 16,
        "smaller.conv": 16,
        "between": 32,
        "larger.conv": 32,
        "out": 3,
    }
    assert_exact(model, result, (torch.randn(2, 3, 12, 12),))


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    return x * scale


class FixedQueries(nn.Module):
    """Attention whose queries and keys meet numbers made in the forward pass; values share the size of their heads."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 8
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.join = nn.Linear(32, 32)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.linspace(0.5, 1.5, 8)
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        mixed = (scaled(query, scale) @ key.transpose(-1, -2)).softmax(-1) @ value
        return x + self.join(mixed.transpose(1, 2).flatten(2))


def test_values_that_share_a_size_with_fixed_queries_leave_the_stream_to_be_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), FixedQueries(), FixedQueries(), nn.Linear(32, 5))
    result = prune_exactly(model, torch.randn(2, 7, 6))
    found = {name: after for name, (_, after) in widths(result).items()}
    assert (found["0"], found["1.join"], found["2.join"]) == (16, 16, 16)
    assert (found["1.query"], found["1.value"]) == (32, 32)
