"""Errors of layers as the groups before them are cut, by the moments of the uncut network alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune import Recipe, Task
from tui_prune.planning.criteria import score_groups
from tui_prune.planning.criteria.moments import RIDGE
from tui_prune.recovery import influence
from tui_prune.recovery import moments as gathering
from tui_prune.recovery.moments import gather_moments
from tui_prune.search.curves import ErrorCurves, error_curves

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


def curves(model: nn.Module, inputs: Tensor, criterion: str = "l2", **recipe: object) -> ErrorCurves:
    graph = tui_prune.trace(model.eval(), inputs[:1])
    task = Task(calibration=lambda: inputs.split(64))
    scores = score_groups(graph, criterion)
    return error_curves(graph, Recipe(criterion=criterion, **recipe), scores, gather_moments(graph, task).moments)


def best_error(reads: Tensor, weight: Tensor, kept: Tensor, *, centred: bool) -> float:
    """What least squares on the outputs leaves of a linear layer's squared error."""
    reads = reads.double()
    outputs = reads @ weight.double().T
    if centred:
        reads, outputs = reads - reads.mean(0), outputs - outputs.mean(0)
    ridge = RIDGE * reads.square().mean() * len(reads)
    second = reads[:, kept].T @ reads[:, kept] + ridge * torch.eye(int(kept.sum()))
    left = outputs - reads[:, kept] @ torch.linalg.solve(second, reads[:, kept].T @ outputs)
    return float(left.square().sum())


@pytest.mark.parametrize("bias", [False, True])
def test_what_is_left_is_the_error_of_least_squares_at_every_width(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influence, "INPUTS", 64)
    monkeypatch.setattr(influence, "PROBES", 16)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=bias))
    inputs = torch.randn(64, 4) + 0.5
    (curve,) = curves(model, inputs).curves
    order = np.argsort(model[0].weight.detach().norm(dim=1).numpy())
    with torch.no_grad():
        reads = torch.relu(model[0](inputs))
        size = float(model(inputs).square().sum())
    assert [point.kept for point in curve.points] == [5, 4, 3, 2, 1]
    for gone, point in enumerate(curve.points, start=1):
        kept = torch.ones(6, dtype=torch.bool)
        kept[torch.from_numpy(order[:gone].copy())] = False
        least = best_error(reads, model[2].weight.detach(), kept, centred=bias)
        assert point.left == pytest.approx(least / size, rel=0.15, abs=1e-3)
        lost = reads[:, ~kept] @ model[2].weight[:, ~kept].T.detach()
        lost = lost - lost.mean(0) if bias else lost
        assert point.cut == pytest.approx(float(lost.square().sum()) / size, rel=0.15)


def test_channels_that_others_stand_for_cost_nothing_once_the_reader_is_refitted() -> None:
    """Channels come in pairs of equal ones; the smaller half goes first by its own weights, not by what it brings."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    with torch.no_grad():
        model[0].weight[4:] = model[0].weight[:4] / 2
        model[0].bias[4:] = model[0].bias[:4] / 2
    (curve,) = curves(model, torch.randn(32, 3, 8, 8)).curves
    half, beyond = curve.at(0.5), curve.at(0.75)
    assert (half.kept, beyond.kept) == (4, 2)
    assert half.left < 1e-3 < half.cut
    assert beyond.left > 10 * half.left


class TwoReaders(nn.Module):
    """A layer reads two groups side by side, and one of these is read once more."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 4, 1)
        self.both, self.again, self.out = nn.Conv2d(10, 5, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.tanh(self.left(x)), torch.relu(self.right(x))
        return self.out(torch.relu(self.both(torch.cat([left, right], 1)) + self.again(right)))


def test_every_layer_that_reads_a_group_counts() -> None:
    model, inputs = TwoReaders(), torch.randn(32, 3, 6, 6)
    found = {curve.layer: curve for curve in curves(model, inputs).curves}
    assert list(found) == ["left", "right", "both"]
    with torch.no_grad():
        model.again.weight.zero_()
    fewer = {curve.layer: curve for curve in curves(model, inputs).curves}
    shares = [one["right"].at(0.5).cut / one["left"].at(0.5).cut for one in (found, fewer)]
    assert shares[1] < shares[0] / 2


class Detached(nn.Module):
    """Gradients don't pass: the output is computed without them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def test_without_gradients_errors_are_those_of_the_layers() -> None:
    inputs = torch.randn(64, 4)
    found = curves(Detached(), inputs)
    assert not found.of_outputs
    assert found.curves[0].points[-1].left <= 1


@pytest.mark.parametrize(
    "last",
    [
        lambda: nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1)),
        lambda: nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 2, 1)),
        lambda: nn.ConvTranspose2d(8, 4, 2, stride=2),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 2)),
        lambda: nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)),
    ],
    ids=["grouped", "depthwise", "transposed", "flattened", "norms"],
)
@pytest.mark.parametrize("most", [1024, 8], ids=["exact", "positions as samples"])
def test_errors_grow_with_every_channel_that_goes(
    last: Callable[[], nn.Module], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_COLUMNS", most)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), last())
    found = curves(model, torch.randn(32, 3, 6, 6)).curves
    assert found[0].layer == "0"
    for curve in found:
        for side in ("cut", "left"):
            errors = [getattr(point, side) for point in curve.points]
            assert errors == sorted(errors) or side == "cut"
        assert all(0 <= point.left <= point.cut + 1e-9 for point in curve.points)
        assert curve.points[-1].left > 0


def test_locks_and_blocks_shape_the_widths() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1))
    inputs = torch.randn(32, 3, 6, 6)
    first = curves(model, inputs).curves[0]
    assert [point.kept for point in first.points] == [6, 4, 2]
    assert [curve.layer for curve in curves(model, inputs, lock=("0",)).curves] == ["2"]


class Uneven(nn.Module):
    """All channels of `busy` matter, and two of the eight of `idle` stand for all others."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.idle, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.idle.weight[2:] = self.idle.weight[:2].repeat(3, 1)
            self.idle.bias[2:] = self.idle.bias[:2].repeat(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.idle(torch.tanh(self.busy(x)))))


def test_a_suggestion_by_curves_cuts_what_can_bear_it_and_asks_evaluate_a_few_times() -> None:
    model, inputs = Uneven().eval(), torch.randn(64, 8)
    with torch.no_grad():
        wanted = model(inputs)
    asked = []

    def evaluate(network: nn.Module) -> float:
        asked.append(network)
        with torch.no_grad():
            return -float((network(inputs) - wanted).square().mean())

    for task in (Task(evaluate=evaluate, calibration=lambda: [inputs]), Task(calibration=lambda: [inputs])):
        recipe = tui_prune.suggest(model, inputs[:1], task, target_macs=0.7)
        result = tui_prune.prune(model, inputs[:1], recipe, task=task)
        assert result.report.macs.after <= 0.7 * result.report.macs.before
        assert result.model.busy.out_features > result.model.idle.out_features >= 2
    assert 1 <= len(asked) <= 5
    thorough = len(asked)
    tui_prune.suggest(
        model, inputs[:1], Task(evaluate=evaluate, calibration=lambda: [inputs]), target_macs=0.7, thorough=True
    )
    assert len(asked) > 2 * thorough


def test_python_gives_curves_by_batches_alone() -> None:
    inputs = torch.randn(32, 8)
    found = tui_prune.error_curves(Uneven().eval(), inputs[:1], inputs, criterion="reconstruction")
    assert found.criterion == "reconstruction"
    assert found.of_outputs
    idle = found.to_dict()["curves"][1]
    assert idle["layer"] == "idle"
    left = {point["kept"]: point["left"] for point in idle["points"]}
    assert left[2] < left[1] / 10
