"""Network in Network (Lin, Chen, Yan, 2013, https://arxiv.org/abs/1312.4400), in eight published variants.

They take 32x32 images.
Modules are named as in the published printouts of these variants (`tnn_bin`, `FP_Conv2d`), so that
checkpoints with those keys load. Every factory takes the output widths of the convolutions, in their order; the
convolution that makes the classes isn't among them.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class FP_Conv2d(nn.Module):
    """Convolution, batch norm, ReLU.

    With `inner_channels` the convolution is two: a grouped one of that width and a 1x1 convolution that mixes its
    channels. `shuffle_groups` above 1 spreads the groups of the layer before over all groups of this one
    (ShuffleNet, Zhang et al., 2017, https://arxiv.org/abs/1707.01083). `relu_first` is for the layer that follows a
    batch norm without a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        groups: int = 1,
        inner_channels: int | None = None,
        shuffle_groups: int = 0,
        relu_first: bool = False,
    ) -> None:
        super().__init__()
        self.shuffle_groups = shuffle_groups
        self.relu_first = relu_first
        self.separable = inner_channels is not None
        padding = kernel_size // 2
        if inner_channels is None:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, groups=groups)
        else:
            self.conv1 = nn.Conv2d(in_channels, inner_channels, kernel_size, padding=padding, groups=groups)
            self.conv2 = nn.Conv2d(inner_channels, out_channels, kernel_size=1)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.relu_first:
            x = self.relu(x)
        if self.shuffle_groups > 1:
            x = channel_shuffle(x, self.shuffle_groups)
        x = self.conv2(self.conv1(x)) if self.separable else self.conv(x)
        return self.relu(self.bn(x))


class Net(nn.Module):
    """A 5x5 convolution, seven blocks with two poolings between them, and a 1x1 convolution to the classes."""

    def __init__(
        self, stem_width: int, blocks: Sequence[FP_Conv2d], pools: tuple[nn.Module, nn.Module], num_classes: int
    ) -> None:
        super().__init__()
        last_width = blocks[-1].bn.num_features
        self.tnn_bin = nn.Sequential(
            nn.Conv2d(3, stem_width, kernel_size=5, padding=2),
            nn.BatchNorm2d(stem_width),
            *blocks[:2],
            pools[0],
            *blocks[2:5],
            pools[1],
            *blocks[5:],
            nn.Conv2d(last_width, num_classes, kernel_size=1),
            nn.BatchNorm2d(num_classes),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(kernel_size=8, stride=1, padding=0),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.tnn_bin(x)
        return x.view(x.shape[0], -1)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out to all groups."""
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


NIN_WIDTHS = (192, 160, 96, 192, 192, 192, 192, 192)
PRUNED_HALF_WIDTHS = (47, 93, 47, 122, 116, 90, 105, 83)
PRUNED_HALF_ALIGNED_8_WIDTHS = (48, 96, 48, 120, 120, 88, 104, 80)
PLAIN_CONV_WIDTHS = (32, 64, 128, 256, 256, 256, 512, 1024)
GROUPED_WIDE_WIDTHS = (256, 256, 256, 512, 512, 512, 1024, 1024)
SEPARABLE_WIDTHS = (32, 64, 64, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512, 1024, 1024)
SEPARABLE_EXPANDED_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 256, 512, 256, 512, 512, 1024, 1024, 2048)


def nin(widths: Sequence[int] = NIN_WIDTHS, num_classes: int = 10) -> Net:
    """The network of the paper, with batch norm."""
    kernel_sizes = (1, 1, 5, 1, 1, 3, 1)
    blocks = [
        FP_Conv2d(before, after, kernel_size, relu_first=index == 0)
        for index, ((before, after), kernel_size) in enumerate(zip(pairwise(widths), kernel_sizes, strict=True))
    ]
    pools = (
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        nn.AvgPool2d(kernel_size=3, stride=2, padding=1),
    )
    return Net(widths[0], blocks, pools, num_classes)


def nin_pruned_half(widths: Sequence[int] = PRUNED_HALF_WIDTHS, num_classes: int = 10) -> Net:
    """`nin` after half of its channels were cut by their batch-norm scales."""
    return nin(widths, num_classes)


def nin_pruned_half_aligned_8(widths: Sequence[int] = PRUNED_HALF_ALIGNED_8_WIDTHS, num_classes: int = 10) -> Net:
    """`nin_pruned_half` with every width a multiple of 8."""
    return nin(widths, num_classes)


def nin_plain_conv(widths: Sequence[int] = PLAIN_CONV_WIDTHS, num_classes: int = 10) -> Net:
    """`nin` with the widths of the separable variants, to compare those with."""
    return nin(widths, num_classes)


def nin_grouped_wide(widths: Sequence[int] = GROUPED_WIDE_WIDTHS, num_classes: int = 10) -> Net:
    """Wider layers with grouped convolutions; the channels are shuffled from one grouped layer to the next."""
    kernel_sizes = (1, 1, 3, 1, 1, 3, 1)
    groups = (2, 2, 16, 4, 4, 32, 8)
    shuffle_groups = (0, *groups[:-1])
    blocks = [
        FP_Conv2d(
            before,
            after,
            kernel_sizes[index],
            groups=groups[index],
            shuffle_groups=shuffle_groups[index],
            relu_first=index == 0,
        )
        for index, (before, after) in enumerate(pairwise(widths))
    ]
    return Net(widths[0], blocks, _halving_pools(), num_classes)


def nin_grouped_same_width(widths: Sequence[int] = NIN_WIDTHS, num_classes: int = 10) -> Net:
    """`nin_grouped_wide` with the widths of `nin`."""
    return nin_grouped_wide(widths, num_classes)


def nin_separable(widths: Sequence[int] = SEPARABLE_WIDTHS, num_classes: int = 10) -> Net:
    """Depthwise separable blocks; `widths` has two numbers for each, the depthwise convolution's first."""
    return _separable(widths, (1, 1, 1, 1, 1, 1, 1), num_classes)


def nin_separable_expanded(widths: Sequence[int] = SEPARABLE_EXPANDED_WIDTHS, num_classes: int = 10) -> Net:
    """`nin_separable` with 1x1 convolutions twice as wide; all grouped convolutions but the first see pairs."""
    return _separable(widths, (1, 2, 2, 2, 2, 2, 2), num_classes)


def _separable(widths: Sequence[int], channels_per_group: Sequence[int], num_classes: int) -> Net:
    kernel_sizes = (1, 1, 3, 1, 1, 3, 1)
    blocks = [
        FP_Conv2d(
            before,
            after,
            kernel_sizes[index],
            groups=before // channels_per_group[index],
            inner_channels=inner,
            relu_first=index == 0,
        )
        for index, (before, inner, after) in enumerate(zip(widths[:-2:2], widths[1::2], widths[2::2], strict=True))
    ]
    return Net(widths[0], blocks, _halving_pools(), num_classes)


def _halving_pools() -> tuple[nn.Module, nn.Module]:
    return nn.MaxPool2d(kernel_size=2, stride=2), nn.MaxPool2d(kernel_size=2, stride=2)
