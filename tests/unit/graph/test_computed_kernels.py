"""Convolutions by kernels that the forward pass computes, as one grouped call over a batch: the groups of the call are
images, and not groups of channels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cuts import check_cut, zeros_in
from tests.exactness import Reference
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

TWO = torch.randn(2, 3, 6, 6), torch.randn(2, 4)
THREE = torch.randn(3, 3, 5, 7), torch.randn(3, 4)


class Modulated(nn.Module):
    """A kernel is scaled for each image by its style (Karras et al. 2020, StyleGAN2), and may be brought back to unit
    length."""

    def __init__(self, normed: bool = False, transposed: bool = False) -> None:
        super().__init__()
        self.normed, self.transposed = normed, transposed
        self.a, self.style, self.out = conv(3, 16), nn.Linear(4, 16), conv(12, 3)
        self.weight = nn.Parameter(torch.randn(1, 12, 16, 3, 3) / 12)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.a(x)
        batch, width, *size = x.shape
        kernel = self.weight * self.style(style).view(batch, 1, width, 1, 1)
        if self.normed:
            kernel = kernel * torch.rsqrt(kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x, made = x.reshape(1, batch * width, *size), kernel.shape[1]
        if self.transposed:
            kernel = kernel.transpose(1, 2).reshape(batch * width, made, 3, 3)
            y = F.conv_transpose2d(x, kernel, padding=1, groups=batch)
        else:
            y = F.conv2d(x, kernel.view(-1, width, 3, 3), padding=1, groups=batch)
        return self.out(y.view(batch, made, *size))


class ModulatedGroups(nn.Module):
    """The same of a convolution that has two groups for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.style, self.out = conv(3, 16), nn.Linear(4, 12), conv(12, 3)
        self.weight = nn.Parameter(torch.randn(1, 12, 8, 3, 3) / 8)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.a(x)
        batch, width, *size = x.shape
        kernel = self.weight * self.style(style).view(batch, -1, 1, 1, 1)
        x = x.reshape(1, batch * width, *size)
        y = F.conv2d(x, kernel.view(-1, width // 2, 3, 3), padding=1, groups=2 * batch)
        return self.out(y.view(batch, -1, *size))


class Correlation(nn.Module):
    """The features of a template are the kernel that slides over those of an image (Bertinetto et al. 2016), channel by
    channel (Li et al. 2019) or over all of them."""

    def __init__(self, depthwise: bool) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.a, self.b, self.out = conv(3, 16, 3), conv(3, 16), conv(16 if depthwise else 1, 3)

    def forward(self, template: Tensor, image: Tensor) -> Tensor:
        kernel, x = self.a(template), self.b(image)
        batch, width, *size = x.shape
        x = x.reshape(1, batch * width, *size)
        if self.depthwise:
            y = F.conv2d(x, kernel.reshape(-1, 1, *kernel.shape[2:]), groups=batch * width)
        else:
            y = F.conv2d(x, kernel, groups=batch)
        return self.out(y.view(batch, -1, *y.shape[2:]))


class KernelsByALayer(nn.Module):
    """A linear layer puts out a kernel of nine for each channel of each image (Jia et al. 2016, dynamic filters)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.kernel, self.out = conv(3, 16), nn.Linear(4, 144), conv(16, 3)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.a(x)
        batch, width, *size = x.shape
        kernel = self.kernel(style).view(batch * width, 1, 3, 3)
        y = F.conv2d(x.reshape(1, batch * width, *size), kernel, padding=1, groups=batch * width)
        return self.out(y.view(batch, width, *size))


class MixedKernels(nn.Module):
    """Each image mixes four kernels in its own shares (Chen et al. 2020, dynamic convolution)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.share, self.out = conv(3, 16), nn.Linear(4, 4), conv(12, 3)
        self.weight = nn.Parameter(torch.randn(4, 12, 16, 3, 3) / 12)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.a(x)
        batch, width, *size = x.shape
        shares = torch.sigmoid(self.share(style)).view(batch, -1, 1, 1, 1, 1)
        kernel = (shares * self.weight).sum(1)
        made = kernel.shape[1]
        x = x.reshape(1, batch * width, *size)
        y = F.conv2d(x, kernel.view(-1, width, 3, 3), padding=1, groups=batch)
        return self.out(y.view(batch, made, *size))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("build", "after", "reference"),
    [
        (Modulated, {"a": 8, "style": 8, "weight": 6}, zeros_in("weight")),
        (lambda: Modulated(normed=True), {"a": 8, "style": 8, "weight": 6}, zeros_in("weight")),
        (lambda: Modulated(transposed=True), {"a": 8, "style": 8, "weight": 6}, zeros_in("weight")),
        (ModulatedGroups, {"a": 8, "style": 6, "weight": 6}, zeros_in("weight")),
        (KernelsByALayer, {"a": 8, "kernel": 72}, None),
        (MixedKernels, {"a": 8, "share": 2, "weight": 6}, zeros_in("weight", "share.weight", "share.bias")),
    ],
    ids=["modulated", "normed", "transposed", "groups", "by a layer", "mixed"],
)
def test_a_kernel_for_each_image(
    build: Callable[[], nn.Module], after: dict[str, int], reference: Reference | None, batch: int
) -> None:
    x, style = (tensor[:batch] for tensor in TWO)
    check_cut(build, (x, style), after, others=[THREE, TWO], reference=reference)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("depthwise", [True, False])
def test_features_that_are_the_kernel_of_others(depthwise: bool, batch: int) -> None:
    def inputs(batch: int, wide: int) -> Any:
        return torch.randn(batch, 3, 5, 5), torch.randn(batch, 3, 9, wide)

    def silenced(masked: Any, kept: Any) -> None:
        zeros_in("a.weight", "a.bias")(masked, {**kept, "a.bias/0": kept["a.weight/0"]})

    others = [inputs(3, 8), inputs(1, 11)]
    check_cut(lambda: Correlation(depthwise), inputs(batch, 9), {"a": 8, "b": 8}, others=others, reference=silenced)


class OwnGroups(nn.Module):
    """A grouped convolution of the network's own code, whose number of groups is a number in that code."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = conv(3, 16), conv(16, 3)
        self.weight, self.depthwise = nn.Parameter(torch.randn(16, 2, 3, 3)), nn.Parameter(torch.randn(16, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(self.a(x), self.weight, padding=1, groups=8)
        return self.out(F.conv2d(y, self.depthwise, padding=1, groups=y.shape[1]))


def test_groups_that_no_module_keeps_stay_as_many() -> None:
    result = check_cut(
        OwnGroups, TWO[0], {"a": 8, "weight": 8, "depthwise": 8}, others=[THREE[0]], reference=_silence_own_groups
    )
    assert result.model.weight.shape == (8, 1, 3, 3)
    assert [edit.attribute for edit in result.edits if not edit.module] == []


def _silence_own_groups(masked: Any, kept: Any) -> None:
    """Of each group of two one input stays, at the places that are kept of its columns."""
    columns = torch.zeros(8, 2).scatter(1, kept["weight/1"], 1)
    masked.weight.data *= columns.repeat_interleave(2, 0)[:, :, None, None]


class RowsOfKernels(nn.Module):
    """A template gives several kernels, each of which reads all channels of the searched image (Li et al. 2018,
    SiamRPN)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.kernels, self.out = conv(3, 12), conv(12, 12 * 5), conv(5, 3)

    def forward(self, template: Tensor, x: Tensor) -> Tensor:
        kernels, x = self.kernels(self.a(template)), self.a(x)
        batch, (height, width) = len(x), kernels.shape[2:]
        kernels = kernels.view(batch, 5, -1, height, width).reshape(batch * 5, -1, height, width)
        y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), kernels, groups=batch)
        return self.out(y.view(batch, 5, *y.shape[2:]))


def test_kernels_that_a_layer_puts_out_row_by_row() -> None:
    inputs = torch.randn(2, 3, 2, 3), torch.randn(2, 3, 7, 6)
    others = [(torch.randn(3, 3, 2, 2), torch.randn(3, 3, 5, 9))]
    reference = zeros_in("kernels.weight", "kernels.bias")
    check_cut(RowsOfKernels, inputs, {"a": 6, "kernels": 30}, others=others, reference=reference)
