"""Refitting the layers of a cut network to the original, without labels."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import Cancelled, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.result import Result
from tui_prune.saving.checkpoint import read_checkpoint, verify_checkpoint
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task


def images(count: int, seed: int = 1) -> Tensor:
    """Smooth pictures, so that neighbouring pixels and the channels made of them can be told from each other."""
    small = torch.randn(count, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(small, size=12, mode="bilinear")


IMAGES, OTHERS = images(64), images(32, seed=2)


class Block(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(16, 12, 3, padding=1), nn.Conv2d(16, 8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.relu(self.left(x)), self.right(x)], 1)


class Twice(nn.Module):
    """One layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(x)))


class Attention(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=batch_first)
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 16)
        self.batch_first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = self.second(nn.functional.gelu(self.first(tokens)))
        return (tokens if self.batch_first else tokens.transpose(0, 1)).transpose(1, 2).reshape(x.shape)


def conv(inputs: int, outputs: int, kernel: int = 3, **settings) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **settings)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(16, 16, 3, padding=1),
    "strided": lambda: nn.Sequential(conv(16, 16, 1, stride=2), nn.Conv2d(16, 16, 3, stride=2, padding=1)),
    "residual": lambda: Block(nn.Sequential(conv(16, 24), nn.Conv2d(24, 16, 3, padding=1))),
    "concat": lambda: nn.Sequential(Joined(), nn.Conv2d(20, 16, 1)),
    "grouped": lambda: nn.Sequential(conv(16, 16, groups=4), conv(16, 16, 1)),
    "depthwise": lambda: nn.Sequential(conv(16, 16, groups=16), conv(16, 16, 1)),
    "transposed": lambda: nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1),
    "grouped transposed": lambda: nn.Sequential(nn.ConvTranspose2d(16, 16, 2, stride=2, groups=2), conv(16, 16, 1)),
    "shared": Twice,
    "attention": lambda: Attention(True),
    "attention, positions first": lambda: Attention(False),
}


def network(middle: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(conv(3, 16), middle(), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 6)).train()
    with torch.no_grad():
        for _ in range(3):
            net(IMAGES)
    return net.eval()


@torch.no_grad()
def error(model: nn.Module, original: nn.Module, inputs: Tensor = OTHERS) -> float:
    wanted = original(inputs)
    return float((model(inputs) - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return network(MIDDLES["residual"])


@pytest.fixture(scope="module")
def result(net: nn.Module) -> Result:
    return tui_prune.prune(net, IMAGES[:1], ratio=0.5)


@pytest.mark.parametrize("kind", MIDDLES)
def test_the_outputs_come_back_for_other_inputs(kind: str) -> None:
    net = network(MIDDLES[kind])
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = tui_prune.prune(net, IMAGES[:1], ratio=0.5)
    cut = {name: tensor.clone() for name, tensor in result.model.state_dict().items()}
    made = tui_prune.reconstruct(result, IMAGES.split(16))
    assert error(made.model, net) < 0.6 * error(result.model, net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(tensor, cut[name]) for name, tensor in result.model.state_dict().items())
    assert made.report.recovered == ("reconstructed",)
    found = made.report.reconstruction
    assert found.after < found.before
    assert found.inputs == 64
    assert found.layers
    assert all(layer.left <= layer.cut for layer in found.layers)


def test_batches_are_as_good_as_one(net: nn.Module, result: Result) -> None:
    whole = tui_prune.reconstruct(result, IMAGES)
    forms = (
        IMAGES.split(10),
        [(batch, torch.zeros(len(batch))) for batch in IMAGES.split(16)],
        [{"input": batch} for batch in IMAGES.split(32)],
        iter([(batch,) for batch in IMAGES.split(64)]),
    )
    for batches in forms:
        made = tui_prune.reconstruct(result, batches)
        assert torch.allclose(made.model(OTHERS), whole.model(OTHERS), atol=1e-4)


def test_nothing_is_fitted_to_noise() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 32)).eval()
    result = tui_prune.prune(net, torch.randn(1, 64), ratio=0.5, criterion="random")
    made = tui_prune.reconstruct(result, torch.randn(12, 64))
    fresh = torch.randn(512, 64)
    assert error(made.model, net, fresh) <= 1.02 * error(result.model, net, fresh)


def test_a_cut_that_costs_nothing_stays_as_it_is() -> None:
    net = network(MIDDLES["plain"])
    with torch.no_grad():
        net[0][0][1].weight[8:] = 0
        net[0][0][1].bias[8:] = 0
    result = tui_prune.prune(net, IMAGES[:1], layers={"0.0.0": 0.5}, criterion="bn_scale")
    made = tui_prune.reconstruct(result, IMAGES)
    assert error(made.model, net) < 1e-5


def test_running_statistics_that_the_inputs_do_not_show_are_kept() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        net[0].weight[4:] = 1e-4 * net[0].weight[4:]  # all but constant, so that a mean is lost with them
        net[0].bias[4:] = 1.0
        net[3].running_mean += 1.0
        net[3].running_var *= 3.0
    result = tui_prune.prune(net, IMAGES[:1], layers={"0": 0.5}, criterion="l2")
    made = tui_prune.reconstruct(result, IMAGES)
    assert error(result.model, net) > 0.1
    assert error(made.model, net) < 0.01


def test_a_layer_that_is_best_as_it_was_cut_keeps_its_very_weights() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, outputs, dtype=torch.float64) for outputs in (8, 8, 4)]  # finer than the sums are made in
    net = nn.Sequential(*layers).eval()
    result = tui_prune.prune(net, torch.randn(1, 8).double(), layers={"1": 0.25})
    made = tui_prune.reconstruct(result, torch.randn(64, 8).double())
    assert torch.equal(made.model[0].weight, result.model[0].weight)


def test_what_makes_the_task_worse_is_undone(result: Result) -> None:
    before = result.model(OTHERS)
    task = Task(
        calibration=lambda: IMAGES.split(16),
        evaluate=lambda model: -float((model(OTHERS) - before).detach().abs().sum()),
    )
    made = tui_prune.recover(result, task, reconstruct=True, recalibrate=False)
    assert made.report.recovered == ()
    assert made.report.reconstruction is None
    assert "made it worse" in made.notes[0]
    assert torch.equal(made.model(OTHERS), result.model(OTHERS))


def test_stages_follow_each_other(net: nn.Module, result: Result) -> None:
    task = Task(calibration=lambda: IMAGES.split(16), evaluate=lambda model: -error(model, net))
    made = tui_prune.recover(result, task, reconstruct=True, recalibrate=True)
    assert made.report.recovered[0] == "reconstructed"
    assert made.report.accuracy.recovered > made.report.accuracy.after


def test_a_network_that_was_cut_in_place_has_no_original() -> None:
    result = tui_prune.prune(network(MIDDLES["plain"]), IMAGES[:1], ratio=0.5, inplace=True)
    with pytest.raises(UsageError, match="cut in place"):
        tui_prune.reconstruct(result, IMAGES)


def test_it_can_be_stopped(result: Result) -> None:
    before = result.model(OTHERS)

    def stop(stage: str, done: float) -> None:
        if done > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        tui_prune.reconstruct(result, IMAGES, progress=stop)
    assert torch.equal(result.model(OTHERS), before)


def test_a_cut_of_a_cut_network(tmp_path: Path) -> None:
    first = Session(open_model("nin"), recipe=Recipe(ratio=0.3))
    first.save(tmp_path / "first.pt")
    from tui_prune.models import digits

    task = Task(calibration=lambda: [next(digits.calibration())])
    session = Session(open_model(str(tmp_path / "first.pt")), recipe=Recipe(ratio=0.3), task=task)
    made = session.recover(reconstruct=True, recalibrate=False)
    assert made.report.reconstruction.after < 0.8 * made.report.reconstruction.before


def test_the_checkpoint_is_verified_and_says_what_was_done(tmp_path: Path) -> None:
    from tui_prune.models import digits

    task = Task(calibration=lambda: [next(digits.calibration())])
    session = Session(open_model("nin"), recipe=Recipe(ratio=0.5), task=task)
    exact = session.cut()
    made = session.recover(reconstruct=True, recalibrate=False)
    assert session.result() is made
    session.save(tmp_path / "out.pt")
    assert verify_checkpoint(tmp_path / "out.pt").ok
    report = read_checkpoint(tmp_path / "out.pt").report
    assert report["recovered"] == ["reconstructed"]
    assert report["reconstruction"]["layers"][0].keys() == {"name", "cut", "left"}
    again = Session(open_model("nin"), recipe=Recipe(ratio=0.5), task=task)
    taken = again.take_up(session.packed(made))
    assert taken.report.reconstruction == made.report.reconstruction
    x = next(digits.calibration())[:4]
    assert torch.allclose(tui_prune.load(tmp_path / "out.pt")(x), made.model(x), atol=1e-5)
    session.set_ratio(0.25)
    assert session.recovered is None
    session.undo()
    assert session.recovered is made
    assert exact.report.recovered == ()
