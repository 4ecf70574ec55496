"""Modules of one class that keep the same numbers, which follow different axes, or axes that aren't cut everywhere."""

import torch
from torch import Tensor, nn

from tests.exactness import assert_exact, prune_exactly, widths
from tests.networks.libraries.reference import zero_the_cut


class Attention(nn.Module):
    """Attention whose width is that of the stream in one place and not in another; fixed where it meets numbers."""

    def __init__(self, inputs: int, outputs: int, heads: int, *, fixed: bool) -> None:
        super().__init__()
        self.outputs, self.heads, self.size, self.fixed = outputs, heads, outputs // heads, fixed
        self.packed, self.join = nn.Linear(inputs, 3 * outputs), nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.packed(x).reshape(len(x), -1, 3, self.heads, self.size)
        query, key, value = packed.transpose(1, 3).unbind(2)
        if self.fixed:
            scale = torch.linspace(0.5, 1.5, self.size)
            query, key, value = query * scale, key * scale, value * scale
        mixed = (query @ key.transpose(-1, -2) * 0.3).softmax(-1) @ value
        return self.join(mixed.transpose(1, 2).reshape(len(x), -1, self.outputs))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 24)
        self.first, self.second = Attention(24, 24, 1, fixed=False), Attention(24, 24, 2, fixed=True)
        self.out = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        x = x + self.first(x)
        return self.out(x + self.second(x))


def test_a_number_stays_where_the_axis_that_it_is_the_size_of_stays() -> None:
    torch.manual_seed(0)
    model, inputs = Network(), torch.randn(2, 7, 6)
    result = prune_exactly(model, inputs, reference=zero_the_cut)
    found = {name: after for name, (_, after) in widths(result).items()}
    assert found == {
        "enter": 12,
        "first.packed": 36,
        "first.join": 12,
        "second.packed": 72,
        "second.join": 12,
        "out": 5,
    }
    assert (result.model.first.outputs, result.model.first.size) == (12, 12)
    assert (result.model.second.outputs, result.model.second.size) == (24, 12)
    assert_exact(model, result, (torch.randn(1, 4, 6),), reference=zero_the_cut)
