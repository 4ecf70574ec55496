"""Attention that names the number of heads and their size in one line."""

import math

import torch
from torch import Tensor, nn

from tests.exactness import assert_exact, prune_exactly, widths
from tests.networks.libraries.reference import zero_the_cut


class Attention(nn.Module):
    """Keeps the number of heads, the size of a head, and the size of all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, width // heads
        self.all_size = self.heads * self.head_size
        self.query, self.key, self.value = (nn.Linear(width, self.all_size) for _ in range(3))

    def split(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1, self.heads, self.head_size).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.split(self.query(x)) @ self.split(self.key(x)).transpose(-1, -2) / math.sqrt(16)
        mixed = scores.softmax(-1) @ self.split(self.value(x))
        mixed = mixed.transpose(1, 2).contiguous()
        return mixed.view(*mixed.shape[:2], self.all_size)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.attention = nn.Linear(6, 64), Attention(64, 4)
        self.join, self.out = nn.Linear(64, 64), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.out(x + self.join(self.attention(x)))


def test_heads_get_narrower_and_their_number_stays() -> None:
    torch.manual_seed(0)
    model, inputs = Network(), torch.randn(2, 7, 6)
    result = prune_exactly(model, inputs, reference=without_cut_queries)
    assert {name: after for name, (_, after) in widths(result).items()} == {
        **dict.fromkeys(("enter", "attention.query", "attention.key", "attention.value", "join"), 32),
        "out": 5,
    }
    attention = result.model.attention
    assert (attention.heads, attention.head_size, attention.all_size) == (4, 8, 32)
    assert_exact(model, result, (torch.randn(1, 4, 6),), reference=without_cut_queries)


def without_cut_queries(masked: nn.Module, kept: dict[str, Tensor]) -> None:
    """No layer reads queries: they are made zero where they are cut."""
    query, rows = masked.attention.query, kept["attention.query.weight/0"]
    alive = torch.zeros(len(query.weight)).index_fill(0, rows, 1)
    query.weight.data *= alive[:, None]
    query.bias.data *= alive


class Projection(nn.Module):
    """A linear layer that keeps the size of its outputs, and gives them their shape by it."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x.view(-1, x.shape[-1]) @ self.weight).view(*x.shape[:-1], self.outputs)


class WithCache(nn.Module):
    """Puts out keys and values too, which stay: of layers of one class, some keep their outputs and lose inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.packed = nn.Linear(6, 16), Projection(48, 16)
        self.join, self.out = Projection(16, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.enter(x)
        query, key, value = self.packed(x).split(16, dim=-1)
        mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
        return self.out(x + self.join(mixed)), key, value


def test_sizes_of_a_class_of_layers_follow_where_their_own_axis_is_cut() -> None:
    torch.manual_seed(0)
    result = prune_exactly(WithCache(), torch.randn(2, 7, 6), reference=zero_the_cut)
    assert (result.model.packed.outputs, result.model.join.outputs) == (48, 8)
    assert result.model.packed.weight.shape == (8, 48)
