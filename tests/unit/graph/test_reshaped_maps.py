"""Outputs of a linear layer that become a feature map: of (channels, height, width), whole channels go."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.exactness import prune_exactly, trains, widths

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Decoder(nn.Module):
    """16 channels of 4x4 from one linear layer."""

    def __init__(self, reshape: Callable[[Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.reshape = reshape
        self.lin, self.up, self.out = nn.Linear(10, 256), nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.Conv2d(12, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(torch.relu(self.up(self.reshape(self.lin(z), self.up))))


RESHAPES = {
    "view": lambda y, up: y.view(len(y), -1, 4, 4),
    "width of the next layer": lambda y, up: y.view(len(y), up.in_channels, 4, 4),
    "unflatten": lambda y, up: y.unflatten(1, (-1, 4, 4)),
    "reshape": lambda y, up: y.reshape(-1, up.weight.shape[0], 4, 4),
    "in two steps": lambda y, up: y.reshape(len(y), -1, 16).unflatten(2, (4, 4)),
    "height, width, channels": lambda y, up: y.view(len(y), 4, 4, -1).permute(0, 3, 1, 2),
    "height, channels, width": lambda y, up: y.view(len(y), 4, -1, 4).transpose(1, 2),
    "positions, channels": lambda y, up: y.view(len(y), 16, -1).transpose(1, 2).unflatten(2, (4, 4)),
    "height apart": lambda y, up: y.view(len(y), 2, -1, 2, 4).permute(0, 2, 1, 3, 4).reshape(len(y), -1, 4, 4),
    "halves": lambda y, up: torch.cat([half.view(len(y), -1, 4, 4) for half in y.chunk(2, 1)], 1),
}


@pytest.mark.parametrize("kind", RESHAPES)
def test_whole_channels_of_a_map_go(kind: str) -> None:
    result = prune_exactly(Decoder(RESHAPES[kind]).eval(), torch.randn(2, 10))
    assert widths(result) == {"lin": (256, 128), "up": (12, 6), "out": (3, 3)}
    assert result.model.lin.out_features == 128
    trains(result.model, torch.randn(5, 10))


def test_a_line_of_samples() -> None:
    model = nn.Sequential(nn.Linear(10, 256), nn.Unflatten(1, (-1, 16)), nn.BatchNorm1d(16), nn.Conv1d(16, 3, 3))
    assert widths(prune_exactly(model.eval(), torch.randn(2, 10)))["0"] == (256, 128)


class KernelForEachPosition(nn.Module):
    """Each position has a kernel of its own for each group of channels."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.a, self.kernels, self.out = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 9 * groups, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        b, c, h, w = y.shape
        patches = nn.functional.unfold(y, 3, padding=1).view(b, self.groups, c // self.groups, 9, h, w)
        kernels = self.kernels(y).view(b, self.groups, 1, 9, h, w)
        return self.out((patches * kernels).sum(3).view(b, c, h, w))


@pytest.mark.parametrize("groups", [1, 2])
def test_kernels_for_each_position_stay_and_channels_go(groups: int) -> None:
    result = prune_exactly(KernelForEachPosition(groups).eval(), torch.randn(2, 3, 8, 8))
    assert widths(result) == {"a": (16, 8), "kernels": (9 * groups, 9 * groups), "out": (3, 3)}
    (lock,) = [lock for lock in result.report.locks if lock["layer"] == "kernels"]
    assert "patches * kernels" in lock["where"]
