"""Darknet-53, the backbone of YOLOv3 (Redmon, Farhadi, 2018, https://arxiv.org/abs/1804.02767), as a classifier."""

from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Convolution, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Residual(nn.Module):
    """A 1x1 convolution to half the channels, a 3x3 convolution back, and the sum with the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvBlock(channels, channels // 2, 1)
        self.expand = ConvBlock(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(self.squeeze(x))


class Darknet(nn.Module):
    """Five stages, each a convolution that halves the image and doubles the channels, then residual blocks."""

    def __init__(self, depths: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels = 32
        self.stem = ConvBlock(3, channels, 3)
        stages = []
        for depth in depths:
            halving = ConvBlock(channels, 2 * channels, 3, stride=2)
            channels *= 2
            stages.append(nn.Sequential(halving, *(Residual(channels) for _ in range(depth))))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        return self.fc(self.pool(x).flatten(1))


def darknet53(num_classes: int = 1000) -> Darknet:
    """52 convolutions and a linear layer."""
    return Darknet((1, 2, 8, 8, 4), num_classes)
