"""A trace needs no values, so it computes none where it can. Code that looks at them takes the way that they say."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tests.exactness import prune_exactly


def swallowing(x: Tensor) -> bool:
    try:
        return x.mean().item() > 0.5
    except:  # noqa: E722 what bad code does
        return False


def written_into_another(x: Tensor) -> bool:
    memory = torch.zeros(2)
    memory[:1] = x.mean()
    return memory.tolist()[0] > 0.5


def written_as_an_output(x: Tensor) -> bool:
    memory = torch.zeros(1, x.shape[1])
    first = memory[0, :1]
    torch.mean(x, (2, 3), out=memory)
    return float(first.numpy()[0]) > 0.5


READERS: dict[str, Callable[[Tensor], bool]] = {
    "a comparison": lambda x: bool(x.mean() > 0.5),
    "item": lambda x: x.mean().item() > 0.5,
    "item, with all that it raises swallowed": swallowing,
    "tolist": lambda x: x.mean((2, 3)).tolist()[0][0] > 0.5,
    "numpy": lambda x: float(x.mean().numpy()) > 0.5,
    "an array of numpy's": lambda x: float(np.asarray(x.mean())) > 0.5,
    "torch.equal": lambda x: not torch.equal(x.clamp(0, 0.1), x),
    "how many there are": lambda x: len(x.flatten().nonzero()) > 1,
    "those under a mask": lambda x: x[x > 0.5].numel() > 1,
    "where the largest is": lambda x: bool(torch.arange(4)[(x.mean((0, 2, 3)) * 0 + torch.arange(4)).argmax()] == 3),
    "values written into another tensor": written_into_another,
    "values written as an operator's output": written_as_an_output,
}


class Branching(nn.Module):
    """Puts 1 and more out of its first layer, and goes the first way because of that."""

    def __init__(self, reader: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.reader = reader
        self.features = nn.Conv2d(3, 4, 3)
        nn.init.constant_(self.features.weight, 0.01)
        nn.init.constant_(self.features.bias, 1.0)
        self.first = nn.Conv2d(4, 8, 1)
        self.second = nn.Conv2d(4, 8, 1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.out(self.first(x) if self.reader(x) else self.second(x))


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_the_way_is_taken_that_the_values_say(reader: Callable[[Tensor], bool]) -> None:
    graph = tui_prune.trace(Branching(reader), torch.rand(1, 3, 8, 8))
    assert graph.unreached == ("second",)


class Routed(nn.Module):
    """Reorders its channels by how large they are in the example image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, bias=False)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        order = self.features.weight.flatten(1).norm(dim=1).argsort()
        return self.out(x[:, order])


def test_channels_that_values_put_in_order() -> None:
    prune_exactly(Routed(), torch.randn(1, 3, 8, 8))


class Remembers(nn.Module):
    """Keeps what it computes once for all later runs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3)
        self.out = nn.Conv2d(8, 2, 1)
        self.scale: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.scale is None:
            self.scale = x.abs().mean()
        return self.out(x / self.scale)


@pytest.mark.parametrize("run_before", [False, True])
def test_what_a_network_remembers_of_a_trace_are_no_empty_tensors(run_before: bool) -> None:
    model, image = Remembers(), torch.randn(1, 3, 8, 8)
    if run_before:
        model.eval()(image)
    result = tui_prune.prune(model, image, ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert bool(result.model(image).isfinite().all())


class Notebook:
    """Something of the user's own that isn't a module."""

    def __init__(self) -> None:
        self.scale: Tensor | None = None
        self.table: Tensor | None = None


class KeepsElsewhere(nn.Module):
    """Keeps what it computes once in an object of another class."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3)
        self.out = nn.Conv2d(8, 2, 1)
        self.notes = Notebook()

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.notes.scale is None:
            self.notes.scale = x.abs().mean()
        return self.out(x / self.notes.scale)


def test_what_a_network_keeps_in_an_object_of_its_own_is_forgotten_again() -> None:
    model = KeepsElsewhere().eval()
    image = torch.randn(1, 3, 8, 8)
    result = tui_prune.prune(model, image, ratio=0.5)
    assert model.notes.scale is None
    assert result.model.notes.scale is None
    result.model(image)
    torch.testing.assert_close(result.model.notes.scale, result.model.features(image).abs().mean())
    assert model.notes.scale is None


@functools.cache
def table(rows: int, columns: int) -> Tensor:
    return torch.mm(torch.ones(rows, 1), torch.arange(float(columns))[None])


class Positions(nn.Module):
    """Takes a table of positions that is kept for all networks of its kind, made as a product."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3)
        self.register_buffer("step", torch.arange(1.0, 9.0))
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.out(x + table(x.shape[2], x.shape[3]))


def test_a_table_that_is_kept_for_later_has_values() -> None:
    table.cache_clear()
    tui_prune.trace(Positions(), torch.randn(1, 3, 8, 8))
    assert table.cache_info().currsize == 1
    assert torch.equal(table(6, 6), torch.arange(6.0).expand(6, 6))
