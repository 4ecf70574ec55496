"""Rotary positions: a head's places go in pairs, with their frequencies. Efficient channel attention."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tui_prune
from tests.cuts import check_cut, reasons
from tests.exactness import Kept, prune_exactly, widths
from tests.small_nets import IMAGES, conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

Rotate = Callable[[Tensor, Tensor], Tensor]
"""Turns queries or keys (batch, heads, tokens, size) by angles (tokens, size / 2)."""


class Rotary(nn.Module):
    """Four heads of eight; the frequencies are a buffer."""

    def __init__(self, rotate: Rotate) -> None:
        super().__init__()
        self.rotate = rotate
        self.q, self.k, self.v, self.out = nn.Linear(6, 32), nn.Linear(6, 32), nn.Linear(6, 32), nn.Linear(32, 3)
        self.register_buffer("frequencies", 100 ** -torch.linspace(0, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.shape[1]).float(), self.frequencies)
        q, k, v = (layer(x).unflatten(2, (4, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = 0.35 * self.rotate(q, angles) @ self.rotate(k, angles).transpose(-2, -1)
        return self.out((weights.softmax(-1) @ v).transpose(1, 2).flatten(2))


def halves(x: Tensor, angles: Tensor) -> Tensor:
    one, two = x.chunk(2, -1)
    both = torch.cat([angles, angles], -1)
    return x * both.cos() + torch.cat([-two, one], -1) * both.sin()


def sliced_halves(x: Tensor, angles: Tensor) -> Tensor:
    half, both = x.shape[-1] // 2, torch.cat([angles, angles], -1)
    return x * both.cos() + torch.cat([-x[..., half:], x[..., :half]], -1) * both.sin()


def pairs(x: Tensor, angles: Tensor) -> Tensor:
    one, two = x[..., 0::2], x[..., 1::2]
    turned = one * angles.cos() - two * angles.sin(), one * angles.sin() + two * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


def repeated_pairs(x: Tensor, angles: Tensor) -> Tensor:
    one, two = x.unflatten(-1, (-1, 2)).unbind(-1)
    both = angles.repeat_interleave(2, -1)
    return x * both.cos() + torch.stack([-two, one], -1).flatten(-2) * both.sin()


def complex_pairs(x: Tensor, angles: Tensor) -> Tensor:
    turned = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(3)


def all_but_the_first(x: Tensor, angles: Tensor) -> Tensor:
    return torch.cat([x[..., :1, :], halves(x[..., 1:, :], angles[1:])], -2)


def only_kept_places(masked: nn.Module, kept: Kept) -> None:
    for name in "qkv":
        rows = kept[f"{name}.weight/0"]
        for tensor in (masked.get_submodule(name).weight.data, masked.get_submodule(name).bias.data):
            tensor.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows]))


@pytest.mark.parametrize("rotate", [halves, sliced_halves, pairs, repeated_pairs, complex_pairs, all_but_the_first])
def test_places_go_in_pairs_with_their_frequencies(rotate: Rotate) -> None:
    result = prune_exactly(Rotary(rotate).eval(), torch.randn(2, 5, 6), reference=only_kept_places)
    assert widths(result) == {"q": (32, 16), "k": (32, 16), "v": (32, 16), "out": (3, 3)}
    frequencies = result.kept["frequencies/0"].tolist()
    places = (result.kept["q.weight/0"].view(4, 4) % 8).tolist()
    in_halves = rotate in (halves, sliced_halves, all_but_the_first)
    partners = [(n, n + 4) if in_halves else (2 * n, 2 * n + 1) for n in frequencies]
    assert all(sorted(row) == sorted(place for pair in partners for place in pair) for row in places)


def test_positions_worked_out_in_the_code_keep_a_heads_places() -> None:
    def rotate(x: Tensor, _: Tensor) -> Tensor:
        steps = 100 ** -(torch.arange(0, x.shape[-1], 2) / x.shape[-1])
        return halves(x, torch.outer(torch.arange(x.shape[2]).float(), steps))

    result = tui_prune.prune(Rotary(rotate).eval(), torch.randn(2, 5, 6), ratio=0.5)
    assert widths(result)["q"] == (32, 32)
    assert any(lock["layer"] == "q" and lock["where"] for lock in result.report.locks)


def test_a_convolution_along_the_channels_sees_the_neighbours_that_stay() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = conv(3, 16), conv(16, 12), conv(12, 4)
            self.gate = nn.Conv1d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.a(x))
            means = y.mean((2, 3)).unsqueeze(1)
            scales = self.gate(means).squeeze(1).sigmoid()
            return self.out(F.relu(self.b(y * scales[:, :, None, None])))

    def reference(masked: Any, kept: Kept) -> None:
        channels, small = kept["a.weight/0"], copy.deepcopy(masked.gate)
        masked.gate.forward = lambda x: torch.zeros_like(x).index_copy(2, channels, small(x.index_select(2, channels)))

    check_cut(Gated, torch.randn(IMAGES), {"a": 8, "b": 6}, others=[torch.randn(3, 3, 9, 9)], reference=reference)


@pytest.mark.parametrize("settings", [{"padding": 0}, {"padding": 1, "stride": 2}, {"padding": 1, "out_channels": 2}])
def test_a_convolution_along_the_channels_that_gives_others_locks_them_with_its_line(settings: dict[str, int]) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = conv(3, 16), nn.LazyLinear(4)
            self.mix = nn.Conv1d(1, kernel_size=3, **{"out_channels": 1, **settings})

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.mix(F.relu(self.a(x)).mean((2, 3)).unsqueeze(1)).flatten(1))

    model = Mixed().eval()
    model(torch.randn(IMAGES))
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    assert widths(result)["a"] == (16, 16)
    assert any("self.mix(" in reason for reason in reasons(result, "a"))


def test_every_second_channel() -> None:
    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = conv(3, 16), conv(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.a(x))
            return self.out(y[:, ::2] * y[:, 1::2])

    result = prune_exactly(Products().eval(), torch.randn(IMAGES))
    assert widths(result) == {"a": (16, 8), "out": (4, 4)}
    pairs_of_kept = result.kept["a.weight/0"].view(4, 2) // 2
    assert bool((pairs_of_kept[:, 0] == pairs_of_kept[:, 1]).all())
