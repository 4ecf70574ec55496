"""Xception (Chollet, 2016, https://arxiv.org/abs/1610.02357): depthwise separable convolutions with shortcuts.

Entry flow (two convolutions, three blocks that halve the image), middle flow (eight blocks), exit flow.
"""

from torch import Tensor, nn


class SeparableConv2d(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution that mixes them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Block(nn.Module):
    """Separable convolutions of these widths, each with ReLU before and norm behind, and a shortcut.

    With `downsample` the image is halved and the shortcut is a 1x1 convolution; without, the shortcut is the input.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, downsample: bool, relu_first: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((in_channels, *widths), widths, strict=False):
            if layers or relu_first:
                layers.append(nn.ReLU())
            layers += [SeparableConv2d(before, after), nn.BatchNorm2d(after)]
        if downsample:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.body = nn.Sequential(*layers)
        self.shortcut: nn.Sequential | None = None
        if downsample:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, widths[-1], 1, stride=2, bias=False), nn.BatchNorm2d(widths[-1])
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.body(x) + shortcut


class Xception(nn.Module):
    """The whole network."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.entry = nn.Sequential(
            Block(64, (128, 128), downsample=True, relu_first=False),
            Block(128, (256, 256), downsample=True),
            Block(256, (728, 728), downsample=True),
        )
        self.middle = nn.Sequential(*(Block(728, (728, 728, 728), downsample=False) for _ in range(8)))
        self.exit = nn.Sequential(
            Block(728, (728, 1024), downsample=True),
            SeparableConv2d(1024, 1536),
            nn.BatchNorm2d(1536),
            nn.ReLU(),
            SeparableConv2d(1536, 2048),
            nn.BatchNorm2d(2048),
            nn.ReLU(),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.exit(self.middle(self.entry(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))


def xception(num_classes: int = 1000) -> Xception:
    """Xception for 299x299 images."""
    return Xception(num_classes)
