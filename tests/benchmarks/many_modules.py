"""A network of two thousand modules: its size is in its tree, not in its weights."""

import torch
from torch import nn

BLOCKS = 499
"""Each is four modules; with the stem, the head and the network itself they are 2,000."""


class Block(nn.Module):
    """Two small convolutions in a row, around which the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.expand = nn.Conv2d(8, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.expand(torch.relu(self.norm(self.squeeze(x))))


class ManyModules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(16) for _ in range(BLOCKS)))
        self.head = nn.Conv2d(16, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x))).mean((2, 3))


def make_network() -> nn.Module:
    """The network, with weights that are the same each time."""
    torch.manual_seed(0)
    return ManyModules().eval()
