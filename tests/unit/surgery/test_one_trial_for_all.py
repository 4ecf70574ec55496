"""The Python function and the command line cut alike, and what only another recipe would need isn't locked."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

import tui_prune
from tests.exactness import Kept, prune_exactly
from tui_prune.cli.main import app


class Reduced(nn.Module):
    """Attention over fewer positions, which a strided convolution makes; one size of a head for all of it."""

    def __init__(self, width: int, heads: int, stride: int) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.reduce, self.norm = nn.Conv2d(width, width, stride, stride), nn.LayerNorm(width)

    def forward(self, x: Tensor, side: int) -> Tensor:
        batch, _, width = x.shape
        small = self.reduce(x.transpose(1, 2).reshape(batch, width, side, side))
        small = self.norm(small.reshape(batch, width, -1).transpose(1, 2))
        query, key, value = (
            part(y).view(batch, y.shape[1], -1, self.head_dim).transpose(1, 2)
            for part, y in ((self.query, x), (self.key, small), (self.value, small))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, scale=0.5).transpose(1, 2)
        return self.out(mixed.reshape(batch, x.shape[1], -1))


class Mixed(nn.Module):
    """Two linear layers with a depthwise convolution between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)

    def forward(self, x: Tensor, side: int) -> Tensor:
        x = self.up(x)
        y = self.depthwise(x.transpose(1, 2).reshape(len(x), x.shape[2], side, side))
        return self.down(F.gelu(y.flatten(2).transpose(1, 2)))


class Hierarchy(nn.Module):
    """Two stages of patches, each with attention and a mixing part."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.ModuleList([nn.Conv2d(3, 16, 2, 2), nn.Conv2d(16, 32, 2, 2)])
        self.attention = nn.ModuleList([Reduced(16, 2, 2), Reduced(32, 4, 2)])
        self.mixing = nn.ModuleList([Mixed(16), Mixed(32)])
        self.norms = nn.ModuleList([nn.LayerNorm(16), nn.LayerNorm(32)])
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        for patches, attention, mixing, norm in zip(self.patches, self.attention, self.mixing, self.norms, strict=True):
            x = patches(x)
            side, y = x.shape[-1], x.flatten(2).transpose(1, 2)
            y = y + attention(norm(y), side)
            y = y + mixing(y, side)
            x = y.transpose(1, 2).reshape(len(y), -1, side, side)
        return self.head(x.mean((2, 3)))


def hierarchy() -> nn.Module:
    torch.manual_seed(0)
    return Hierarchy().eval()


def masked_queries(model: nn.Module, kept: Kept) -> None:
    """Nothing reads a query's channels by a weight, so those that are cut are set to zero themselves."""
    for name, part in model.named_modules():
        places = kept.get(f"{name}.weight/0")
        if name.endswith("query") and places is not None:
            gone = torch.ones(len(part.weight), dtype=torch.bool).index_fill(0, places, False)
            part.weight.data[gone], part.bias.data[gone] = 0.0, 0.0


class Shuffled(nn.Module):
    """Halves, one of which passes by, shuffled again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 4, 1)
        self.units = nn.ModuleList([nn.Conv2d(12, 12, 3, padding=1) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for unit in self.units:
            left, right = x.chunk(2, 1)
            x = F.channel_shuffle(torch.cat([left, unit(right).relu()], 1), 2)
        return self.last(x)


def shuffled() -> nn.Module:
    torch.manual_seed(0)
    return Shuffled().eval()


def test_equal_shares_need_no_lock_that_other_shares_need() -> None:
    result = prune_exactly(hierarchy(), torch.randn(1, 3, 16, 16), reference=masked_queries)
    widths = {layer.name: layer.after for layer in result.plan.layers}
    assert (widths["patches.0"], widths["patches.1"]) == (8, 16)
    assert (widths["attention.1.query"], widths["attention.1.reduce"], widths["mixing.1.up"]) == (16, 16, 32)
    assert {lock["layer"] for lock in result.report.locks} == {"head"}


def test_the_graph_that_a_probe_makes_has_no_more_locks() -> None:
    graph = tui_prune.trace(hierarchy(), torch.randn(1, 3, 16, 16))
    assert {group.name for group in graph.groups if group.locks} == {"head"}


@pytest.mark.parametrize(
    "factory, size, choices",
    [
        ("hierarchy", 16, ("--ratio", "0.5")),
        ("hierarchy", 16, ("--target-macs", "0.5")),
        ("shuffled", 6, ("--ratio", "0.5")),
        ("shuffled", 6, ("--ratio", "0.3")),
    ],
)
def test_the_command_line_and_the_function_cut_alike(
    factory: str, size: int, choices: Sequence[str], tmp_path: Path
) -> None:
    shape = f"1,3,{size},{size}"
    spec, out = f"{__file__}:{factory}", tmp_path / "out.pt"
    done = CliRunner().invoke(app, ["prune", spec, "-o", str(out), "--input", shape, *choices, "--json"])
    assert done.exit_code == 0, done.output
    option, value = choices
    fields = {"ratio": float(value)} if option == "--ratio" else {"target_macs": 0.5}
    result = tui_prune.prune(globals()[factory](), torch.randn(1, 3, size, size), **fields)
    told = json.loads(done.stdout)
    assert told["layers"] == [dict(layer) for layer in result.report.layers]
    assert [lock["layer"] for lock in told["locks"]] == [lock["layer"] for lock in result.report.locks]
