"""Constructs from which many image networks are made, each in a net of its own: rows of channels that meet numbers of
their own (heads, the parts of a split), weights that are normalised, and sizes that the code keeps or reads off."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.exactness import Kept, Reference, assert_exact, prune_exactly, randomise_norms, trains, widths
from tests.small_nets import IMAGES, ROWS, Attention, Ends, FusedAttention, StandardisedConv, conv
from tests.unit.graph.test_exact_small_nets import count_kept, silence, together

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


def check(
    build: Callable[[], nn.Module],
    after: dict[str, int],
    shape: tuple[int, ...] = IMAGES,
    reference: Reference | None = None,
    **recipe: Any,
) -> nn.Module:
    """Cut by half, equal to the masked original, as wide as said, and able to learn; gives the cut network."""
    inputs = torch.randn(shape)
    result = prune_exactly(randomise_norms(build()).eval(), inputs, reference=reference, **recipe)
    assert {name: width for name, (before, width) in widths(result).items() if width != before} == after
    assert result.report.equivalence.kind == "exact"
    trains(result.model, inputs)
    return result.model


# Rows of channels.


class CosineAttention(Attention):
    """Queries and keys are of unit length (Liu et al. 2021, Swin Transformer V2), and each head has a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.rand(4, 1, 1) + 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(layer(x)) for layer in (self.q, self.k, self.v))
        weights = (F.normalize(q, dim=-1) * self.temperature @ F.normalize(k, dim=-1).transpose(-1, -2)).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class AttentionOfChannels(Attention):
    """Each channel of a head looks at the others (Ali et al. 2021, XCiT), one of them doesn't count once it is cut."""

    holes: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(layer(x)).transpose(-1, -2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2)
        weights = (scores if self.holes is None else scores + self.holes).softmax(-1)
        return self.out((weights @ v).permute(0, 3, 1, 2).flatten(2))


def leave_out_cut_keys(masked: Any, kept: Kept) -> None:
    holes = torch.full((16,), -torch.inf)
    holes[kept["k.weight/0"]] = 0
    masked.holes = holes.view(4, 1, 4)


@pytest.mark.parametrize(
    ("build", "reference"),
    [
        (CosineAttention, silence("q", "k", "v")),
        (AttentionOfChannels, together(silence("v"), leave_out_cut_keys)),
    ],
)
def test_statistics_and_numbers_of_each_head(build: Callable[[], nn.Module], reference: Reference) -> None:
    check(build, {"q": 8, "k": 8, "v": 8}, ROWS, reference)


class PooledQueries(FusedAttention):
    """Half as many queries as keys (Ryali et al. 2023, Hiera), and each token has a place."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(layer(x + self.places)) for layer in (self.q, self.k, self.v))
        queries = q.unflatten(2, (2, -1)).amax(2)
        return self.out(F.scaled_dot_product_attention(queries, k, v).transpose(1, 2).flatten(2))


def test_fewer_queries_than_keys() -> None:
    reference = together(silence("k", "v"), silence("q", factor=2**0.5))
    check(PooledQueries, {"q": 8, "k": 8, "v": 8}, (2, 4, 6), reference)


class RowsSummedUp(Ends):
    """Two halves are gated by a softmax over the two, and added up (Zhang et al. 2020, ResNeSt)."""

    def __init__(self) -> None:
        super().__init__(last=8)
        self.gate = conv(8, 16)

    def between(self, y: Tensor) -> Tensor:
        halves = y.unflatten(1, (2, -1))
        gates = self.gate(halves.sum(1).mean((2, 3), keepdim=True))
        return (halves * gates.unflatten(1, (2, -1)).softmax(1)).sum(1)


def test_rows_that_are_added_up_lose_the_same_places() -> None:
    check(RowsSummedUp, {"a": 8, "gate": 8})


class PatchesAndBack(Ends):
    def between(self, y: Tensor) -> Tensor:
        return F.fold(F.unfold(y, 3, padding=1), y.shape[2:], 3, padding=1)


def test_patches_are_put_together_again() -> None:
    check(PatchesAndBack, {"a": 8})


class OverHeads(nn.Module):
    """The heads lie last, and the operator works along them, at each place of theirs."""

    def __init__(self, operator: Callable[[Tensor], Tensor], width: int = 16) -> None:
        super().__init__()
        self.a, self.b, self.operator = nn.Linear(6, 16), nn.Linear(width, 8), operator

    def heads(self, x: Tensor) -> Tensor:
        return self.a(x).view(*x.shape[:2], 4, -1).transpose(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.operator(self.heads(x)).transpose(2, -1).flatten(2))


@pytest.mark.parametrize(
    ("operator", "width"),
    [
        (lambda y: y.softmax(3), 16),
        (lambda y: y.cumsum(3), 16),
        (lambda y: y.logsumexp(3, keepdim=True), 4),
        (lambda y: y.amax(3, keepdim=True), 4),
        (lambda y: y.mean(3, keepdim=True), 4),
    ],
)
def test_heads_that_lie_last_lose_the_same_places(operator: Callable[[Tensor], Tensor], width: int) -> None:
    check(lambda: OverHeads(operator, width), {"a": 8}, ROWS)


class OverShuffledHeads(OverHeads):
    def heads(self, x: Tensor) -> Tensor:
        return super().heads(x).flatten(2).view(*x.shape[:2], 2, -1).transpose(2, 3)


def test_rows_that_cannot_be_told_from_places_stay() -> None:
    model = nn.Sequential(OverShuffledHeads(lambda y: y.softmax(3)), nn.ReLU(), nn.Linear(8, 4))
    result = prune_exactly(model.eval(), torch.randn(ROWS))
    assert widths(result)["0.a"] == (16, 16)
    assert widths(result)["0.b"] == (8, 4)
    assert any("can't be told" in lock.reason for lock in result.plan.graph.locks if lock.layer == "0.a")


# Weights normalised by a batch norm.


class NormalisedConv(nn.Conv2d):
    """Weight standardisation by the operator of batch norm, over all but the first dimension."""

    counted: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        counted = self.weight if self.counted is None else self.weight.index_select(1, self.counted)
        weight = F.batch_norm(counted.reshape(1, len(counted), -1), None, None, training=True).reshape_as(counted)
        if self.counted is not None:
            weight = torch.zeros_like(self.weight).index_copy(1, self.counted, weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def test_weights_normalised_as_a_batch() -> None:
    layers = NormalisedConv(3, 16, 3), nn.ReLU(), NormalisedConv(16, 12, 3), nn.ReLU(), conv(12, 4)
    check(lambda: nn.Sequential(*layers), {"0": 8, "2": 6}, reference=count_kept("2", "2.weight/1"))


@pytest.mark.parametrize("kind", [NormalisedConv, StandardisedConv])
def test_of_groups_with_normalised_weights_whole_ones_go(kind: Callable[..., nn.Module]) -> None:
    layers = conv(3, 16), nn.ReLU(), kind(16, 16, 3, groups=2), nn.ReLU(), conv(16, 4)
    cut = check(lambda: nn.Sequential(*layers), {"0": 8, "2": 8}, grouped="even")
    assert cut[2].groups == 1


# Sizes that the code keeps.


class Scales(Ends):
    """Parts of a width that the module keeps, each through a convolution of its own (Gao et al. 2019, Res2Net)."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.convs = nn.ModuleList(conv(4, 4, 3, padding=1) for _ in range(3))

    def between(self, y: Tensor) -> Tensor:
        first, *others = y.split(self.width, 1)
        return torch.cat([first, *(layer(part) for layer, part in zip(self.convs, others, strict=False))], 1)


def test_a_kept_width_is_found_where_the_layer_that_it_leads_into_fails() -> None:
    cut = check(Scales, {"a": 8, "convs.0": 2, "convs.1": 2, "convs.2": 2})
    assert cut.width == 2


class ShapedScale(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shape = nn.Parameter(torch.rand(16) + 1), (16, 1, 1)

    def between(self, y: Tensor) -> Tensor:
        return y * self.scale.view(self.shape)


def test_a_kept_shape_of_channels() -> None:
    assert check(ShapedScale, {"a": 8}).shape == (8, 1, 1)


class HeadsAsWideAsTheInput(nn.Module):
    """The size of a head is by chance the width of what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim = 4
        self.a, self.b, self.out = nn.Linear(6, 4), nn.Linear(4, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(F.relu(self.a(x)))
        return self.out(F.relu(y.view(*y.shape[:2], -1, self.head_dim)).reshape(*x.shape[:2], 16 * self.head_dim // 4))


def test_the_size_of_a_head_goes_with_the_heads() -> None:
    cut = check(HeadsAsWideAsTheInput, {"a": 3, "b": 8}, ROWS, layers={"a": 0.25})
    assert cut.head_dim == 2


class WindowOfPositions(nn.Module):
    """One attribute is the width; the other, by chance the same number, is how many positions are looked at."""

    def __init__(self, width: str, window: str) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 8)
        self.names = width, window
        setattr(self, width, 16)
        setattr(self, window, 16)

    def forward(self, x: Tensor) -> Tensor:
        width, window = (getattr(self, name) for name in self.names)
        return self.b(F.relu(self.a(x)).reshape(x.shape[0], -1, width)[:, :window].sum(1))


@pytest.mark.parametrize(("width", "window"), [("d", "planes"), ("planes", "d")])
def test_a_number_that_is_a_width_by_chance_stays(width: str, window: str) -> None:
    model = WindowOfPositions(width, window).eval()
    result = prune_exactly(model, torch.randn(ROWS))
    assert (getattr(result.model, width), getattr(result.model, window)) == (8, 16)
    for positions in (12, 20):  # more than the cut width; more than the window
        assert_exact(model, result, (torch.randn(2, positions, 6),))


class PartsOfTheInputsWidth(nn.Module):
    """What `b` puts out is taken for as wide as what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(16, 16)

    def forward(self, y: Tensor) -> Tensor:
        return F.relu(self.b(y).view(*y.shape[:2], 4, y.shape[-1] // 4)).flatten(2)


class PartsOfFixedWidth(PartsOfTheInputsWidth):
    def forward(self, y: Tensor) -> Tensor:
        return F.relu(self.b(y).view(*y.shape[:2], 4, 4)).flatten(2)


def tokens(inner: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), inner, nn.Linear(16, 8))


def test_layers_keep_one_share_where_code_takes_them_for_equally_wide() -> None:
    check(tokens(PartsOfTheInputsWidth()), {"0": 8, "2.b": 8}, ROWS, layers={"0": 0.25, "2.b": 0.5})


def test_what_is_fixed_inside_leaves_what_comes_in_free() -> None:
    check(tokens(PartsOfFixedWidth()), {"0": 8}, ROWS)
