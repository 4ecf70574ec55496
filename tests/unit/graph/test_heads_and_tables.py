"""Heads that meet what has no heads (a table that they share), and channels that are summed over rows of them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.exactness import Kept, prune_exactly, trains, widths
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

Scores = Callable[[Tensor, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """Four heads of eight, whose queries also meet `table` (positions, positions, size of a head) or a part of it."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores = scores
        self.a, self.qkv, self.out = nn.Linear(6, 16), nn.Linear(16, 96), nn.Linear(32, 3)
        self.table = nn.Parameter(torch.randn(6, 6, 8))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.a(x)).reshape(batch, tokens, 3, 4, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (0.35 * q @ k.transpose(-2, -1) + self.scores(q, k, self.table)).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


def heads_as_images(q: Tensor, k: Tensor, table: Tensor) -> Tensor:
    return torch.einsum("bnc,nmc->bnm", q.flatten(0, 1), table).view(*q.shape[:3], -1)


SCORES: dict[str, Scores] = {
    "einsum": lambda q, k, table: torch.einsum("bhnc,nmc->bhnm", q, table),
    "heads as images": heads_as_images,
    "one table for all positions": lambda q, k, table: q @ table[0].t(),
    "of keys": lambda q, k, table: torch.einsum("bhmc,nmc->bhnm", k, table),
    "added": lambda q, k, table: q @ (k + table[0]).transpose(-2, -1),
}


def only_kept_places(masked: nn.Module, kept: Kept) -> None:
    rows = kept["qkv.weight/0"]
    for tensor in (masked.get_submodule("qkv").weight.data, masked.get_submodule("qkv").bias.data):
        tensor.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows]))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", SCORES)
def test_a_table_that_all_heads_share(kind: str, batch: int) -> None:
    result = prune_exactly(Attention(SCORES[kind]).eval(), torch.randn(batch, 6, 6), reference=only_kept_places)
    assert (widths(result)["a"], widths(result)["qkv"]) == ((16, 8), (96, 48))
    assert result.model.table.shape == (6, 6, 4)
    places = result.kept["qkv.weight/0"].view(3, 4, 4) % 8
    assert bool((places[0] == result.kept["table/2"]).all())
    trains(result.model, torch.randn(3, 6, 6))


def test_one_key_for_all_heads() -> None:
    class OneKey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.out = nn.Linear(6, 32), nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            q = self.q(x).unflatten(2, (4, -1))
            weights = torch.einsum("bnhd,bmd->bhnm", q, self.k(x)).softmax(-1)
            return self.out(torch.einsum("bhnm,bmd->bnhd", weights, self.v(x)).flatten(2))

    def only_kept(masked: nn.Module, kept: Kept) -> None:
        for name in "qkv":
            rows = kept[f"{name}.weight/0"]
            for tensor in (masked.get_submodule(name).weight.data, masked.get_submodule(name).bias.data):
                tensor.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows]))

    result = prune_exactly(OneKey().eval(), torch.randn(2, 5, 6), reference=only_kept)
    assert widths(result) == {"q": (32, 16), "k": (8, 4), "v": (8, 4), "out": (3, 3)}


@pytest.mark.parametrize("learned", [True, False])
def test_channels_of_several_graphs_are_summed(learned: bool) -> None:
    """A graph convolution: twelve channels for each of three graphs, whose sum has twelve."""

    class Graphs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = conv(3, 16), conv(16, 36), conv(12, 4)
            graphs = torch.randn(3, 5, 5)
            if learned:
                self.graphs = nn.Parameter(graphs)
            else:
                self.register_buffer("graphs", graphs)

        def forward(self, x: Tensor) -> Tensor:
            y = self.b(F.relu(self.a(x)))
            y = y.view(len(y), 3, y.shape[1] // 3, *y.shape[2:])
            return self.out(F.relu(torch.einsum("nkctv,kvw->nctw", y, self.graphs)))

    result = prune_exactly(Graphs().eval(), torch.randn(2, 3, 7, 5))
    assert widths(result) == {"a": (16, 8), "b": (36, 18), "out": (4, 4)}
    places = result.kept["b.weight/0"].view(3, 6) % 12
    assert bool((places == places[0]).all())
    assert result.model.graphs.shape == (3, 5, 5)
