"""Parts of unequal size with a common unit: as many channels stay of each run as long as the unit."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.exactness import Kept, only_kept_heads, prune_exactly, trains, widths
from tests.small_nets import IMAGES, conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Partial(nn.Module):
    """A convolution of the first quarter of 32 channels, as `taken` takes it."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run
        self.a, self.part, self.out = conv(3, 32), conv(8, 8, 3, padding=1), conv(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.run(self.part, F.relu(self.a(x)))))


def split(part: nn.Module, y: Tensor) -> Tensor:
    first, rest = torch.split(y, [part.in_channels, y.shape[1] - part.in_channels], 1)
    return torch.cat([part(first), rest], 1)


def sliced(part: nn.Module, y: Tensor) -> Tensor:
    first, rest = y[:, : y.shape[1] // 4], y[:, y.shape[1] // 4 :]
    return torch.cat([part(first), rest], 1)


def from_the_end(part: nn.Module, y: Tensor) -> Tensor:
    rest, last = y[:, : -(y.shape[1] // 4)], y[:, -(y.shape[1] // 4) :]
    return torch.cat([rest, part(last)], 1)


def narrowed(part: nn.Module, y: Tensor) -> Tensor:
    width = part.in_channels
    return torch.cat([part(y.narrow(1, 0, width)), y.narrow(1, width, y.shape[1] - width)], 1)


def at_a_place(part: nn.Module, y: Tensor) -> Tensor:
    first, rest = torch.tensor_split(y, [y.shape[1] // 4], 1)
    return torch.cat([part(first), rest], 1)


def written_over(part: nn.Module, y: Tensor) -> Tensor:
    y = y.clone()
    y[:, : part.in_channels] = part(y[:, : part.in_channels].clone())
    return y


@pytest.mark.parametrize("run", [split, sliced, from_the_end, narrowed, at_a_place, written_over])
def test_a_convolution_of_a_part(run: Callable[[nn.Module, Tensor], Tensor]) -> None:
    result = prune_exactly(Partial(run).eval(), torch.randn(IMAGES))
    assert widths(result) == {"a": (32, 16), "part": (8, 4), "out": (4, 4)}
    trains(result.model, torch.randn(3, 3, 8, 8))


def test_a_size_in_the_code_is_locked_with_its_line() -> None:
    def fixed(part: nn.Module, y: Tensor) -> Tensor:
        return torch.cat([part(y[:, :8]), y[:, 8:]], 1)

    result = prune_exactly(Partial(fixed).eval(), torch.randn(IMAGES))
    assert widths(result)["a"] == (32, 32)
    (lock,) = [lock for lock in result.report.locks if lock["layer"] == "a"]
    assert "part(y[:, :8])" in lock["where"]


class Shift(nn.Module):
    """Shifts an eighth of the channels one step back in time, an eighth one step on."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 32), conv(32, 32), conv(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x))
        fold = y.shape[1] // 8
        moved = torch.zeros_like(y)
        moved[:-1, :fold] = y[1:, :fold]
        moved[1:, fold : 2 * fold] = y[:-1, fold : 2 * fold]
        moved[:, 2 * fold :] = y[:, 2 * fold :]
        return self.out(F.relu(self.b(moved)))


class ThreeParts(nn.Module):
    """Chunks of 14, 14 and 12 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out, self.other = conv(3, 40), conv(14, 4), conv(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = torch.chunk(F.relu(self.a(x)), 3, 1)
        return self.out(one * two) + self.other(three)


class Octave(nn.Module):
    """A quarter of the channels at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = conv(3, 32), conv(32, 4)
        self.high, self.down = conv(24, 24, 3, padding=1), conv(24, 8, 3, padding=1)
        self.low, self.up = conv(8, 8, 3, padding=1), conv(8, 24, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x))
        high, low = y[:, : -(y.shape[1] // 4)], F.avg_pool2d(y[:, -(y.shape[1] // 4) :], 2)
        high, low = (
            self.high(high) + F.interpolate(self.up(low), scale_factor=2.0),
            self.low(low) + self.down(F.avg_pool2d(high, 2)),
        )
        return self.out(torch.cat([F.relu(high), F.interpolate(F.relu(low), scale_factor=2.0)], 1))


class PackedWeight(nn.Module):
    """One weight for two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.weight, self.out = conv(3, 16), nn.Parameter(torch.randn(36, 16, 1, 1)), conv(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, third = F.relu(self.a(x)), len(self.weight) // 3
        one, two = self.weight.split([third, 2 * third])
        value, scale = F.conv2d(y, two).chunk(2, 1)
        return self.out(F.conv2d(y, one) * torch.sigmoid(scale) + value)


def only_columns_of_the_packed(masked: nn.Module, kept: Kept) -> None:
    weight, columns = masked.get_parameter("weight").data, kept["weight/1"]
    weight.copy_(torch.zeros_like(weight).index_copy(1, columns, weight[:, columns]))


def test_unequal_parts_of_one_tensor() -> None:
    assert widths(prune_exactly(Shift().eval(), torch.randn(IMAGES))) == {"a": (32, 16), "b": (32, 16), "out": (4, 4)}
    assert widths(prune_exactly(ThreeParts().eval(), torch.randn(IMAGES)))["a"] == (40, 20)
    after = {"a": (32, 16), "out": (4, 4), "high": (24, 12), "down": (8, 4), "low": (8, 4), "up": (24, 12)}
    assert widths(prune_exactly(Octave().eval(), torch.randn(IMAGES))) == after
    packed = prune_exactly(PackedWeight().eval(), torch.randn(IMAGES), reference=only_columns_of_the_packed)
    assert widths(packed) == {"a": (16, 8), "weight": (36, 18), "out": (4, 4)}


class CrossAttention(nn.Module):
    """Queries of one stream, keys and values of another, by PyTorch's own layer."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(5, options.get("kdim", 16)), nn.Linear(16, 3)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True, **options)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        keys = self.b(y)
        return self.out(self.attention(self.a(x), keys, keys, need_weights=False)[0])


TOKENS = torch.randn(2, 7, 6), torch.randn(2, 5, 5)


def test_cross_attention_with_a_packed_projection() -> None:
    result = prune_exactly(CrossAttention().eval(), TOKENS, reference=only_kept_heads)
    assert widths(result)["attention"] == (48, 24)
    assert (widths(result)["a"], widths(result)["b"]) == ((16, 8), (16, 8))
    assert (result.model.attention.embed_dim, result.model.attention.head_dim) == (8, 2)
    trains(result.model, torch.randn(3, 4, 6), torch.randn(3, 2, 5))


def test_encoder_and_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mha.get_fastpath_enabled", lambda: False)  # it doesn't ask norms to run

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(5, 16), nn.Linear(16, 3)
            self.transformer = nn.Transformer(16, 4, 1, 1, 24, batch_first=True)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.out(self.transformer(self.a(x), self.b(y)))

    result = prune_exactly(Net().eval(), TOKENS, reference=only_kept_heads)
    after = {name: width for name, (_, width) in widths(result).items()}
    assert (after["a"], after["b"], after["transformer.decoder.layers.0.multihead_attn"]) == (8, 8, 24)
    assert result.report.equivalence.kind == "exact"
    assert result.model(torch.randn(3, 4, 6), torch.randn(3, 2, 5)).shape == (3, 2, 3)
