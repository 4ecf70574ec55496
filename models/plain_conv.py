"""Eight 3x3 convolutions that double their widths, 32 to 4096: 100.66M parameters, and a quarter when each is halved.

No batch norm, no bias, no classes: the plainest thing to prune.
"""

from collections.abc import Sequence

from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)


class Model(nn.Module):
    """`conv1`, `act1`, ..., `conv8`."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        in_widths = (3, *widths)
        for number, width in enumerate(widths, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(in_widths[number - 1], width, 3, padding=1, bias=False))
            if number < len(widths):
                self.add_module(f"act{number}", nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def plain_conv(widths: Sequence[int] = WIDTHS) -> Model:
    """The network with these output widths."""
    return Model(widths)
