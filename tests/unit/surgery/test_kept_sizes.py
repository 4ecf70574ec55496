"""Whole numbers that modules keep, under any name and in any container, are set where they are sizes of what is cut."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tui_prune
from tests.exactness import prune_exactly, trains, widths
from tui_prune.archives.origin import Edit
from tui_prune.loading.edits import apply_edits
from tui_prune.loading.places import number_at

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGES = (2, 3, 8, 8)
ROWS = (2, 5, 12)
Pair = namedtuple("Pair", "rows channels")


@dataclass
class Settings:
    depth: int
    wide: int


class Split(nn.Module):
    """Half of the channels go through a second layer; how many that are is read off what the module keeps."""

    def __init__(self, keep: Callable[[], Any], read: Callable[[Any], int]) -> None:
        super().__init__()
        self.zq, self.read = keep(), read
        self.a, self.b, self.o = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(48, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.a(x).relu().split(self.read(self.zq), 1)
        return self.o(torch.cat([first, second, self.b(second).relu()], 1))


def round_trip(result: tui_prune.Result, fresh: nn.Module, inputs: Tensor, folder: Path) -> None:
    """The saved network does the same in a fresh one, and in an open file nothing but plain values is read."""
    path = tui_prune.save(folder / "cut.pt", result)
    torch.load(path, weights_only=True)
    loaded = tui_prune.load(path, model=fresh)
    with torch.no_grad():
        assert torch.equal(loaded(inputs), result.model.eval()(inputs))
        loaded(torch.cat([inputs, inputs]))


@pytest.mark.parametrize(
    ("keep", "read", "path"),
    [
        (lambda: 16, lambda kept: (kept, kept), ()),
        (lambda: np.int64(16), lambda kept: (int(kept), int(kept)), ()),
        (lambda: torch.tensor(16), lambda kept: (int(kept), int(kept)), ()),
        (lambda: (1, 16), lambda kept: (kept[1], kept[1]), (1,)),
        (lambda: [16, True], lambda kept: (kept[0], kept[0]), (0,)),
        (lambda: torch.Size([16]), lambda kept: (kept[0], kept[0]), (0,)),
        (lambda: Pair(5, 16), lambda kept: (kept.channels, kept.channels), (1,)),
        (lambda: {"depth": 2, "wide": 16}, lambda kept: (kept["wide"], kept["wide"]), ("wide",)),
        (lambda: SimpleNamespace(wide=16), lambda kept: (kept.wide, kept.wide), ("wide",)),
        (lambda: Settings(2, 16), lambda kept: (kept.wide, kept.wide), ("wide",)),
        (lambda: {"sizes": [(3, 16)]}, lambda kept: (kept["sizes"][0][1],) * 2, ("sizes", 0, 1)),
    ],
)
def test_a_size_in_any_container_is_set_saved_and_loaded(
    keep: Callable[[], Any], read: Callable[[Any], Any], path: tuple[str | int, ...], tmp_path: Path
) -> None:
    model, inputs = Split(keep, read).eval(), torch.randn(IMAGES)
    result = prune_exactly(model, inputs)
    assert widths(result) == {"a": (32, 16), "b": (16, 8), "o": (4, 4)}
    assert int(number_at(result.model, "zq", path)) == 8
    assert type(result.model.zq) is type(model.zq)
    assert int(number_at(model, "zq", path)) == 16
    assert ("zq", path, 8) in {(edit.attribute, edit.path, edit.value) for edit in result.edits}
    trains(result.model, inputs)
    round_trip(result, Split(keep, read), inputs, tmp_path)


def test_in_place_the_kept_size_is_set_as_well() -> None:
    shared = {"wide": 16}
    model, inputs = Split(lambda: shared, lambda kept: kept["wide"]).eval(), torch.randn(IMAGES)
    result = tui_prune.prune(model, inputs, ratio=0.5, inplace=True)
    assert result.model is model
    assert model.zq == {"wide": 8}
    assert shared == {"wide": 16}
    model(inputs)


class OfItsClass(Split):
    zq = 16

    def __init__(self) -> None:
        super().__init__(lambda: None, lambda kept: (kept, kept))
        del self.zq


def test_a_size_that_a_class_keeps_is_set_on_the_module_alone(tmp_path: Path) -> None:
    inputs = torch.randn(IMAGES)
    result = prune_exactly(OfItsClass().eval(), inputs)
    assert (result.model.zq, OfItsClass.zq) == (8, 16)
    round_trip(result, OfItsClass(), inputs, tmp_path)


class AsBuffer(Split):
    def __init__(self) -> None:
        super().__init__(lambda: None, lambda kept: (int(kept), int(kept)))
        del self.zq
        self.register_buffer("zq", torch.tensor(16))


def test_a_size_in_a_buffer_is_set(tmp_path: Path) -> None:
    inputs = torch.randn(IMAGES)
    result = prune_exactly(AsBuffer().eval(), inputs)
    assert int(result.model.zq) == 8
    round_trip(result, AsBuffer(), inputs, tmp_path)


class Reads(nn.Module):
    """Keeps a number that another property computes from."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.total = heads, 32
        self.a, self.b = nn.Linear(12, 32), nn.Linear(32, 6)

    @property
    def each(self) -> int:
        return self.total // self.heads

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).view(*x.shape[:2], self.heads, self.each)
        return self.b(F.relu(y * y.softmax(2)).flatten(2))


def test_a_size_that_a_property_computes_from() -> None:
    result = prune_exactly(Reads().eval(), torch.randn(ROWS), reference=None)
    assert (result.model.heads, result.model.total, result.model.each) == (4, 16, 4)


class Unpatch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.zq = width

    def forward(self, x: Tensor, side: int) -> Tensor:
        return x.transpose(1, 2).reshape(x.shape[0], self.zq, side, side)


class WeightlessParts(nn.Module):
    """What reshapes has no weights: the sizes that it keeps are those of the parts around it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.up = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 1)
        self.narrow, self.wide = Unpatch(16), Unpatch(24)
        self.fold, self.last = nn.Unflatten(1, (24, 8, 8)), nn.Conv2d(24, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.first(x).flatten(2).transpose(1, 2), x.shape[2])
        y = self.wide(self.up(y.relu()).flatten(2).transpose(1, 2), x.shape[2])
        return self.last(self.fold(y.relu().flatten(1)))


def test_sizes_in_parts_without_weights(tmp_path: Path) -> None:
    inputs = torch.randn(1, 3, 8, 8)
    result = prune_exactly(WeightlessParts().eval(), inputs, layers={"first": 0.5, "up": 0.25})
    cut = result.model
    assert widths(result) == {"first": (16, 8), "up": (24, 18), "last": (3, 3)}
    assert (cut.narrow.zq, cut.wide.zq, tuple(cut.fold.unflattened_size)) == (8, 18, (18, 8, 8))
    path = tui_prune.save(tmp_path / "cut.pt", result)
    assert torch.equal(tui_prune.load(path, model=WeightlessParts())(inputs), cut.eval()(inputs))


class TrainsOnly(nn.Module):
    """The mask that training draws is as wide as a number that nothing else reads."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.zq = 32, 32
        self.a, self.b, self.norm, self.c = nn.Linear(12, 32), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        if self.training:
            x = x * torch.bernoulli(torch.full((1, self.into), 0.9))
        x = self.norm(self.b(x)).relu()
        return self.c(x * torch.ones(self.zq) if self.training else x)


def test_sizes_that_only_training_reads() -> None:
    model, inputs = TrainsOnly().eval(), torch.randn(1, 12)
    model.norm.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    result = prune_exactly(model, inputs, layers={"a": 0.25, "b": 0.5})
    assert (result.model.into, result.model.zq) == (24, 16)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model.norm.training
    assert not model.training
    trains(result.model, torch.randn(4, 12))


class TwoPaths(nn.Module):
    """`forward_split` does what `forward` does, by a number that `forward` doesn't read."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.zq = 16
        self.first, self.inner = nn.Conv2d(8, 32, 1), nn.Sequential(nn.Conv2d(16, hidden, 1), nn.Conv2d(hidden, 16, 1))
        self.last = nn.Conv2d(48, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.first(x).chunk(2, 1))
        return self.last(torch.cat([*y, self.inner(y[-1]).relu()], 1))

    def forward_split(self, x: Tensor) -> Tensor:
        y = list(self.first(x).split((self.zq, self.zq), 1))
        return self.last(torch.cat([*y, self.inner(y[-1]).relu()], 1))


@pytest.mark.parametrize("layers", [{"first": 0.25}, {"first": 0.5, "inner.0": 0.75}, {"first": 0.25, "inner.1": 0.5}])
def test_a_size_that_only_another_path_reads(layers: dict[str, float], tmp_path: Path) -> None:
    inputs = torch.randn(1, 8, 8, 8)
    result = prune_exactly(TwoPaths().eval(), inputs, ratio=0.0, layers=layers)
    assert result.model.zq == int(16 * (1 - layers["first"]))
    loaded = tui_prune.load(tui_prune.save(tmp_path / "cut.pt", result), model=TwoPaths())
    assert torch.allclose(loaded.forward_split(inputs), result.model.eval()(inputs), atol=1e-6)


class Backbone(nn.Module):
    """Says how wide its features are, to those that build a head for it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 20, 3)
        self.zq = 20


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.backbone.out(self.backbone.body(x).relu()).relu()
        return self.head(y.mean((2, 3)))


def test_a_size_that_nothing_reads_follows_its_only_axis() -> None:
    result = prune_exactly(Detector().eval(), torch.randn(IMAGES), layers={"backbone.body": 0.25, "backbone.out": 0.5})
    assert result.model.backbone.zq == 10


class Windows(nn.Module):
    """Rows are taken in windows; how long one is, is by chance the width."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.zq, self.zr = 16, width
        self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu().view(*x.shape[:2], self.zr)
        if x.shape[1] % self.zq == 0:
            y = y.view(x.shape[0], -1, self.zq, y.shape[-1]).cumsum(2).flatten(1, 2)
        return self.b(y)


@pytest.mark.parametrize("rows", [16, 5])
def test_a_window_that_is_as_long_as_a_layer_is_wide_stays(rows: int) -> None:
    model = Windows().eval()
    result = prune_exactly(model, torch.randn(2, rows, 12))
    assert (result.model.zq, result.model.zr) == (16, 8)


class Block(nn.Module):
    def __init__(self, shared: Any, into: int, out: int) -> None:
        super().__init__()
        self.shared, self.into, self.out = shared, into, out
        self.a, self.b = nn.Linear(into, shared["wide"]), nn.Linear(shared["wide"], out)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).view(x.shape[0], -1, self.shared["wide"]).relu())


def test_blocks_of_other_widths_each_get_their_own_of_a_shared_entry(tmp_path: Path) -> None:
    def build() -> nn.Module:
        shared = {"wide": 16}
        return nn.Sequential(Block(shared, 12, 20), Block(shared, 20, 6))

    inputs, layers = torch.randn(ROWS), {"0.a": 0.5, "1.a": 0.25, "0.b": 0.5}
    result = prune_exactly(build().eval(), inputs, layers=layers)
    first, second = result.model
    assert (first.shared["wide"], second.shared["wide"]) == (8, 12)
    assert (first.into, first.out, second.into, second.out) == (12, 10, 10, 6)
    round_trip(result, build(), inputs, tmp_path)


class State(nn.Module):
    """Begins with a state of zeros of a kept width."""

    def __init__(self) -> None:
        super().__init__()
        self.zq, self.flat = 16, 16 * 9
        self.a, self.b, self.out = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 1), nn.Linear(16 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y = y.view(x.shape[0], self.zq, -1).view_as(y) + self.b(y).relu()
        return self.out(y.view(-1, self.zq * 16))


def test_a_size_that_is_multiplied_by_the_code() -> None:
    result = prune_exactly(State().eval(), torch.randn(1, 3, 8, 8))
    assert result.model.zq == 8
    assert result.model.flat == 144


class WidthAndWindow(nn.Module):
    """One number is the width and, on longer inputs, a window."""

    def __init__(self) -> None:
        super().__init__()
        self.zq = 16
        self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu().view(x.shape[0], x.shape[1], self.zq)
        return self.b(y[:, : self.zq] * y.shape[1] ** 0.5)


def test_what_a_longer_input_shows_to_be_wrong_stays() -> None:
    model = WidthAndWindow().eval()
    result = prune_exactly(model, torch.randn(2, 8, 12), telling=False)
    longer = torch.randn(2, 30, 12)
    assert result.model.eval()(longer).shape == model(longer).shape
    assert result.model.zq == 16


class Scores(nn.Module):
    """Attention whose scores are divided by what the code computes from the size of a head."""

    def __init__(self, scaled: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.zh, self.zq, self.scaled = 4, 32, scaled
        self.a, self.qkv, self.o, self.b = nn.Linear(12, 32), nn.Linear(32, 96), nn.Linear(32, 32), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, _ = x.shape
        q, k, v = (
            y.view(batch, rows, self.zh, self.zq // self.zh).transpose(1, 2)
            for y in self.qkv(self.a(x)).split(self.zq, 2)
        )
        y = self.scaled(q @ k.transpose(-2, -1), k).softmax(-1) @ v
        return self.b(self.o(y.transpose(1, 2).reshape(batch, rows, self.zq)))


@pytest.mark.parametrize(
    "scaled",
    [
        lambda scores, k: scores * (1.0 / k.shape[-1] ** 0.5),
        lambda scores, k: scores / k.shape[-1] ** 0.5 * 2,
        lambda scores, k: scores / torch.sqrt(torch.tensor(k.shape[-1], dtype=torch.float32)),
        lambda scores, k: k.shape[-1] ** -0.5 * scores.clone(),
    ],
)
def test_scores_keep_the_scale_of_the_larger_heads(scaled: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = Scores(scaled).eval()
    model.qkv.weight.data *= 4

    def narrow(masked: Any, positions: Any) -> None:
        rows = torch.zeros(96).index_fill_(0, positions["qkv.weight/0"], 1)
        masked.qkv.weight.data *= rows[:, None]
        masked.qkv.bias.data *= rows

    result = prune_exactly(model, torch.randn(ROWS), reference=narrow)
    assert result.report.equivalence.kind == "exact"
    assert widths(result)["qkv"] == (96, 48)
    assert result.model.zq == 16


class DividedByItsLargest(nn.Module):
    """What layers put out is multiplied with a number that comes from the data itself, and with no size."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu()
        return self.b(y * y.amax(-1).mean() * y.new_tensor(0.5))


def test_factors_that_come_from_the_data_are_no_scale() -> None:
    def silence(masked: Any, positions: Any) -> None:
        rows = torch.zeros(16).index_fill_(0, positions["a.weight/0"], 1)
        masked.a.weight.data *= rows[:, None]
        masked.a.bias.data *= rows

    result = prune_exactly(DividedByItsLargest().eval(), torch.randn(ROWS), reference=silence)
    kept = result.kept["a.weight/0"]
    assert torch.equal(result.model.a.weight, result.plan.graph.model.a.weight[kept])


class InDoubt(nn.Module):
    """What only an export reads may be one of two widths."""

    def __init__(self) -> None:
        super().__init__()
        self.zq = 16
        self.a, self.b, self.c = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).relu()).relu())

    def describe(self) -> str:
        return f"{self.zq} channels"


def test_a_number_that_may_be_several_sizes_stays_and_is_named() -> None:
    result = prune_exactly(InDoubt().eval(), torch.randn(ROWS), layers={"a": 0.5, "b": 0.25})
    assert result.model.zq == 16
    assert result.report["sizes_in_doubt"] == ["zq"]
    assert "sizes_in_doubt" not in prune_exactly(TwoPaths().eval(), torch.randn(1, 8, 4, 4)).report.to_dict()


@pytest.mark.parametrize(
    "edit",
    [
        ["", "zq", 4, ["deep"]],
        ["", "zq", 32, ["wide"]],
        ["", "zq", "4", ["wide"]],
        ["", "zq", True, ["wide"]],
        ["", "zq", 4, []],
        ["", "zq", 4, ["wide", "real"]],
        ["", "zq", 4, ["__class__"]],
        ["", "_parameters", 4, ["weight"]],
    ],
)
def test_a_checkpoint_sets_nothing_but_smaller_numbers_that_are_there(edit: list[Any]) -> None:
    model = Split(lambda: {"wide": 16}, lambda kept: (kept["wide"],) * 2)
    module, attribute, value, path = edit
    with pytest.raises(tui_prune.TuiPruneError, match="can't be set"):
        apply_edits(model, [Edit(module, attribute, value, tuple(path))])
    assert model.zq == {"wide": 16}
