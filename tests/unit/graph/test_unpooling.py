"""Max pooling whose places are used again to unpool, as encoders and decoders for segmentation do."""

import torch
from torch import Tensor, nn

from tests.exactness import assert_exact, prune_exactly, trains, widths


class Unpooled(nn.Module):
    """Pool, go on at half the size, and put the values back where the largest ones were."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 4, 3, padding=1)
        self.pool, self.back = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x, places = self.pool(self.enter(x).relu())
        return self.out(self.back(self.middle(x), places))


def test_pooled_and_unpooled_channels_go_together() -> None:
    torch.manual_seed(0)
    model, image = Unpooled(), torch.randn(1, 3, 8, 8)
    result = prune_exactly(model, image)
    assert widths(result) == {"enter": (16, 8), "middle": (16, 8), "out": (4, 4)}
    assert torch.equal(result.kept["enter.weight/0"], result.kept["middle.weight/0"])
    assert_exact(model, result, (torch.randn(3, 3, 12, 8),))
    trains(result.model, image)


class UnpooledByInput(nn.Module):
    """The places come from the image, whose channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x, places = nn.functional.max_pool2d(x, 2, return_indices=True)
        return self.out(nn.functional.max_unpool2d(self.middle(x), places, 2))


def test_places_found_in_the_input_keep_their_channels() -> None:
    torch.manual_seed(0)
    result = prune_exactly(UnpooledByInput(), torch.randn(1, 4, 8, 8), telling=False)
    assert widths(result)["middle"] == (4, 4)
