"""Which code is at fault where a cut network fails, and what a module's own code reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tui_prune
from tests.exactness import assert_exact, prune_exactly, widths


class HeadsOfSixteen(nn.Module):
    """Writes the size of a head down: values that are cut make fewer heads, which the attention can't mix any more."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.join = (nn.Linear(64, 64) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            p(x).view(*x.shape[:2], -1, 16).transpose(1, 2) for p in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.join(mixed.transpose(1, 2).flatten(2))


class HeadsBySplitting(HeadsOfSixteen):
    """Heads are the parts that a kept size leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 16

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.query, self.key, self.value)
        query, key, value = (torch.stack(p(x).split(self.size, -1), 1) for p in parts)
        return x + self.join(torch.cat(F.scaled_dot_product_attention(query, key, value).unbind(1), -1))


def around(*attentions: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 64), *attentions, nn.LayerNorm(64), nn.Linear(64, 10)).eval()


def test_the_view_that_makes_other_heads_is_named_and_only_what_it_reshapes_is_locked() -> None:
    result = prune_exactly(around(HeadsOfSixteen(), HeadsOfSixteen()), torch.randn(1, 7, 12))
    assert widths(result)["0"] == (64, 32)
    assert widths(result)["1.value"] == widths(result)["2.query"] == (64, 64)
    wheres = {lock["where"] for lock in result.report.locks if lock["layer"] != "4"}
    assert len(wheres) == 1 and "view(*x.shape[:2], -1, 16)" in wheres.pop()


def test_heads_that_are_split_off_get_narrower() -> None:
    result = tui_prune.prune(around(HeadsBySplitting(), HeadsBySplitting()), torch.randn(1, 7, 12), ratio=0.5)
    assert set(widths(result).values()) == {(64, 32), (10, 10)}
    assert [result.model[n].size for n in (1, 2)] == [8, 8]
    assert result.report.equivalence.kind == "exact"


class WiderValues(nn.Module):
    """Attention over an image whose values are twice as wide as its queries and keys; all in one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.key_size, self.head_size = 2, 8, 16
        self.inner, self.packed, self.join = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 64, 1), nn.Conv2d(32, 32, 1)
        self.out = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        batch, width, *sides = x.shape
        packed = self.packed(x).view(batch, self.heads, self.key_size * 2 + self.head_size, -1)
        query, key, value = packed.split([self.key_size, self.key_size, self.head_size], dim=2)
        weights = (query.transpose(-2, -1) @ key * 0.3).softmax(-1)
        return self.out(x + self.join((value @ weights.transpose(-2, -1)).view(batch, width, *sides)))


def test_values_that_are_wider_than_queries_and_keys_get_narrower() -> None:
    torch.manual_seed(0)
    result = tui_prune.prune(WiderValues().eval(), torch.randn(1, 3, 4, 4), ratio=0.5)
    assert widths(result) == {"inner": (32, 16), "packed": (64, 32), "join": (32, 16), "out": (4, 4)}
    assert (result.model.heads, result.model.key_size, result.model.head_size) == (2, 4, 8)
    assert result.report.equivalence.kind == "exact"


class LinearAttention(nn.Module):
    """Weighs values by queries and keys without a softmax; a row of ones beside the values gives what to divide by."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 16) for _ in range(3))
        self.join = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (p(x).view(*x.shape[:2], 2, -1).transpose(1, 2) for p in (self.query, self.key, self.value))
        query, key, value = query.exp(), key.exp(), F.pad(value, (0, 1), value=1.0)
        summed = query @ (key.transpose(-1, -2) @ value)
        return self.join((summed[..., :-1] / summed[..., -1:]).transpose(1, 2).flatten(2))


def test_a_row_of_ones_beside_channels_fixes_none() -> None:
    torch.manual_seed(0)
    result = tui_prune.prune(LinearAttention().eval(), torch.randn(1, 7, 6), ratio=0.5)
    assert widths(result) == {**dict.fromkeys(("query", "key", "value"), (16, 8)), "join": (4, 4)}
    assert result.report.equivalence.kind == "exact"


class Windows(nn.Module):
    """Keeps a width and a window of as many positions; its methods have their own word for the module."""

    def __init__(me) -> None:
        super().__init__()
        me.width = me.window = 8
        me.enter, me.inside, me.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(me, x: Tensor) -> Tensor:
        size, (batch, _, high, wide) = me.window, x.shape
        y = me.inside(me.enter(x)).unflatten(3, (-1, size)).unflatten(2, (-1, size)).permute(0, 2, 4, 3, 5, 1)
        y = y.reshape(-1, me.window * me.window, me.width)
        y = (y - y.mean(1, keepdim=True)).view(batch, high // size, wide // size, size, size, me.width)
        return me.out(y.permute(0, 5, 1, 3, 2, 4).reshape(batch, me.width, high, wide))


def test_what_a_method_reads_counts_whatever_it_calls_its_module() -> None:
    torch.manual_seed(0)
    model = Windows()
    result = prune_exactly(model, torch.randn(1, 3, 8, 8))
    assert (result.model.width, result.model.window) == (4, 8)
    assert_exact(model, result, (torch.randn(2, 3, 16, 8),))


class WrittenDown(nn.Module):
    """A branch whose width is written down; merged rows are noticed by the layer that reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.wide(x).view(-1, 32).relu()).view(x.shape)


def test_of_many_blocks_that_fail_alike_only_what_stands_at_the_same_place_is_locked() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), *(WrittenDown() for _ in range(5)), nn.Linear(16, 4))
    result = prune_exactly(model, torch.randn(2, 3, 6))
    found = widths(result)
    assert found["0"] == found["5.narrow"] == (16, 8)
    assert {lock["layer"] for lock in result.report.locks} == {*(f"{n}.wide" for n in range(1, 6)), "6"}
    assert all("view(-1, 32)" in lock["where"] for lock in result.report.locks if lock["layer"] != "6")
