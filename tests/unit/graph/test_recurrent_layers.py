"""Hidden units of recurrent layers: the rows of all gates, the columns of the hidden-to-hidden weight, and what reads
them."""

import copy
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
STEPS = torch.randn(5, 3, 6)
"""Five steps of three sequences."""
GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1, nn.LSTMCell: 4, nn.GRUCell: 3, nn.RNNCell: 1}
KINDS = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])


class Recurrent(nn.Module):
    """A linear layer, a recurrent one with 12 hidden units, and two linear layers."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, **options: Any) -> None:
        super().__init__()
        width = (options.get("proj_size") or 12) * (2 if options.get("bidirectional") else 1)
        self.a, self.cells = nn.Linear(6, 16), kind(16, 12, **options)
        self.b, self.out = nn.Linear(width, 20), nn.Linear(20, 4)

    def head(self, y: Tensor) -> Tensor:
        return self.out(F.relu(self.b(y)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(F.relu(self.a(x)))[0])


class LastState(Recurrent):
    def forward(self, x: Tensor) -> Tensor:
        state = self.cells(F.relu(self.a(x)))[1]
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


class ZerosAtFirst(Recurrent):
    """Makes the first state itself, as wide as the layer."""

    def forward(self, x: Tensor) -> Tensor:
        zeros = torch.zeros(1, x.shape[1], self.cells.hidden_size)
        state = (zeros, zeros) if isinstance(self.cells, nn.LSTM) else zeros
        return self.head(self.cells(F.relu(self.a(x)), state)[0])


class LearnedAtFirst(Recurrent):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__(kind)
        self.first = nn.Parameter(torch.randn(1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        first = self.first.expand(-1, x.shape[1], -1).contiguous()
        state = (first, first) if isinstance(self.cells, nn.LSTM) else first
        return self.head(self.cells(F.relu(self.a(x)), state)[0])


OPTIONS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "both directions": {"bidirectional": True},
    "two layers": {"num_layers": 2},
    "two layers in both directions": {"num_layers": 2, "bidirectional": True, "dropout": 0.1},
    "without biases": {"bias": False},
}


def check(model: nn.Module, gates: int, inputs: Any = STEPS) -> tui_prune.Result:
    result = prune_exactly(model.eval(), inputs)
    assert widths(result) == {"a": (16, 8), "cells": (12 * gates, 6 * gates), "b": (20, 10), "out": (4, 4)}
    assert result.report.equivalence.kind == "exact"
    assert (result.model.cells.input_size, result.model.cells.hidden_size) == (8, 6)
    trains(result.model, torch.randn(4, 2, 6))
    return result


@KINDS
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_hidden_units_are_cut(kind: type[nn.RNNBase], options: dict[str, Any]) -> None:
    check(Recurrent(kind, **options), GATES[kind])


@KINDS
@pytest.mark.parametrize("network", [LastState, ZerosAtFirst, LearnedAtFirst])
def test_states(kind: type[nn.RNNBase], network: Callable[..., nn.Module]) -> None:
    check(network(kind), GATES[kind])


@KINDS
def test_a_state_that_is_given_or_put_out_locks_the_units(kind: type[nn.RNNBase]) -> None:
    class Given(Recurrent):
        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            return self.head(self.cells(F.relu(self.a(x)), (h, h) if isinstance(self.cells, nn.LSTM) else h)[0])

    class PutOut(Recurrent):
        def forward(self, x: Tensor) -> Any:
            y, state = self.cells(F.relu(self.a(x)))
            return self.head(y), state

    given = prune_exactly(Given(kind).eval(), (STEPS, torch.randn(1, 3, 12)))
    assert given.plan.layer("cells").locked == "model input"
    out = prune_exactly(PutOut(kind).eval(), STEPS)
    assert out.plan.layer("cells").locked.startswith("model output")
    assert widths(given)["a"] == widths(out)["a"] == (16, 8)


class Steps(nn.Module):
    """A cell, step by step."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.a, self.cells = nn.Linear(6, 16), kind(16, 12)
        self.b, self.out = nn.Linear(12, 20), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x:
            state = self.cells(F.relu(self.a(step)), state)
        return self.out(F.relu(self.b(state[0] if isinstance(state, tuple) else state)))


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(kind: type[nn.RNNCellBase]) -> None:
    check(Steps(kind), GATES[kind])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projections() -> None:
    result = prune_exactly(Recurrent(proj_size=8).eval(), STEPS)
    assert result.report.equivalence.kind == "exact"
    cells = result.model.cells
    assert (cells.input_size, cells.hidden_size, cells.proj_size) == (8, 6, 4)


class Packed(Recurrent):
    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([3, 5, 4])[: len(x)]
        packed = nn.utils.rnn.pack_padded_sequence(F.relu(self.a(x)), lengths, batch_first=True, enforce_sorted=False)
        return self.head(nn.utils.rnn.pad_packed_sequence(self.cells(packed)[0], batch_first=True)[0])


@KINDS
def test_packed_sequences(kind: type[nn.RNNBase]) -> None:
    result = prune_exactly(Packed(kind, batch_first=True).eval(), torch.randn(3, 5, 6))
    assert widths(result)["cells"] == (12 * GATES[kind], 6 * GATES[kind])


def test_the_encoders_state_is_the_decoders_first() -> None:
    class Translates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = nn.Linear(6, 16), nn.Linear(12, 4)
            self.encoder, self.decoder = nn.LSTM(16, 12), nn.LSTM(6, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.decoder(x, self.encoder(self.a(x))[1])[0])

    result = prune_exactly(Translates().eval(), STEPS)
    assert widths(result) == {"a": (16, 8), "encoder": (48, 24), "decoder": (48, 24), "out": (4, 4)}


def test_after_convolutions_and_in_another_number_format() -> None:
    class Lines(nn.Module):
        """Reads an image column by column."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(24, 4)
            self.cells = nn.LSTM(8 * 6, 12, 2, bidirectional=True, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.cells(F.relu(self.a(x)).permute(0, 3, 1, 2).flatten(2))[0])

    result = prune_exactly(Lines().eval(), torch.randn(2, 1, 6, 7))
    assert widths(result) == {"a": (8, 4), "cells": (48, 24), "out": (4, 4)}
    double = prune_exactly(Recurrent().eval().double(), STEPS.double())
    assert widths(double)["cells"] == (48, 24)


def test_a_saved_one_loads(tmp_path: Path) -> None:
    model = Recurrent(num_layers=2, bidirectional=True).eval()
    result = tui_prune.prune(model, STEPS, ratio=0.5)
    tui_prune.save(tmp_path / "pruned.pt", result)
    loaded = tui_prune.load(tmp_path / "pruned.pt", model=Recurrent(num_layers=2, bidirectional=True))
    with torch.no_grad():
        assert largest_error(loaded.eval()(STEPS), copy.deepcopy(result.model)(STEPS)) < 1e-6


class OwnCell(nn.RNNCellBase):
    """A cell of PyTorch's kind that keeps its weights in a layer of its own."""

    def __init__(self, inputs: int, units: int) -> None:
        nn.Module.__init__(self)
        self.both, self.hidden_size = nn.Linear(inputs + units, units), units

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        state = torch.zeros(len(x), self.hidden_size) if state is None else state
        return torch.tanh(self.both(torch.cat([x, state], 1)))


def test_a_cell_of_ones_own() -> None:
    result = prune_exactly(Steps(OwnCell).eval(), STEPS)
    assert widths(result)["cells.both"] == (12, 6)
    assert result.model.cells.hidden_size == 6


def test_a_weight_that_is_dropped_from_before_each_run() -> None:
    class Dropped(Recurrent):
        """Keeps the hidden-to-hidden weight under another name (Merity et al. 2017, weight-dropped LSTM)."""

        def __init__(self) -> None:
            super().__init__()
            self.cells.weight_hh_l0_raw = nn.Parameter(self.cells.weight_hh_l0.data)
            del self.cells._parameters["weight_hh_l0"]

        def forward(self, x: Tensor) -> Tensor:
            cells = self.cells
            cells.weight_hh_l0 = F.dropout(cells.weight_hh_l0_raw, 0.2, self.training)
            cells._flat_weights = [getattr(cells, name) for name in cells._flat_weights_names]
            return self.head(cells(F.relu(self.a(x)))[0])

    result = prune_exactly(Dropped().eval(), STEPS)
    assert widths(result)["cells"] == (48, 24)
    assert result.model.cells.hidden_size == 6
