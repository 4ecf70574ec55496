"""A cut that deals channels out in other rows (heads, groups, windows) than the original is found by the replay alone,
also where the numbers hide it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tui_prune
from tests.exactness import prune_exactly


class HeadsByWidth(nn.Module):
    """Attention whose number of heads follows from the width, with queries and keys so small that it is nearly even."""

    def __init__(self, width: int = 32, heads: int = 4, *, keeps_size: bool = True) -> None:
        super().__init__()
        if keeps_size:
            self.head_dim = width // heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)
        for parameter in (*self.query.parameters(), *self.key.parameters()):
            parameter.data *= 0.02

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, getattr(self, "head_dim", 8))
        query, key, value = (
            part(self.norm(x)).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return x + self.out(mixed.reshape(*x.shape[:-1], -1))


def attention(**sizes: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), HeadsByWidth(**sizes), HeadsByWidth(**sizes), nn.Linear(32, 5)).eval()


def test_as_many_heads_as_before_and_narrower() -> None:
    model, x = attention(), torch.randn(1, 7, 6)
    result = prune_exactly(model, x)
    assert {layer.after for layer in result.plan.layers if layer.name.endswith((".query", ".key", ".value"))} == {16}
    assert [result.model.get_submodule(name).head_dim for name in ("1", "2")] == [4, 4]
    assert {(e.module, e.attribute, e.value) for e in result.edits} >= {("1", "head_dim", 4), ("2", "head_dim", 4)}


def test_a_head_size_in_the_code_itself_locks_the_heads_and_names_the_line() -> None:
    result = prune_exactly(attention(keeps_size=False), torch.randn(1, 7, 6))
    widths = {layer.name: layer.after for layer in result.plan.layers}
    assert {widths[f"{n}.{part}"] for n in (1, 2) for part in ("query", "key", "value")} == {32}
    (lock,) = {(lock["reason"], lock["where"]) for lock in result.report.locks if lock["layer"] == "1.query"}
    assert lock[0] == "the model's code fixes this size"
    assert "part(self.norm(x)).view(shape)" in lock[1]


class Rows(nn.Module):
    """A convolution, a step that takes its channels apart, and a convolution that reads what is left."""

    def __init__(self, step: Callable[[Tensor], Tensor], left: int) -> None:
        super().__init__()
        self.step = step
        self.first, self.last = nn.Conv2d(3, 16, 1), nn.Conv2d(left, 4, 1)
        self.first.weight.data[1:] = self.first.weight[:1] + 1e-5 * torch.randn(15, 3, 1, 1)
        self.first.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.step(self.first(x)))


@pytest.mark.parametrize(
    "step, left",
    [
        pytest.param(lambda x: x.unflatten(1, (-1, 4)).mean(2), 4, id="means of four"),
        pytest.param(lambda x: x.unflatten(1, (-1, 4)).softmax(2).flatten(1, 2), 16, id="softmax over four"),
        pytest.param(lambda x: x.unflatten(1, (-1, 2)).amax(2), 8, id="larger of two"),
        pytest.param(lambda x: x[:, :8].mean(1, keepdim=True), 1, id="mean of the first eight"),
        pytest.param(lambda x: x.mean(1, keepdim=True) + x[:, -8:].sum(1, keepdim=True), 1, id="sum of the last eight"),
        pytest.param(lambda x: x.unflatten(1, (4, -1) if x.shape[1] > 8 else (2, -1)).amax(2), 4, id="other groups"),
        pytest.param(lambda x: torch.stack(x.split(4, 1)).mean(0), 4, id="mean of parts of four"),
        pytest.param(lambda x: F.group_norm(x, x.shape[1] // 4), 16, id="norm over four"),
        pytest.param(lambda x: x.sum(1, keepdim=True) / x.shape[1], 1, id="mean by hand"),
    ],
)
def test_equal_channels_don_t_hide_other_rows(step: Callable[[Tensor], Tensor], left: int) -> None:
    """All channels put out nearly the same values, so that wrong rows would be equal to the tolerance."""
    torch.manual_seed(0)
    model, x = Rows(step, left).eval(), torch.randn(2, 3, 5, 5)
    try:
        result = tui_prune.prune(model, x, ratio=0.5)
    except tui_prune.TuiPruneError:
        return
    told = Rows(step, left).eval()
    told.first.weight.data.normal_()
    told.first.bias.data.normal_()
    assert result.report.params.after <= result.report.params.before
    again = tui_prune.prune(told, x, ratio=0.5, criterion="random")
    widths = [{layer.name: layer.after for layer in one.plan.layers} for one in (result, again)]
    assert widths[0] == widths[1]
    prune_exactly(told, x, telling=False)
