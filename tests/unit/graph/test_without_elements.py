"""A detector that finds nothing in the example image: what it would do with a find is cut to fit all the same."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

import tui_prune
from tests.exactness import TELLING, TOLERANCE, largest_error, masked_original

BOXES = torch.tensor([[1.0, 1.0, 9.0, 9.0], [3.0, 2.0, 12.0, 10.0]])


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 16, 3, padding=1)
        self.pool = MultiScaleRoIAlign(["0", "1"], 4, 2)
        self.head = nn.Conv2d(16, 12, 3)
        self.first = nn.Linear(12 * 4, 20)
        self.second = nn.Linear(20, 4)
        self.out = nn.Conv2d(16, 5, 1)

    def forward(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.features(image))
        levels = {"0": features, "1": nn.functional.avg_pool2d(features, 2)}
        found = self.pool(levels, [boxes], [image.shape[2:]])
        found = torch.relu(self.head(found)).flatten(1)
        return self.out(features), self.second(torch.relu(self.first(found)))


class Picks(nn.Module):
    """Looks only at the rows that an index or a mask picks, and puts what it makes of them beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(6, 16)
        self.one = nn.Linear(16, 8)
        self.other = nn.Linear(16, 8)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        rows = self.features(x)[places]
        return self.out(torch.cat([self.one(rows), self.other(rows).relu().clone()], 1))


@pytest.mark.parametrize(
    ("model", "nothing", "something"),
    [
        (Detector, (torch.randn(1, 3, 16, 16), torch.zeros(0, 4)), (torch.randn(1, 3, 16, 16), BOXES)),
        (Detector, (torch.randn(1, 3, 16, 16), BOXES[:1]), (torch.randn(1, 3, 16, 16), BOXES)),
        (Picks, (torch.randn(5, 6), torch.zeros(0).long()), (torch.randn(5, 6), torch.tensor([3, 1]))),
        (Picks, (torch.randn(5, 6), torch.zeros(5) > 0), (torch.randn(5, 6), torch.arange(5) > 2)),
    ],
    ids=["regions", "a single region", "positions", "mask"],
)
@torch.no_grad()
def test_what_is_not_there_has_channels(
    model: type[nn.Module], nothing: tuple[Tensor, ...], something: tuple[Tensor, ...]
) -> None:
    torch.manual_seed(0)
    network = model().eval()
    result = tui_prune.prune(network, nothing, ratio=0.5)
    assert all(lock.is_output for lock in result.plan.graph.locks)
    expected, plain = masked_original(network, result)(*something), network(*something)
    assert largest_error(result.model(*something), expected) < TOLERANCE
    assert largest_error(plain, expected) > TELLING
    assert [tensor.numel() for tensor in (expected if isinstance(expected, tuple) else (expected,))]


@torch.no_grad()
def test_what_cannot_be_followed_is_locked() -> None:
    """Rows that are moved along their channels while there are none."""

    class Rolls(Picks):
        def forward(self, x: Tensor, places: Tensor) -> Tensor:
            return self.one(self.features(x)[places].roll(3, 1))

    result = tui_prune.prune(Rolls().eval(), (torch.randn(5, 6), torch.zeros(0).long()), ratio=0.5)
    assert result.model.features.out_features == 16
    assert result.model(torch.randn(5, 6), torch.tensor([1, 2])).shape == (2, 8)


@torch.no_grad()
def test_what_a_loop_over_finds_would_read_stays() -> None:
    """As in keypoint detectors: each find is taken apart by code that doesn't run when there is none."""

    class Loops(Picks):
        def forward(self, x: Tensor, places: Tensor) -> Tensor:
            made = super().forward(x, places)
            each = [row.softmax(0) for row in made]
            return torch.stack(each) if each else x.new_zeros(0, 3)

    result = tui_prune.prune(Loops().eval(), (torch.randn(5, 6), torch.zeros(0).long()), ratio=0.5)
    assert (result.model.one.out_features, result.model.features.out_features) == (4, 8)
    assert result.model(torch.randn(5, 6), torch.tensor([1, 2])).shape == (2, 3)
    assert "isn't seen" in {lock.layer: lock.reason for lock in result.plan.graph.locks}["out"]
