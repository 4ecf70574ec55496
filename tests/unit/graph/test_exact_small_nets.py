"""Each kind of operator in a tiny network: cut by half and equal to the masked original, or locked with the reason.

Image networks see two 3x8x8 images. Widths are those after a cut of 50 %; a layer that isn't named keeps its width.
"""

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization

import tui_prune
from tests import small_nets as nets
from tests.exactness import (
    TOLERANCE,
    Kept,
    Reference,
    count_only,
    largest_error,
    masked_original,
    other_values,
    prune_exactly,
    randomise_norms,
    trains,
    widths,
)
from tests.random_nets import RandomNetwork
from tests.small_nets import IMAGES, ROWS, conv

FIXED_SIZE = "the model's code fixes this size"
FIXED_VALUES = "meets values of a fixed size that no layer puts out"


pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], nn.Module]
    after: dict[str, int]
    inputs: tuple[int, ...] | Callable[[], Any] = IMAGES
    reference: Reference | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    trained: bool = True

    def example(self) -> Any:
        return self.inputs() if callable(self.inputs) else torch.randn(self.inputs)


def check(case: Case) -> tui_prune.Result:
    """Cut by half, equal to the masked original, as wide as said, and able to learn."""
    model, inputs = randomise_norms(case.build()).eval(), case.example()
    result = prune_exactly(model, inputs, kwargs=case.kwargs, reference=case.reference)
    assert {name: after for name, (before, after) in widths(result).items() if after != before} == case.after
    assert result.report.equivalence.kind == "exact"
    for name, (_, width) in widths(result).items():
        part = result.model.get_submodule(name)
        sizes = [
            getattr(part, size) for size in ("out_channels", "out_features", "embedding_dim") if hasattr(part, size)
        ]
        assert sizes in ([], [width]), name
    if case.trained:
        trains(result.model, *(inputs if isinstance(inputs, tuple) else (inputs,)), **case.kwargs)
    return result


def cases(*listed: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", listed, ids=lambda case: case.name)


def stack(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


# References for what zeros in the weights can't show.


def count_kept(part: str, axis: str) -> Reference:
    """A part of the masked original computes its statistics over the kept positions of an axis."""

    def change(masked: Any, kept: Kept) -> None:
        masked.get_submodule(part).counted = kept[axis]

    return change


def count_only_kept(norm: str, axis: str) -> Reference:
    """A norm without parameters counts the kept positions of an axis only."""
    return lambda masked, kept: count_only(masked.get_submodule(norm), kept[axis])


def count_in_groups(groups: int) -> Reference:
    """The function between counts the kept channels of each group only."""

    def change(masked: Any, kept: Kept) -> None:
        channels, whole = kept["a.weight/0"], masked.function

        def function(y: Tensor) -> Tensor:
            return torch.zeros_like(y).index_copy(1, channels, whole(y.index_select(1, channels)))

        assert (channels // (16 // groups)).bincount(minlength=groups).unique().numel() == 1
        masked.function = function

    return change


def silence(*layers: str, factor: float = 1.0) -> Reference:
    """Cut outputs of these layers are zero: something other than a layer reads them."""

    def change(masked: Any, kept: Kept) -> None:
        for name in layers:
            layer, rows = masked.get_submodule(name), kept[f"{name}.weight/0"]
            for tensor in (layer.weight.data, layer.bias.data):
                tensor.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows] * factor))

    return change


class Columns(nn.Module):
    """A parametrization: the other columns of a weight are zero."""

    def __init__(self, columns: Tensor) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, weight: Tensor) -> Tensor:
        return torch.zeros_like(weight).index_copy(1, self.columns, weight.index_select(1, self.columns))


def only_columns(layer: str, axis: str) -> Reference:
    """A computed weight reads the kept columns alone."""

    def change(masked: Any, kept: Kept) -> None:
        register_parametrization(masked.get_submodule(layer), "weight", Columns(kept[axis]), unsafe=True)

    return change


def together(*references: Reference) -> Reference:
    def change(masked: Any, kept: Kept) -> None:
        for reference in references:
            reference(masked, kept)

    return change


# Convolutions.


@cases(
    Case("2d", stack(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 8, 3)), {"0": 8}),
    Case(
        "1d",
        stack(nn.Conv1d(3, 16, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 8, 3)),
        {"0": 8},
        (2, 3, 20),
    ),
    Case(
        "3d",
        stack(nn.Conv3d(3, 16, 3), nn.BatchNorm3d(16), nn.ReLU(), nn.Conv3d(16, 8, 1)),
        {"0": 8},
        (2, 3, 6, 6, 6),
    ),
    Case("without a batch dimension", stack(conv(3, 16, 3), nn.ReLU(), conv(16, 8, 3)), {"0": 8}, (3, 8, 8)),
    Case(
        "stride, dilation, padding",
        stack(
            conv(3, 16, 3, stride=2, padding="valid"),
            conv(16, 12, 3, padding="same", dilation=2),
            conv(12, 12, 3, padding=1, padding_mode="circular"),
            conv(12, 8, 3, padding=2, padding_mode="reflect"),
        ),
        {"0": 8, "1": 6, "2": 6},
    ),
    Case("odd widths", stack(conv(3, 13), nn.BatchNorm2d(13), nn.ReLU(), conv(13, 7), conv(7, 5)), {"0": 7, "3": 4}),
    Case("one channel in and out", stack(conv(1, 16), nn.ReLU(), conv(16, 1)), {"0": 8}, (2, 1, 8, 8)),
    Case("one channel on the way", stack(conv(3, 1), nn.BatchNorm2d(1), nn.ReLU(), conv(1, 8), conv(8, 1)), {"3": 4}),
    Case("grouped", stack(conv(3, 16, 3), conv(16, 24, 3, groups=4), nn.ReLU(), conv(24, 8)), {"0": 8, "1": 12}),
    Case("grouped at the end", stack(conv(3, 16), nn.ReLU(), conv(16, 8, groups=4)), {"0": 8}),
    Case("depthwise", stack(conv(3, 16), conv(16, 16, 3, groups=16), nn.ReLU(), conv(16, 8)), {"0": 8, "1": 8}),
    Case("depthwise multiplier", stack(conv(3, 16), conv(16, 48, 3, groups=16), conv(48, 8)), {"0": 8, "1": 24}),
    Case("depthwise, many to one", stack(conv(3, 32), conv(32, 16, 3, groups=16), conv(16, 8)), {"0": 16, "1": 8}),
    Case("depthwise on the input", stack(conv(3, 12, 3, groups=3), nn.ReLU(), conv(12, 8)), {"0": 6}),
    Case("depthwise at the end", stack(conv(3, 12), conv(12, 16), nn.ReLU(), conv(16, 16, groups=16)), {"0": 6}),
)
def test_convolution(case: Case) -> None:
    check(case)


@cases(
    Case(
        "plain",
        stack(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 8)),
        {"0": 8, "1": 6},
    ),
    Case("1d", stack(nn.ConvTranspose1d(3, 16, 2), nn.ReLU(), nn.ConvTranspose1d(16, 8, 3)), {"0": 8}, (2, 3, 9)),
    Case(
        "grouped",
        stack(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2, groups=4), nn.BatchNorm2d(12), conv(12, 8)),
        {"0": 8, "1": 6},
    ),
    Case("grouped at the end", stack(conv(3, 16), nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, groups=4)), {"0": 8}),
    Case(
        "depthwise",
        stack(conv(3, 16), nn.ConvTranspose2d(16, 16, 2, stride=2, groups=16), nn.BatchNorm2d(16), conv(16, 8)),
        {"0": 8, "1": 8},
    ),
    Case(
        "depthwise multiplier",
        stack(conv(3, 16), nn.ConvTranspose2d(16, 32, 2, groups=16), nn.ReLU(), conv(32, 8)),
        {"0": 8, "1": 16},
    ),
    Case(
        "depthwise, many to one",
        stack(conv(3, 32), nn.ConvTranspose2d(32, 16, 2, groups=16), nn.ReLU(), conv(16, 8)),
        {"0": 16, "1": 8},
    ),
)
def test_transposed_convolution(case: Case) -> None:
    check(case)


PAIRS = [(2, 3), (3, 2), (4, 6), (8, 12), (4, 3), (2, 4), (4, 2), (4, 4)]


def seeds(few: int) -> pytest.MarkDecorator:
    """Of twenty networks of each kind the default run makes a few; `-m networks` makes the others."""
    others = pytest.param(range(few, 20), id="others", marks=pytest.mark.networks)
    return pytest.mark.parametrize("seeds", [pytest.param(range(few), id="few"), others])


@seeds(3)
@pytest.mark.parametrize("shuffled", [False, True], ids=["straight", "shuffled"])
@pytest.mark.parametrize("mode", ["auto", "even", "whole"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_two_grouped_convolutions(pair: tuple[int, int], mode: str, shuffled: bool, seeds: range) -> None:
    """The first network of each kind is always the same, the others are of other widths and lose another share."""
    for seed in seeds:
        torch.manual_seed(seed)
        generator = random.Random(seed)
        width, ratio = (48, 0.5) if seed == 0 else (24 * generator.randint(1, 5), generator.uniform(0.2, 0.9))
        layers = [(width, width, pair[0]), (width, width * generator.choice([1, 1, 2]), pair[1])]
        between = generator.choice(pair) if shuffled else 1
        result = check_chain(layers, (1, between), mode, ratio)
        if seed == 0 and mode != "whole":
            assert result.plan.cuts


MULTIPLIERS = {
    "32-64 g32": [(32, 64, 32)],
    "128-128 g64": [(128, 128, 64)],
    "512-256 g256": [(512, 256, 256)],
    "chained up": [(32, 64, 32), (64, 64, 64), (64, 128, 64)],
    "chained down": [(512, 256, 256), (256, 256, 64)],
    "then grouped": [(32, 64, 32), (64, 128, 16)],
}


@seeds(2)
@pytest.mark.parametrize("shuffled", [False, True], ids=["straight", "shuffled"])
@pytest.mark.parametrize("mode", ["auto", "even", "whole"])
@pytest.mark.parametrize("layers", MULTIPLIERS.values(), ids=list(MULTIPLIERS))
def test_grouped_convolutions_with_multipliers(layers: list[Any], mode: str, shuffled: bool, seeds: range) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        generator = random.Random(seed)
        ratio = 0.5 if seed == 0 else generator.uniform(0.2, 0.9)
        shuffles = (1, *(generator.choice([groups, other]) if shuffled else 1
                         for (_, _, groups), (_, _, other) in pairwise(layers)))  # fmt: skip
        result = check_chain(layers, shuffles, mode, ratio)
        if seed == 0 and not shuffled and mode != "even":
            assert all(2 * after == before for before, after in list(widths(result).values())[:-1])


@pytest.mark.parametrize("seed", range(40))
def test_random_grouped_chain(seed: int) -> None:
    generator = random.Random(seed)
    torch.manual_seed(seed)
    before = generator.choice([24, 48, 60, 96])
    layers: list[tuple[int, int, int]] = []
    shuffles: list[int] = []
    for _ in range(generator.randint(1, 4)):
        after = generator.choice([before, before, 2 * before])
        groups = generator.choice([g for g in range(1, before + 1) if before % g == after % g == 0])
        shuffles.append(generator.choice([1, layers[-1][2] if layers else groups]))
        layers.append((before, after, groups))
        before = after
    mode, ratio = generator.choice(["auto", "even", "whole"]), generator.choice([0.25, 0.5, 0.7, 0.9])
    check_chain(layers, shuffles, mode, ratio=ratio)


def check_chain(layers: list[Any], shuffles: Any, mode: str, ratio: float = 0.5) -> tui_prune.Result:
    """Exact; `even` leaves the number of groups, `whole` leaves their size; what stays whole says why."""
    model = randomise_norms(nets.GroupedChain(layers, shuffles)).eval()
    result = prune_exactly(model, torch.randn(1, 3, 4, 4), grouped=mode, ratio=ratio)
    for layer, (before, after, groups) in zip(result.model.convs, layers, strict=True):
        sizes = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        if mode == "even" and max(before, after) > groups:
            assert layer.groups == groups
        if mode == "whole" and groups > 1:
            assert sizes == (before // groups, after // groups)
    for layer in result.plan.layers:
        smallest = min(len(cell) for cell in result.plan.graph.groups[layer.group].cells)
        assert layer.after < layer.before or layer.locked or smallest * ratio < 1
    return result


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("mode", ["auto", "even", "whole"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: nets.ThirdsAndGroups(12, 2),
        lambda: nets.ThirdsAndGroups(24, 8),
        lambda: nets.ThirdsAndGroups(36, 4),
        nets.HalfInTwoGroupings,
    ],
    ids=["12 channels, 2 groups", "24 channels, 8 groups", "36 channels, 4 groups", "4 and 6 groups"],
)
def test_groups_that_cross_other_parts(build: Callable[[], nn.Module], mode: str, ratio: float) -> None:
    """Whether anything of them can be cut or not: no wrong network comes out, and no error either."""
    prune_exactly(build().eval(), torch.randn(1, 3, 4, 4), telling=False, grouped=mode, ratio=ratio)


@pytest.mark.parametrize("seed", range(40))
def test_random_network(seed: int) -> None:
    torch.manual_seed(seed)
    model = randomise_norms(RandomNetwork(seed, length=4 + seed % 8)).eval()
    generator = random.Random(seed)
    mode, ratio = generator.choice(["auto", "auto", "even", "whole"]), generator.choice([0.3, 0.5, 0.8])
    result = prune_exactly(model, torch.randn(1, 3, 4, 4), telling=False, grouped=mode, ratio=ratio)
    assert result.plan.after.params == sum(parameter.numel() for parameter in result.model.parameters())


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_channel_shuffle(groups: int) -> None:
    check(Case("written out", lambda: nets.ShuffleOnly(groups), {"a": 8}))
    check(Case("as a module", stack(conv(3, 16), nn.BatchNorm2d(16), nn.ChannelShuffle(groups), conv(16, 8)), {"0": 8}))


# Norms.


@cases(
    Case("batch norm", stack(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case("batch norm without scales", stack(conv(3, 16), nn.BatchNorm2d(16, affine=False), conv(16, 8)), {"0": 8}),
    Case(
        "batch norm without running statistics",
        stack(conv(3, 16), nn.BatchNorm2d(16, track_running_stats=False), conv(16, 8)),
        {"0": 8},
    ),
    Case("instance norm", stack(conv(3, 16), nn.InstanceNorm2d(16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case(
        "instance norm with scales",
        stack(conv(3, 16), nn.InstanceNorm2d(16, affine=True), nn.ReLU(), conv(16, 8)),
        {"0": 8},
    ),
    Case(
        "instance norm with running statistics",
        stack(conv(3, 16), nn.InstanceNorm2d(16, track_running_stats=True), nn.ReLU(), conv(16, 8)),
        {"0": 8},
    ),
    Case("layer norm", stack(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)), {"0": 8}, ROWS),
    Case("layer norm over images", stack(conv(3, 16), nets.LayerNorm2d(16), nn.GELU(), conv(16, 8)), {"0": 8}),
    Case("root mean square norm", stack(nn.Linear(6, 16), nn.RMSNorm(16), nn.Linear(16, 4)), {"0": 8}, ROWS),
    Case("group norm", stack(conv(3, 16), nn.GroupNorm(4, 16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case("group norm of one group", stack(conv(3, 16), nn.GroupNorm(1, 16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case("group norm of single channels", stack(conv(3, 16), nn.GroupNorm(16, 16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case("group norm of pairs", stack(conv(3, 16), nn.GroupNorm(8, 16), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case(
        "group norm of the groups of a convolution",
        stack(conv(3, 16), conv(16, 16, 3, groups=8), nn.GroupNorm(8, 16), nn.ReLU(), conv(16, 8)),
        {"0": 8, "1": 8},
    ),
    Case(
        "group norm after a depthwise convolution",
        stack(conv(3, 16), conv(16, 32, 3, groups=16), nn.GroupNorm(16, 32), nn.ReLU(), conv(32, 8)),
        {"0": 8, "1": 16},
    ),
    Case(
        "layer norm over channels and positions",
        stack(conv(3, 16), nn.LayerNorm((16, 8, 8)), nn.ReLU(), conv(16, 8)),
        {"0": 8},
    ),
    Case(
        "layer norm over tokens and features",
        stack(nn.Linear(6, 16), nn.LayerNorm((5, 16)), nn.ReLU(), nn.Linear(16, 4)),
        {"0": 8},
        ROWS,
    ),
    Case(
        "layer norm without scales",
        stack(nn.Linear(6, 16), nn.LayerNorm(16, elementwise_affine=False), nn.GELU(), nn.Linear(16, 4)),
        {"0": 8},
        ROWS,
        reference=count_only_kept("1", "0.weight/0"),
    ),
    Case(
        "root mean square norm without scales",
        stack(nn.Linear(6, 16), nn.RMSNorm(16, elementwise_affine=False), nn.Linear(16, 4)),
        {"0": 8},
        ROWS,
        reference=count_only_kept("1", "0.weight/0"),
    ),
    Case(
        "group norm of pairs without scales",
        stack(conv(3, 16), nn.GroupNorm(8, 16, affine=False), nn.ReLU(), conv(16, 8)),
        {"0": 8},
        reference=count_only_kept("1", "0.weight/0"),
    ),
)
def test_norm(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("groups", "width", "mode", "left"),
    [(16, 16, "even", (4, 4)), (8, 16, "auto", (2, 4)), (8, 16, "even", (8, 8)), (4, 16, "whole", (1, 4))],
)
def test_group_norms_lose_whole_groups_where_that_is_finer_or_wanted(
    groups: int, width: int, mode: str, left: tuple[int, int]
) -> None:
    model = nn.Sequential(conv(3, width), nn.GroupNorm(groups, width), nn.ReLU(), conv(width, 8)).eval()
    result = prune_exactly(randomise_norms(model), torch.randn(IMAGES), ratio=0.75, grouped=mode)
    norm = result.model[1]
    assert (norm.num_groups, norm.num_channels) == left
    assert result.model[0].out_channels == norm.num_channels


def test_a_number_of_groups_that_the_code_fixes_stays() -> None:
    """Half of the channels of each group can go all the same."""
    model = nets.Between(lambda y: nn.functional.group_norm(y, 8)).eval()
    result = prune_exactly(model, torch.randn(IMAGES), reference=count_in_groups(8))
    assert widths(result)["a"] == (16, 8)


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("mode", ["auto", "even", "whole"])
@pytest.mark.parametrize("pair", [(2, 8), (8, 2), (4, 16), (32, 4), (3, 2), (8, 12)], ids=str)
def test_two_group_norms_of_one_stream(pair: tuple[int, int], mode: str, ratio: float) -> None:
    """Whatever can be cut of them: what comes out is exact."""
    width = 96
    layers = [conv(3, width), nn.GroupNorm(pair[0], width), nn.ReLU(), nn.GroupNorm(pair[1], width), conv(width, 8)]
    model = randomise_norms(nn.Sequential(*layers)).eval()
    prune_exactly(model, torch.randn(IMAGES), telling=False, grouped=mode, ratio=ratio)


# Pointwise operators and what moves elements.


@cases(
    Case("activation with a parameter", stack(conv(3, 16), nn.PReLU(16), conv(16, 8)), {"0": 8}),
    Case("dropout", stack(conv(3, 16), nn.Dropout2d(), nn.ReLU(), conv(16, 8)), {"0": 8}),
    Case("gated linear unit", stack(conv(3, 32), nn.GLU(1), conv(16, 8)), {"0": 16}),
    Case("learned scale", nets.LearnedScale, {"a": 8}),
    Case("scale in a buffer", nets.BufferScale, {"a": 8}),
    Case("scale next to zero", nets.LayerScale, {"a": 8, "b": 8}),
    Case("scalar constants", lambda: nets.Between(lambda y: y * torch.tensor(2.0) + 1), {"a": 8}),
    Case("max pooling", stack(conv(3, 16), nn.MaxPool2d(3, 2, 1, ceil_mode=True), conv(16, 8)), {"0": 8}),
    Case("average pooling", stack(conv(3, 16), nn.AvgPool2d(3), nn.AdaptiveMaxPool2d(2), conv(16, 8)), {"0": 8}),
    Case("upsampling", stack(conv(3, 16), nn.Upsample(scale_factor=2, mode="bilinear"), conv(16, 8)), {"0": 8}),
    Case("reflection", stack(conv(3, 16), nn.ReflectionPad2d(1), nn.ZeroPad2d(1), conv(16, 8)), {"0": 8}),
    Case("mean over positions", lambda: nets.Between(lambda y: y.mean((2, 3), keepdim=True)), {"a": 8}),
    Case(
        "variance over positions",
        lambda: nets.Between(lambda y: y / (y.flatten(2).var(2)[..., None, None] + 1)),
        {"a": 8},
    ),
    Case("sum over positions", lambda: nets.Between(lambda y: y - y.sum(3, keepdim=True) / 8), {"a": 8}),
    Case("softmax over positions", lambda: nets.Between(lambda y: y.flatten(2).softmax(2).view_as(y)), {"a": 8}),
    Case("roll and flip", lambda: nets.Between(lambda y: y.roll(3, 1).flip(1)), {"a": 8}),
    Case("pixel shuffle", stack(conv(3, 32), nn.PixelShuffle(2), conv(8, 8)), {"0": 16}),
    Case("pixel unshuffle", stack(conv(3, 8), nn.PixelUnshuffle(2), conv(32, 8)), {"0": 4}),
    Case("repeat", lambda: nets.Between(lambda y: y.repeat(1, 2, 1, 1), last=32), {"a": 8}),
    Case("repeat one by one", lambda: nets.Between(lambda y: y.repeat_interleave(2, 1), last=32), {"a": 8}),
    Case(
        "every second pixel beside the others",
        lambda: nets.Between(lambda y: torch.cat([y[..., ::2], y[..., 1::2]], 1), last=32),
        {"a": 8},
    ),
    Case("flatten to linear", nets.ToLinear, {"a": 8, "b": 10}),
    Case("patches to linear", nets.Patches, {"a": 8}),
    Case(
        "linear chain",
        stack(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4)),
        {"0": 16, "2": 16},
        (2, 6),
    ),
    Case("embedding", stack(nn.Embedding(20, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)), {"0": 8, "1": 16},
         lambda: torch.tensor([[1, 2, 3], [0, 19, 7]])),
    Case("tokens", nets.Tokens, {"a": 8, "b": 6}, ROWS),
)  # fmt: skip
def test_within_channels_and_moved(case: Case) -> None:
    check(case)


# Where branches meet and part.


@cases(
    Case("residual", nets.Residual, {"a": 8, "b": 8}),
    Case("the same residual block three times", nets.RepeatedResidual, {"a": 8, "b": 8}),
    Case("dense block", nets.DenseBlock, {"a": 8, "b": 4, "c": 4}),
    Case("joined with itself", nets.Twice, {"a": 8}),
    Case("joined with the input", nets.JoinedWithInput, {"a": 8}),
    Case("product", lambda: nets.TwoBranches(torch.mul), {"a": 8, "b": 8}),
    Case("maximum", lambda: nets.TwoBranches(torch.maximum), {"a": 8, "b": 8}),
    Case("one or the other", lambda: nets.TwoBranches(lambda a, b: torch.where(a > 0, a, b)), {"a": 8, "b": 8}),
    Case("added in place", lambda: nets.TwoBranches(lambda a, b: a.add_(b).relu_()), {"a": 8, "b": 8}),
    Case(
        "stacked and averaged", lambda: nets.TwoBranches(lambda a, b: torch.stack([a, b], 2).mean(2)), {"a": 8, "b": 8}
    ),
    Case(
        "channel by channel in turn",
        lambda: nets.TwoBranches(lambda a, b: torch.stack([a, b], 2).flatten(1, 2), last=32),
        {"a": 8, "b": 8},
    ),
    Case("side by side", lambda: nets.TwoBranches(lambda a, b: torch.cat([a, b], 1), last=32), {"a": 8, "b": 8}),
    Case("broadcast", lambda: nets.TwoBranches(lambda a, b: a + b.mean((2, 3), keepdim=True)), {"a": 8, "b": 8}),
    Case("chunk and multiply", nets.Halves, {"a": 16}),
    Case("chunk and go round", nets.OneHalfGoesThrough, {"a": 16, "b": 8}),
    Case("halves by size", nets.HalvesBySize, {"a": 16}),
    Case("halves written into a new tensor", nets.HalvesWritten, {"a": 8}),
    Case("as many zeros beside them", nets.AsManyZerosJoined, {"a": 8, "b": 16}),
    Case("ones in their likeness", lambda: nets.Between(lambda y: y * (1 + torch.ones_like(y)) + 1), {"a": 8}),
    Case("halves changed in place", nets.HalvesInPlace, {"a": 8}, trained=False),
    Case("squeeze and excitation", nets.SqueezeExcitation, {"a": 8, "squeeze": 2, "excite": 8}),
    Case("a layer used twice", nets.SharedLayer, {"a": 8, "b": 8}),
    Case("a layer that is never used", nets.NeverUsed, {"a": 8}, trained=False),
)
def test_branches(case: Case) -> None:
    check(case)


def test_layers_that_are_joined_and_then_added() -> None:
    """All their channels are ranked together; half of them stays."""
    after = widths(prune_exactly(nets.JoinedThenAdded().eval(), torch.randn(IMAGES)))
    assert after["c"] == (32, 16)
    assert after["a"][1] + after["b"][1] == 16


@cases(
    Case("one after the other", nets.TiedLayers, {"a": 8, "b": 8, "c": 8}),
    Case("side by side", nets.TiedSiblings, {"a": 8, "b": 8}),
    Case("an embedding and the output", nets.TiedEmbedding, {"a": 8, "b": 8}, lambda: torch.tensor([[1, 2, 3]])),
)
def test_weights_that_two_modules_share(case: Case) -> None:
    model = case.build().eval()
    result = prune_exactly(model, case.example())
    after = {name: len(part.weight) if name in "abc" else 0 for name, part in result.model.named_modules() if name}
    if case.name == "an embedding and the output":
        assert (result.model.a.embedding_dim, result.model.b.out_features, result.model.out.in_features) == (8, 8, 8)
        assert result.model.out.weight is result.model.a.weight
    else:
        assert {name: width for name, width in after.items() if width} == case.after
        assert len({id(p) for p in result.model.parameters()}) == len({id(p) for p in model.parameters()})
    assert result.plan.after.params == sum(p.numel() for p in result.model.parameters())


# Statistics over channels, weights that are computed.


@cases(
    Case("gate by mean and maximum", nets.GateByMean, {"a": 8}, reference=count_kept("", "a.weight/0")),
    Case("softmax", nets.SoftmaxOverChannels, {"a": 8}, reference=count_kept("", "a.weight/0")),
    Case("unit length", nets.UnitLength, {"a": 8}, reference=count_kept("", "a.weight/0")),
    Case("variance", nets.OverVariance, {"a": 8}, reference=count_kept("", "a.weight/0")),
    Case("a mean that is put out", nets.MeanIsPutOut, {"a": 8}, reference=count_kept("", "a.weight/0")),
)
def test_statistics_over_channels(case: Case) -> None:
    check(case)


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        one, two = nn.utils.weight_norm(conv(3, 16)), nn.utils.weight_norm(conv(16, 8))
    model = nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), conv(8, 4))
    with torch.no_grad():
        model(torch.randn(IMAGES))  # before that, its weights have a history, and only we could copy it
    return model


def old_spectral_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        one, two = nn.utils.spectral_norm(conv(3, 16)), nn.utils.spectral_norm(conv(16, 12))
    return nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), conv(12, 8))


def exponential() -> nn.Module:
    class Exponential(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.exp()

    layer = conv(16, 16)
    register_parametrization(layer, "weight", Exponential(), unsafe=True)
    return nn.Sequential(conv(3, 16), layer, nn.ReLU(), conv(16, 4))


def holes() -> nn.Module:
    layer = conv(16, 16)
    register_parametrization(layer, "weight", nets.FixedHoles((16, 16, 1, 1)))
    return nn.Sequential(conv(3, 16), layer, nn.ReLU(), conv(16, 4))


@cases(
    Case(
        "weight norm",
        stack(weight_norm(conv(3, 16)), nn.ReLU(), weight_norm(conv(16, 8)), conv(8, 4)),
        {"0": 8, "2": 4},
    ),
    Case("weight norm by hooks", old_weight_norm, {"0": 8, "2": 4}),
    Case(
        "weight norm, depthwise",
        stack(conv(3, 16), weight_norm(conv(16, 16, groups=16)), nn.ReLU(), conv(16, 4)),
        {"0": 8, "1": 8},
    ),
    Case(
        "spectral norm",
        stack(spectral_norm(conv(3, 16)), nn.ReLU(), spectral_norm(conv(16, 12, 3)), conv(12, 8)),
        {"0": 8, "2": 6},
    ),
    Case("spectral norm by hooks", old_spectral_norm, {"0": 8, "2": 6}),
    Case(
        "weight standardisation",
        stack(nets.StandardisedConv(3, 16, 1), nn.ReLU(), nets.StandardisedConv(16, 12, 1), nn.ReLU(), conv(12, 4)),
        {"0": 8, "2": 6},
        reference=count_kept("2", "2.weight/1"),
    ),
    Case("fixed holes", holes, {"0": 8, "1": 8}),
    Case(
        "exponential", exponential, {"0": 8, "1": 8},
        reference=only_columns("1", "1.parametrizations.weight.original/1"),
    ),
    Case("bare parameter", nets.Mixed, {"a": 8}, reference=silence("a")),
    Case("sum of two kernels", nets.TwoKernels, {"a": 8, "b": 8}),
)  # fmt: skip
def test_computed_weights(case: Case) -> None:
    check(case)


# Tokens, attention, recurrent layers.


@cases(
    Case(
        "written out", nets.Attention, {"q": 8, "k": 8, "v": 8}, ROWS,
        reference=silence("q", "k", "v"),
    ),
    Case(
        "fused, with the scale of the smaller heads", nets.FusedAttention, {"q": 8, "k": 8, "v": 8}, ROWS,
        reference=together(silence("k", "v"), silence("q", factor=2**0.5)),
    ),
)  # fmt: skip
def test_attention(case: Case) -> None:
    check(case)


def silence_projection(masked: Any, kept: Kept) -> None:
    """Cut rows of the one weight that makes queries, keys and values are zero."""
    rows = kept["attention.in_proj_weight/0"]
    for tensor in (masked.attention.in_proj_weight.data, masked.attention.in_proj_bias.data):
        tensor.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows]))


def test_attention_of_torch() -> None:
    after = {"a": 8, "attention": 24, "attention.out_proj": 8, "b": 6}
    result = check(Case("torch", nets.TorchAttention, after, ROWS, silence_projection))
    attention = result.model.attention
    assert (attention.embed_dim, attention.num_heads, attention.head_dim) == (8, 4, 2)


# What goes in and what comes out.


@cases(
    Case("two inputs", nets.TwoInputs, {"a": 8, "b": 8}, lambda: (torch.randn(IMAGES), torch.randn(2, 4, 8, 8))),
    Case(
        "keyword inputs", nets.KeywordInputs, {"a": 8, "b": 8},
        kwargs={"depth": torch.randn(2, 4, 8, 8), "more": {"gain": torch.randn(2, 1, 8, 8)}},
    ),
)  # fmt: skip
def test_inputs(case: Case) -> None:
    check(case)


@cases(
    Case("tuple", lambda: nets.Outputs(lambda classes, features: (classes, features)), {"a": 8}),
    Case("list", lambda: nets.Outputs(lambda classes, features: [classes, [features]]), {"a": 8}),
    Case("dict", lambda: nets.Outputs(lambda classes, features: {"classes": classes, "more": [features]}), {"a": 8}),
    Case("named tuple", lambda: nets.Outputs(nets.Pair), {"a": 8}),
    Case("dataclass", lambda: nets.Outputs(nets.Prediction), {"a": 8}),
)
def test_all_outputs_keep_their_width(case: Case) -> None:
    result = check(case)
    names = {
        "tuple": ("out[0]", "out[1]"),
        "list": ("out[0]", "out[1][0]"),
        "dict": ("classes", "more[0]"),
        "named tuple": ("classes", "features"),
        "dataclass": ("classes", "features"),
    }
    assert {result.plan.layer(layer).locked for layer in ("b", "out")} == {
        f"model output ({name})" for name in names[case.name]
    }


@torch.no_grad()
def test_an_output_that_was_unlocked_is_cut() -> None:
    model = nets.Residual().eval()
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5, unlock=("out",))
    kept, new = result.kept["out.weight/0"], other_values(torch.randn(IMAGES))
    expected = masked_original(model, result)(new).index_select(1, kept)
    assert expected.shape == (2, 4, 8, 8)
    assert largest_error(result.model(new), expected) < TOLERANCE


# How a model comes: number formats, memory layouts, modes.


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_number_formats(dtype: torch.dtype) -> None:
    model = nn.Sequential(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16, 3), nn.ReLU(), conv(16, 8))
    result = prune_exactly(randomise_norms(model).eval().to(dtype), torch.randn(IMAGES).to(dtype))
    assert widths(result) == {"0": (16, 8), "3": (16, 8), "5": (8, 8)}
    assert {parameter.dtype for parameter in result.model.parameters()} == {dtype}


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight)
    return layer


def channels_last() -> nn.Module:
    layers = nn.Sequential(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 12, 3), nn.ReLU(), conv(12, 8))
    return layers.to(memory_format=torch.channels_last)


def one_memory() -> nn.Module:
    memory = torch.randn(96 + 256) / 4
    return nn.Sequential(linear(memory[:96].view(16, 6)), nn.ReLU(), linear(memory[96:].view(16, 16)), nn.Linear(16, 4))


@cases(
    Case("channels last", channels_last, {"0": 8, "3": 6}),
    Case("transposed", lambda: nn.Sequential(linear(torch.randn(6, 16).t()), nn.Linear(16, 4)), {"0": 8}, (2, 6)),
    Case(
        "every second element",
        lambda: nn.Sequential(linear(torch.randn(16, 12)[:, ::2]), nn.ReLU(), linear(torch.randn(4, 32)[:, ::2])),
        {"0": 8},
        (2, 6),
    ),
    Case("views of one memory", one_memory, {"0": 8, "2": 8}, (2, 6)),
)
def test_memory_layouts(case: Case) -> None:
    check(case)


def test_expanded_parameters() -> None:
    model = nn.Sequential(nn.Linear(6, 16), linear(torch.randn(16, 1).expand(16, 16)), nn.ReLU(), nn.Linear(16, 4))
    result = prune_exactly(model.eval(), torch.randn(2, 6))
    assert widths(result) == {"0": (16, 8), "1": (16, 8), "3": (4, 4)}


def test_the_auxiliary_head_of_train_mode_still_fits() -> None:
    model = randomise_norms(nets.AuxiliaryHead())
    for training in (True, False):
        result = prune_exactly(model.train(training), torch.randn(IMAGES))
        assert widths(result)["a"] == (16, 8)
        classes, more = result.model.train()(torch.randn(IMAGES))
        assert classes.shape == more.shape == (2, 8, 8, 8)
        trains(result.model, torch.randn(IMAGES))


@torch.no_grad()
def test_parameters_of_the_network_itself() -> None:
    model, inputs = nets.OwnParameters().eval(), torch.randn(2, 6)
    result = tui_prune.prune(model, inputs, ratio=0.5)
    rows = result.kept["one/0"]
    assert len(rows) == 8
    expected = nn.functional.linear(nn.functional.linear(inputs, model.one[rows]).relu(), model.two[:, rows])
    assert largest_error(result.model(inputs), expected) < TOLERANCE


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(6, 4), (2, 6)), (conv(3, 8), IMAGES), (nn.LayerNorm(6), ROWS)], ids=str
)
def test_network_that_is_one_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """All that it puts out is its output, and all that it reads its input."""
    result = tui_prune.prune(layer, torch.randn(shape), ratio=0.5)
    assert not result.plan.cuts
    assert str(result.model) == str(layer)


def test_network_without_layers_is_refused_in_words() -> None:
    with pytest.raises(tui_prune.TuiPruneError, match="ReLU"):
        tui_prune.prune(nn.ReLU(), torch.randn(IMAGES), ratio=0.5)


def test_pruning_where_no_gradients_are_wanted() -> None:
    """The cut network learns, wherever it was made."""
    model = nets.Residual()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
        assert widths(result)["a"] == (16, 8)
        trains(result.model, torch.randn(IMAGES))


def test_a_layer_that_is_never_used_is_named_and_stays() -> None:
    result = tui_prune.prune(nets.NeverUsed(), torch.randn(IMAGES), ratio=0.5)
    assert result.plan.graph.unreached == ("never",)
    assert result.model.never.weight.shape == (16, 16, 1, 1)


@pytest.mark.parametrize(
    ("norm", "smaller"),
    [
        (nn.InstanceNorm2d(16), nn.InstanceNorm2d(8)),
        (nn.GroupNorm(4, 16, affine=False), nn.GroupNorm(4, 8, affine=False)),
        (
            nn.BatchNorm2d(16, affine=False, track_running_stats=False),
            nn.BatchNorm2d(8, affine=False, track_running_stats=False),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_norms_without_parameters_know_their_new_sizes(norm: nn.Module, smaller: nn.Module) -> None:
    result = tui_prune.prune(nn.Sequential(conv(3, 16), norm, conv(16, 8)), torch.randn(IMAGES), ratio=0.5)
    assert str(result.model[1]) == str(smaller)


def test_buffers_follow_their_channels() -> None:
    model = nets.BufferScale()
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    assert torch.equal(result.model.scale, model.scale[:, result.kept["a.weight/0"]])


def test_modules_know_their_new_sizes() -> None:
    model = nn.Sequential(
        conv(3, 16), nn.BatchNorm2d(16), nn.PReLU(16), nn.GroupNorm(2, 16), conv(16, 32, groups=16),
        nn.ConvTranspose2d(32, 16, 2), nets.LayerNorm2d(16), nn.Flatten(), nn.Linear(16 * 81, 10), nn.Linear(10, 4),
    )  # fmt: skip
    smaller = nn.Sequential(
        conv(3, 8), nn.BatchNorm2d(8), nn.PReLU(8), nn.GroupNorm(2, 8), conv(8, 16, groups=8),
        nn.ConvTranspose2d(16, 8, 2), nets.LayerNorm2d(8), nn.Flatten(), nn.Linear(8 * 81, 5), nn.Linear(5, 4),
    )  # fmt: skip
    assert str(tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5).model) == str(smaller)


@torch.no_grad()
def test_the_cut_network_takes_other_batches_and_sizes() -> None:
    model = randomise_norms(nets.Residual()).eval()
    result = tui_prune.prune(model, torch.randn(1, 3, 8, 8), ratio=0.5)
    masked = masked_original(model, result)
    for shape in ((3, 3, 8, 8), (1, 3, 5, 13)):
        new = torch.randn(shape)
        assert largest_error(result.model(new), masked(new)) < TOLERANCE


# What can't be cut, and the sentence that says so.


def assert_locked(result: tui_prune.Result, layer: str, reason: str, line: str) -> None:
    """A layer keeps its width, for this reason, at this line of the model's code."""
    planned = result.plan.layer(layer)
    assert planned.after == planned.before
    locks = [lock for lock in result.report.locks if lock["layer"] == layer and lock["reason"] == reason]
    assert locks, result.report.locks
    assert all(lock["where"].startswith("small_nets.py:") for lock in locks)
    assert any(line in lock["where"] for lock in locks)


@dataclass(frozen=True)
class Held:
    build: Callable[[], nn.Module]
    layer: str
    reason: str
    line: str
    after: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    "held",
    [
        Held(nets.FixedView, "b", FIXED_SIZE, "return y.view(-1, 16 * 64)", {"a": 8}),
        Held(nets.FixedSplit, "a", FIXED_SIZE, "one, two = y.split(8, 1)"),
        Held(nets.FixedSlice, "a", FIXED_SIZE, "return y[:, :8] * y[:, 8:]"),
        Held(nets.FixedHalvesWritten, "a", FIXED_SIZE, "swapped[:, :8] = y[:, 8:]"),
        Held(nets.FixedHeads, "a", FIXED_SIZE, "return y.view(-1, 4, 4, 64)"),
        Held(nets.FixedOrder, "a", FIXED_SIZE, "return y[:, self.order]"),
        Held(nets.UnevenSplit, "a", "is split into unequal parts", "one, two = y.split([9, 23], 1)"),
        Held(nets.FixedPart, "a", "is sliced at a fixed place", "return y[:, 3:14]"),
        Held(nets.PickedChannel, "a", "single channels are picked by their number", "return y * y[:, 3].sigmoid()"),
        Held(nets.AddedConstant, "a", FIXED_VALUES, "self.b(y + torch.linspace(0, 1, 16)", {"b": 8}),
        Held(nets.PlainTensor, "a", FIXED_VALUES, "return y * self.scale"),
        Held(nets.PaddedShortcut, "a", "is padded to a fixed width", "F.pad(y, (0, 0, 0, 0, 8, 8))", {"a": 8, "b": 24}),
        Held(
            nets.ZerosJoined,
            "a",
            FIXED_SIZE,
            "zeros = torch.zeros(len(y), 16, *y.shape[2:])",
            {"a": 8, "b": 24},
        ),
        Held(nets.AddedToInput, "a", "model input", "self.a(x) + x", {"b": 8}),
        Held(nets.Ranked, "a", "operator argmax ranks these values", "return y + y.argmax(1, keepdim=True)"),
        Held(nets.Frequencies, "a", "a Fourier transform mixes these channels", "torch.fft.fft(y, dim=1)"),
        Held(nets.LocalResponse, "a", "operator avg_pool3d mixes these positions", "F.local_response_norm(y, 3)"),
        Held(nets.MadeKernel, "kernel", FIXED_SIZE, ".view(12, 16, 1, 1)"),
    ],
    ids=lambda held: held.build.__name__,
)
def test_locked(held: Held) -> None:
    result = prune_exactly(held.build().eval(), torch.randn(1, 3, 8, 8))
    assert {name: after for name, (before, after) in widths(result).items() if after != before} == held.after
    if held.layer not in held.after:
        assert_locked(result, held.layer, held.reason, held.line)
    else:
        assert held.reason in [lock["reason"] for lock in result.report.locks if lock["layer"] == held.layer]


@pytest.mark.parametrize("build", [nets.FixedView, nets.FixedHeads])
def test_a_fixed_size_that_would_fold_two_images_into_one(build: type[nn.Module]) -> None:
    """With half of the channels `view(-1, …)` makes one image of two, and nothing fails on the way."""
    result = prune_exactly(build().eval(), torch.randn(IMAGES))
    layer = "b" if build is nets.FixedView else "a"
    assert result.plan.layer(layer).locked == FIXED_SIZE
    assert widths(result)[layer] == (16, 16)


def test_a_lock_never_names_the_line_that_called_us() -> None:
    """A network of torch's own modules alone has no line of its own to name."""
    model = nn.Sequential(conv(3, 16), nn.LocalResponseNorm(3), conv(16, 8))
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    assert result.plan.layer("0").locked
    assert [lock["where"] for lock in result.report.locks] == [None] * len(result.report.locks)


class EncoderBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.wide, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.narrow(self.wide(x).relu())


class KeepsItsWidth(nn.Module):
    """Blocks of attention and an MLP on a stream whose width the network keeps as a number, too."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_dim = 16
        self.embed = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(EncoderBlock(), EncoderBlock())
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).reshape(x.shape[0], self.hidden_dim, -1).permute(0, 2, 1)
        return self.out(self.blocks(x).mean(1))


def test_what_attention_cannot_do_on_a_kept_stream_leaves_the_rest_to_be_cut() -> None:
    torch.manual_seed(0)
    result = tui_prune.prune(KeepsItsWidth().eval(), torch.randn(1, 3, 8, 8), ratio=0.5, residual="keep")
    widths = {layer.name: (layer.before, layer.after) for layer in result.plan.layers if layer.producer}
    assert widths["blocks.0.wide"] == widths["blocks.1.wide"] == (32, 16)
    assert widths["embed"] == (16, 16)
    assert result.report.equivalence.kind == "exact"
