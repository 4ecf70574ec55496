"""Tensors of equal values that the forward pass makes by itself: as wide as their code makes them, and no channel of
them is like another by chance."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cuts import check_cut, reasons, zeros_in
from tests.exactness import Kept, prune_exactly
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGE, OTHER = torch.randn(1, 3, 6, 5), torch.randn(2, 3, 4, 7)

Step = Callable[["State", Tensor], Tensor]


class State(nn.Module):
    """`a` (16), `step` of which `b` (16) is a part, `out`."""

    def __init__(self, step: Step, wide: int = 16) -> None:
        super().__init__()
        self.step, self.hidden = step, 16
        self.a, self.b, self.out = conv(3, 16), conv(wide, 16), conv(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.step(self, self.a(x)))


def joined(first: Callable[[State, Tensor], Tensor]) -> Step:
    """A state that is joined with its input in each of two steps."""

    def run(net: State, x: Tensor) -> Tensor:
        state = first(net, x)
        for _ in range(2):
            gate = net.b(torch.cat([x, state], 1)).sigmoid()
            state = (1 - gate) * state + gate * x
        return state

    return run


def added(first: Callable[[State, Tensor], Tensor]) -> Step:
    """A state that the layer reads, and to which its input is added."""

    def run(net: State, x: Tensor) -> Tensor:
        state = first(net, x)
        for _ in range(2):
            state = torch.tanh(net.b(state) + x)
        return state

    return run


def summed_up(net: State, x: Tensor) -> Tensor:
    total = torch.zeros(x.shape)
    for _ in range(2):
        total += net.b(x)
    return total


def written_in_part(net: State, x: Tensor) -> Tensor:
    total = x.new_zeros(x.shape)
    total[:, :, 1:] = x[:, :, :-1]
    total[:, :, :, 1:] += net.b(x)[:, :, :, :-1]
    return total


def by_steps(net: State, x: Tensor) -> Tensor:
    found, state = torch.zeros(3, *x.shape), torch.zeros_like(x)
    for step in range(3):
        state = torch.tanh(net.b(state) + x)
        found[step] = state
    return found.sum(0)


def filled(net: State, x: Tensor) -> Tensor:
    return net.b(x * torch.empty(x.shape).fill_(0.5) + torch.ones(x.shape[1], 1, 1))


def lengthened(net: State, x: Tensor) -> Tensor:
    batch, width, _, wide = x.shape
    return net.b(torch.cat([x.new_zeros(batch, width, 1, wide), x], 2))


def blurred(net: State, x: Tensor) -> Tensor:
    kernel = torch.tensor([[1.0, 2.0, 1.0]]) / 4
    width = x.shape[1]
    y = F.conv2d(x, kernel[None, None].repeat(width, 1, 1, 1), groups=width)
    return F.conv2d(net.b(y), kernel.expand(width, 1, 1, 3), groups=width)


def with_all_channels(net: State, x: Tensor) -> Tensor:
    return net.b(x) * F.conv2d(x, torch.ones(1, x.shape[1], 3, 3), padding=1)


SHAPED = {
    "zeros": lambda net, x: torch.zeros(x.shape, dtype=x.dtype),
    "new_zeros": lambda net, x: x.new_zeros(*x.shape),
    "by sizes": lambda net, x: torch.full((len(x), x.shape[1], *x.shape[2:]), 0.5),
    "kept size": lambda net, x: torch.ones(len(x), net.hidden, *x.shape[2:]),
    "expanded": lambda net, x: torch.zeros(1).expand(x.shape),
}


@pytest.mark.parametrize("first", SHAPED.values(), ids=SHAPED.keys())
@pytest.mark.parametrize(("kind", "wide"), [(joined, 32), (added, 16)], ids=["joined", "added"])
def test_first_states(kind: Callable[..., Step], wide: int, first: Callable[[State, Tensor], Tensor]) -> None:
    check_cut(lambda: State(kind(first), wide), IMAGE, {"a": 8, "b": 8}, others=[OTHER])


@pytest.mark.parametrize(
    "step",
    [summed_up, written_in_part, by_steps, filled, lengthened, blurred, with_all_channels],
    ids=lambda step: step.__name__,
)
def test_constants_that_meet_channels(step: Step) -> None:
    check_cut(lambda: State(step), IMAGE, {"a": 8, "b": 8}, others=[OTHER], reference=silenced)


def silenced(masked: State, kept: Kept) -> None:
    """Cut outputs of `a` are zero: a constant kernel reads them."""
    zeros_in("a.weight", "a.bias")(masked, {**kept, "a.bias/0": kept["a.weight/0"]})


def test_zeros_joined_once_follow_what_they_are_joined_with() -> None:
    def step(net: State, x: Tensor) -> Tensor:
        return net.b(torch.cat([x, torch.zeros(x.shape)], 1))

    check_cut(lambda: State(step, 32), IMAGE, {"a": 8, "b": 8}, others=[OTHER])


class Volume(nn.Module):
    """The features of two views side by side at each of three shifts (Chang and Chen 2018, PSMNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 8), nn.Conv3d(16, 4, 1), nn.Conv3d(4, 2, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = self.a(left), self.a(right)
        batch, width, height, wide = left.shape
        volume = left.new_zeros(batch, 2 * width, 3, height, wide)
        for shift in range(3):
            volume[:, :width, shift, :, shift:] = left[..., shift:]
            volume[:, width:, shift, :, shift:] = right[..., : wide - shift]
        return self.out(self.b(volume))


def test_a_volume_that_is_written_part_by_part() -> None:
    def views(batch: int, wide: int) -> Any:
        return torch.randn(batch, 3, 4, wide), torch.randn(batch, 3, 4, wide)

    check_cut(Volume, views(1, 6), {"a": 4, "b": 2}, others=[views(2, 7)])


def test_a_size_in_the_code_is_named_at_the_line_that_makes_it() -> None:
    def step(net: State, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 16, *x.shape[2:])
        for _ in range(2):
            state = torch.tanh(net.b(torch.cat([x, state], 1)))
        return state

    result = prune_exactly(State(step, 32), IMAGE)
    assert (result.plan.layer("a").after, result.plan.layer("b").after) == (8, 16)
    assert reasons(result, "b") == [
        "the model's code fixes this size (state = torch.zeros(len(x), 16, *x.shape[2:]))",
    ]


def test_values_that_differ_still_hold_what_they_meet() -> None:
    def step(net: State, x: Tensor) -> Tensor:
        steps = torch.zeros(x.shape[1])
        steps[1:] = torch.arange(1.0, x.shape[1])
        return net.b(x * steps.view(-1, 1, 1))

    result = prune_exactly(State(step), IMAGE)
    assert (result.plan.layer("a").after, result.plan.layer("b").after) == (16, 8)


class Cell(nn.Module):
    """A cell with gates (Shi et al. 2015, ConvLSTM), whose state is made as wide as its own number says."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden_dim = hidden
        self.gates = conv(width + hidden, 4 * hidden)

    def first(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.hidden_dim, *x.shape[-2:])

    # The instance goes by another name here, as it may anywhere.
    def forward(this, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        gates = this.gates(torch.cat([x, state[0]], 1))
        new, forgotten, put_out, value = torch.split(gates, this.hidden_dim, 1)
        cell = forgotten.sigmoid() * state[1] + new.sigmoid() * value.tanh()
        return put_out.sigmoid() * cell.tanh(), cell


class Cells(nn.Module):
    """Two cells on top of each other, the first of which reads the model's input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = Cell(3, 16), Cell(16, 8), conv(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        states = [(cell.first(x), cell.first(x)) for cell in (self.one, self.two)]
        for _ in range(2):
            states[0] = self.one(x, states[0])
            states[1] = self.two(states[0][0], states[1])
        return self.out(states[1][0])


def test_states_beside_the_model_input() -> None:
    result = check_cut(Cells, IMAGE, {"one.gates": 32, "two.gates": 16}, others=[OTHER])
    assert (result.model.one.hidden_dim, result.model.two.hidden_dim) == (8, 4)
