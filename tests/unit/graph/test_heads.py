"""Attention that loses whole heads: equal to the original with those heads' outputs zero, saved and loaded anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tui_prune
from tests.exactness import largest_error, prune_exactly, trains, widths

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

TOKENS = (2, 6, 12)


class Attention(nn.Module):
    """Heads of queries, and as many or fewer of keys and values."""

    def __init__(self, heads: int = 4, served: int = 1, *, fused: bool = True, size: int = 6) -> None:
        super().__init__()
        self.count, self.served, self.size, self.fused = heads, served, size, fused
        self.q, self.out = nn.Linear(24, heads * size), nn.Linear(heads * size, 24)
        self.k, self.v = (nn.Linear(24, heads // served * size) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.apart(layer(x)) for layer in (self.q, self.k, self.v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.served > 1)
        else:
            k, v = k.repeat_interleave(self.served, 1), v.repeat_interleave(self.served, 1)
            y = (q @ k.mT * self.size**-0.5 + self.bias(q)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))

    def apart(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def bias(self, q: Tensor) -> Tensor | float:
        return 0.0


class ByCount(Attention):
    """Takes heads apart by how many there are: at another number it would be others."""

    def apart(self, x: Tensor) -> Tensor:
        count = self.count if x.shape[2] == self.count * self.size else self.count // self.served
        return x.view(*x.shape[:2], count, -1).transpose(1, 2)


class BiasedByHead(Attention):
    """A learned number for each head and pair of tokens, and a row of a table for each head."""

    def __init__(self) -> None:
        super().__init__(fused=False)
        self.pairs, self.table = nn.Parameter(torch.randn(4, 6, 6)), nn.Parameter(torch.randn(9, 4))
        self.register_buffer("places", torch.arange(36).remainder(9))

    def bias(self, q: Tensor) -> Tensor:
        return self.pairs + self.table[self.places].view(6, 6, -1).permute(2, 0, 1)


class MixedHeads(Attention):
    """Each head's attention is a mix of what all of them see ("talking heads")."""

    def __init__(self) -> None:
        super().__init__(fused=False)
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.apart(layer(x)) for layer in (self.q, self.k, self.v))
        y = self.mix((q @ k.mT).movedim(1, -1)).movedim(-1, 1).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class SlopesByNumber(Attention):
    """What is added for each head is made of its number, in the forward pass."""

    def bias(self, q: Tensor) -> Tensor:
        return -torch.arange(4.0).view(4, 1, 1) * (torch.arange(6.0)[:, None] - torch.arange(6.0)).abs()


class Network(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.embed, self.attention, self.head = nn.Linear(12, 24), attention, nn.Linear(24, 5)
        self.norm = nn.LayerNorm(24)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        return self.head(self.norm(y + self.attention(y)).mean(1))


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "fused": (Attention, {"q": 12, "k": 12, "v": 12, "out": 12}),
    "explicit": (lambda: Attention(fused=False), {"q": 12, "k": 12, "v": 12, "out": 12}),
    "by count": (ByCount, {"q": 12, "k": 12, "v": 12, "out": 12}),
    "as many heads as places": (lambda: ByCount(6), {"q": 18, "k": 18, "v": 18, "out": 12}),
    "shared keys": (lambda: Attention(8, 2), {"q": 24, "k": 12, "v": 12, "out": 12}),
    "shared keys, explicit": (lambda: Attention(8, 2, fused=False), {"q": 24, "k": 12, "v": 12, "out": 12}),
    "one pair of keys stays": (lambda: Attention(4, 2), {"q": 12, "k": 6, "v": 6, "out": 12}),
    "bias": (BiasedByHead, {"q": 12, "k": 12, "v": 12, "out": 12}),
}


@pytest.mark.parametrize("name", CASES)
def test_whole_heads_go(name: str, tmp_path: Path) -> None:
    make, after = CASES[name]
    model = Network(make()).eval()
    result = prune_exactly(model, torch.randn(TOKENS), heads="whole")
    found = {layer.removeprefix("attention."): to for layer, (_, to) in widths(result).items()}
    assert {layer: found[layer] for layer in after} == after
    rows = result.kept["attention.q.weight/0"].view(-1, 6)
    assert bool((rows // 6 == rows[:, :1] // 6).all())
    trains(result.model, torch.randn(TOKENS))
    tui_prune.save(tmp_path / "cut.pt", result)
    loaded, new = tui_prune.load(tmp_path / "cut.pt", model=Network(make())), torch.randn(3, 6, 12)
    assert largest_error(loaded(new), result.model(new)) < 1e-6


def test_a_head_of_keys_goes_with_all_heads_that_it_serves() -> None:
    result = prune_exactly(Network(Attention(8, 2)).eval(), torch.randn(TOKENS), heads="whole")
    queries, keys = (set((result.kept[f"attention.{layer}.weight/0"] // 6).tolist()) for layer in "qk")
    assert queries == {2 * head + other for head in keys for other in (0, 1)}


def test_one_head_of_keys_that_serves_all_stays_whole() -> None:
    model = Network(Attention(4, 4)).eval()
    result = tui_prune.prune(model, torch.randn(TOKENS), ratio=0.5, heads="whole", lock=("attention.v",))
    locks = {lock["layer"]: lock["reason"] for lock in result.report.locks}
    assert locks["attention.q"] == "its channels can only go all together"
    assert widths(result)["attention.q"] == (24, 24)


@pytest.mark.parametrize(("make", "line"), [(lambda: SlopesByNumber(fused=False), "+ self.bias(q)")])
def test_heads_that_code_counts_stay(make: Callable[[], nn.Module], line: str) -> None:
    result = tui_prune.prune(Network(make()).eval(), torch.randn(TOKENS), ratio=0.5, heads="whole")
    assert widths(result)["attention.q"] == (24, 24)
    assert widths(result)["embed"] == (24, 12)
    (lock,) = [lock for lock in result.report.locks if lock["layer"] == "attention.q"]
    assert lock["reason"] == "meets values of a fixed size that no layer puts out"
    assert line in lock["where"]


def test_mixed_heads_are_exact_or_stay() -> None:
    model = Network(MixedHeads()).eval()
    result = prune_exactly(model, torch.randn(TOKENS), heads="whole")
    assert result.report.equivalence.kind == "exact"


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(24, 4, 32, batch_first=True, dropout=0.0)
    return nn.Sequential(
        nn.Linear(12, 24), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(24, 5)
    )


def vision_transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(16, 8, 2, 4, 24, 32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    return model


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 16, [2, 2], [2, 4], [2, 2], num_classes=5)


LIBRARIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, int]] = {
    "encoder": (torch_encoder, TOKENS, "1.layers.0.self_attn", 2),
    "ViT": (vision_transformer, (1, 3, 16, 16), "encoder.layers.encoder_layer_0.self_attention", 2),
    "Swin": (swin, (1, 3, 16, 16), "features.3.1.attn", 2),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_networks_count_their_heads_anew(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mha.get_fastpath_enabled", lambda: False)  # it doesn't ask norms to run
    make, shape, attention, heads = LIBRARIES[name]
    model = make().eval()
    result = prune_exactly(model, torch.randn(shape), heads="whole")
    assert result.model.get_submodule(attention).num_heads == heads
    assert result.plan.after.params < 0.5 * result.plan.before.params
    tui_prune.save(tmp_path / "cut.pt", result)
    new = torch.randn(2, *shape[1:])
    assert largest_error(tui_prune.load(tmp_path / "cut.pt", model=make())(new), result.model(new)) < 1e-6


def groups_of(graph: Any) -> dict[str, int]:
    return {group.name: len(group.channels) for group in graph.groups if group.name.startswith("attention.")}


def test_a_graph_has_heads_or_the_places_in_them() -> None:
    model = Network(Attention()).eval()
    width, whole = (
        tui_prune.trace(model, torch.randn(TOKENS), heads=heads, probing=False) for heads in ("width", "whole")
    )
    assert groups_of(width) == {"attention.q": 24, "attention.v": 24}
    assert groups_of(whole) == {"attention.q": 4}
    assert whole.group_of("attention.v") is whole.group_of("attention.q")
    after = tui_prune.plan(width, ratio=0.25, heads="whole").layer("attention.v").after
    assert after == tui_prune.plan(whole, ratio=0.25, heads="whole").layer("attention.v").after == 18
