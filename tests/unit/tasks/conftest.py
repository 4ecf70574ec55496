"""Folders of small pictures, and a network that tells their colours apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel

COLOURS = ("blue", "green", "red")
"""In the order of the folders; the network's outputs are their shares."""


class Colours(nn.Module):
    """Puts out how much of each colour a picture has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3).repeat(2, 1).view(6, 3, 1, 1))
            self.head.weight.copy_(torch.eye(3).flip(1).repeat(1, 2))
            self.first.bias.zero_()
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).mean((2, 3)))


def picture(path: Path, colour: int, size: tuple[int, int] = (12, 10), seed: int = 0) -> None:
    """One whose `colour` (0 red, 1 green, 2 blue) is the brightest."""
    values = np.random.default_rng(seed).integers(0, 100, (size[1], size[0], 3), dtype=np.uint8)
    values[..., colour] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of each colour."""
    for name, colour in zip(COLOURS, (2, 1, 0), strict=True):
        for number in range(8):
            picture(tmp_path / "pictures" / name / f"{number}.png", colour, seed=8 * colour + number)
    return tmp_path / "pictures"


@pytest.fixture
def opened() -> OpenedModel:
    return open_model(model=Colours().eval(), input_spec="1,3,8,8")
