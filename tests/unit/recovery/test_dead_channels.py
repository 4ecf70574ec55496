"""Channels that do nothing: found by bounds, and cut so that the network stays what it was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import tui_prune

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGES = (2, 3, 8, 8)


def conv(inputs: int, outputs: int, kernel: int = 3, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, **settings)


def busy_norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


def idle_norm(width: int, shift: float) -> nn.BatchNorm2d:
    """The first two channels are one number."""
    norm = busy_norm(width)
    with torch.no_grad():
        norm.weight[:2] = 0
        norm.bias[:2] = shift
    return norm


class Residual(nn.Module):
    """A channel of the stream is dead only where both layers that are added give nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = conv(3, 8), idle_norm(8, 0.0)
        self.inside, self.second = conv(8, 8, 1), idle_norm(8, 0.0)
        with torch.no_grad():
            self.second.weight[1] = 1
        self.out = conv(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.out(torch.relu(x + self.second(self.inside(x))))


def without_weights(layer: nn.Conv2d, number: float = 0.0) -> nn.Conv2d:
    with torch.no_grad():
        layer.weight[:2] = 0
        layer.bias[:2] = number
    return layer


def never_positive(layer: nn.Conv2d) -> nn.Conv2d:
    """What it reads is never negative, so its first two outputs never are positive."""
    with torch.no_grad():
        layer.weight[:2] = -layer.weight[:2].abs()
        layer.bias[:2] = -0.5
    return layer


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "scale 0": (lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.0), nn.ReLU(), conv(8, 4, padding=1)), 2),
    "scale 0 and a shift": (lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), nn.ReLU(inplace=True), conv(8, 4)), 2),
    "a shift below zero": (lambda: nn.Sequential(conv(3, 8), idle_norm(8, -1), nn.ReLU(), conv(8, 4, padding=1)), 2),
    "taken up by a norm": (
        lambda: nn.Sequential(
            conv(3, 8), idle_norm(8, 0.7), nn.SiLU(), conv(8, 6, bias=False), busy_norm(6), nn.ReLU(), conv(6, 4)
        ),
        2,
    ),
    "weights 0": (lambda: nn.Sequential(without_weights(conv(3, 8), 0.3), nn.Sigmoid(), conv(8, 4, 1)), 2),
    "dead behind a ReLU": (
        lambda: nn.Sequential(conv(3, 6), nn.ReLU(), never_positive(conv(6, 8, padding=1)), nn.ReLU(), conv(8, 4)),
        2,
    ),
    "flattened": (
        lambda: nn.Sequential(
            conv(3, 8), idle_norm(8, 0.7), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, 3)
        ),
        2,
    ),
    "pooled": (
        lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        2,
    ),
    "grouped": (
        lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), nn.ReLU(), conv(8, 8, groups=4), nn.ReLU(), conv(8, 2)),
        2,
    ),
    "depthwise": (
        lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), nn.ReLU(), conv(8, 8, groups=8), nn.ReLU(), conv(8, 2)),
        2,
    ),
    "residual": (Residual, 1),
    # What isn't dead, or can't be taken up.
    "a shift that is padded": (lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), conv(8, 4, padding=1)), 0),
    "nothing takes it up": (
        lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.7), conv(8, 4, bias=False), nn.ReLU(), conv(4, 2)),
        0,
    ),
    "a mean over channels": (lambda: nn.Sequential(conv(3, 8), idle_norm(8, 0.0), nn.GroupNorm(1, 8), conv(8, 4)), 0),
    "all busy": (lambda: nn.Sequential(conv(3, 8), busy_norm(8), nn.ReLU(), conv(8, 4)), 0),
}


@pytest.mark.parametrize("name", NETS)
def test_what_does_nothing_goes_and_the_network_stays_what_it_was(name: str, tmp_path) -> None:
    build, dead = NETS[name]
    model = build().eval()
    inputs = torch.randn(IMAGES)
    result = tui_prune.prune(model, inputs, criterion="dead", threshold=0.5)
    assert int((~result.plan.keep).sum()) == dead // (2 if name == "grouped" else 1)
    if not dead:
        assert not result.plan.cuts
        return
    assert result.plan.cuts
    others = 3 * torch.randn(4, *IMAGES[1:])
    with torch.no_grad():
        torch.testing.assert_close(result.model(others), model(others), rtol=1e-4, atol=1e-5)
    assert result.report.equivalence.max_error < 1e-4
    tui_prune.save(tmp_path / "out.pt", result)
    with torch.no_grad():
        loaded = tui_prune.load(tmp_path / "out.pt", model=build().eval())
        torch.testing.assert_close(loaded(others), model(others), rtol=1e-4, atol=1e-5)


def test_what_a_network_reads_of_its_values_leaves_nothing_certain() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.out = conv(3, 8), idle_norm(8, 0.0), conv(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.norm(self.first(x)))) * float(x.mean())

    assert not tui_prune.prune(Reading().eval(), torch.randn(IMAGES), criterion="dead", threshold=0.5).plan.cuts


def test_writing_in_place_into_a_part_is_noticed() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.out = conv(3, 8), idle_norm(8, 0.0), conv(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.norm(self.first(x)))
            y[:, :1] += x[:, :1, 1:-1, 1:-1]
            return self.out(y)

    model, inputs = Writing().eval(), torch.randn(IMAGES)
    result = tui_prune.prune(model, inputs, criterion="dead", threshold=0.5)
    with torch.no_grad():
        torch.testing.assert_close(result.model(inputs), model(inputs), rtol=1e-4, atol=1e-5)
    assert result.model.first.out_channels >= 7


def test_an_alignment_takes_nothing_that_counts() -> None:
    model = NETS["scale 0"][0]().eval()
    result = tui_prune.prune(model, torch.randn(IMAGES), criterion="dead", threshold=0.5, align=4)
    assert result.model[0].out_channels == 8
