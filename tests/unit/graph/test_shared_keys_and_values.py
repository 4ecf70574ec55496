"""Fused attention in which several heads of queries share one head of keys and values."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.exactness import assert_exact, prune_exactly, trains, widths
from tui_prune import load, save


class SharedHeads(nn.Module):
    """Attention with fewer heads of keys and values than of queries, which PyTorch's operator repeats itself."""

    def __init__(self, heads: int, shared: int, size: int = 8) -> None:
        super().__init__()
        self.size = size
        self.enter = nn.Linear(6, 16)
        self.query = nn.Linear(16, heads * size)
        self.key = nn.Linear(16, shared * size)
        self.value = nn.Linear(16, shared * size)
        self.out = nn.Linear(heads * size, 5)
        self.heads, self.shared = heads, shared

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        query, key, value = (
            layer(x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for layer, heads in ((self.query, self.heads), (self.key, self.shared), (self.value, self.shared))
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def narrower_heads(masked: nn.Module, kept: dict[str, Tensor]) -> None:
    """Cut places of queries count nothing, and the scale is the narrower head's."""
    rows = kept["query.weight/0"]
    factors = torch.zeros(len(masked.query.weight))
    factors[rows] = (len(factors) / len(rows)) ** 0.5
    masked.query.weight.data *= factors[:, None]
    masked.query.bias.data *= factors


@pytest.mark.parametrize("shared", [2, 1])
def test_heads_get_narrower_where_some_are_shared(shared: int, tmp_path) -> None:
    torch.manual_seed(0)
    model, inputs = SharedHeads(4, shared), torch.randn(2, 7, 6)
    result = prune_exactly(model, inputs, reference=narrower_heads)
    assert widths(result)["query"] == (32, 16)
    assert widths(result)["key"] == widths(result)["value"] == (8 * shared, 4 * shared)
    trains(result.model, inputs)
    assert_exact(model, result, (torch.randn(3, 4, 6),), reference=narrower_heads)
    save(tmp_path / "cut.pt", result)
    loaded = load(tmp_path / "cut.pt", model=SharedHeads(4, shared))
    torch.testing.assert_close(loaded(inputs), result.model(inputs))
