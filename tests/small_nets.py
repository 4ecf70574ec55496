"""Tiny networks, one idea each, for the tests of the engine: what must be cut exactly, and what must be locked.

Layers are called `a`, `b`, ... in the order of execution; `out` puts out the model's output.
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGES = (2, 3, 8, 8)
ROWS = (2, 5, 6)
"""Batch, tokens, features."""


def conv(in_width: int, out_width: int, kernel: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, kernel, **settings)


class Ends(nn.Module):
    """A first convolution `a` (3 to `width`), whatever `between` does, and a last convolution `out` (`last` to 8)."""

    def __init__(self, width: int = 16, last: int | None = None) -> None:
        super().__init__()
        self.a = conv(3, width)
        self.out = conv(width if last is None else last, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.between(self.a(x)))

    def between(self, y: Tensor) -> Tensor:
        raise NotImplementedError


# Grouped convolutions.


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out to all groups."""
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


class GroupedChain(nn.Module):
    """Grouped convolutions (in, out, groups) one after the other, each after a channel shuffle if it is above 1."""

    def __init__(self, layers: Sequence[tuple[int, int, int]], shuffles: Sequence[int]) -> None:
        super().__init__()
        self.shuffles = tuple(shuffles)
        self.a = conv(3, layers[0][0])
        self.convs = nn.ModuleList(conv(before, after, groups=groups) for before, after, groups in layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _, after, _ in layers)
        self.out = conv(layers[-1][1], 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        for layer, norm, groups in zip(self.convs, self.norms, self.shuffles, strict=True):
            if groups > 1:
                x = shuffle(x, groups)
            x = F.relu(norm(layer(x)))
        return self.out(x)


class ShuffleOnly(Ends):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def between(self, y: Tensor) -> Tensor:
        return shuffle(y, self.groups)


# Branches that meet.


class Residual(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.b = conv(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.norm(self.b(F.relu(y))) + y)


class RepeatedResidual(Residual):
    """The same block three times."""

    def between(self, y: Tensor) -> Tensor:
        for _ in range(3):
            y = super().between(y)
        return y


class TwoBranches(nn.Module):
    """Two convolutions of the same input whose outputs meet in an operator that takes two tensors."""

    def __init__(self, meet: Any, width: int = 16, last: int = 16) -> None:
        super().__init__()
        self.meet = meet
        self.a, self.b = conv(3, width), conv(3, width)
        self.out = conv(last, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.meet(self.a(x), self.b(x)))


class DenseBlock(nn.Module):
    """Each layer sees what all layers before it put out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 8), conv(24, 8)
        self.norm = nn.BatchNorm2d(32)
        self.out = conv(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        one = self.a(x)
        two = self.b(one)
        three = self.c(torch.cat([one, two], 1))
        return self.out(self.norm(torch.cat([one, two, three], 1)))


class Twice(Ends):
    def __init__(self) -> None:
        super().__init__(16, 32)

    def between(self, y: Tensor) -> Tensor:
        return torch.cat([y, y], 1)


class JoinedWithInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = conv(3, 16), conv(19, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.a(x), x], 1))


class JoinedThenAdded(nn.Module):
    """Two layers side by side, added to a third: as in ghost modules with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = conv(3, 16), conv(3, 16), conv(3, 32), conv(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.a(x), self.b(x)], 1) + self.c(x))


class Halves(Ends):
    """The halves of a layer's channels, by `chunk`, multiplied."""

    def __init__(self) -> None:
        super().__init__(32, 16)

    def between(self, y: Tensor) -> Tensor:
        one, two = y.chunk(2, 1)
        return one * two


class OneHalfGoesThrough(Ends):
    """As in CSP and shuffle nets: half of the channels takes a way of its own."""

    def __init__(self) -> None:
        super().__init__(32)
        self.b = conv(16, 16)

    def between(self, y: Tensor) -> Tensor:
        one, two = y.chunk(2, 1)
        return torch.cat([one, self.b(two)], 1)


class HalvesBySize(Ends):
    """Slices at half of the width that there is."""

    def __init__(self) -> None:
        super().__init__(32, 16)

    def between(self, y: Tensor) -> Tensor:
        half = y.shape[1] // 2
        return y[:, :half] * y[:, half:]


class HalvesWritten(Ends):
    """The halves change places, written into a new tensor of the size that there is."""

    def between(self, y: Tensor) -> Tensor:
        swapped, half = torch.empty_like(y), y.shape[1] // 2
        swapped[:, :half] = y[:, half:]
        swapped[:, half:] = y[:, :half]
        return swapped


class HalvesInPlace(Ends):
    """Views of the halves are changed in place."""

    def between(self, y: Tensor) -> Tensor:
        one, two = y.chunk(2, 1)
        one.relu_()
        two.mul_(2)
        return y


class ThirdsAndGroups(nn.Module):
    """The thirds of `a` are added up; a grouped convolution reads the same channels. Its groups cross the thirds."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.a, self.b = conv(3, width), conv(width, width, groups=groups)
        self.out = conv(width // 3 + width, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        one, two, three = y.chunk(3, 1)
        return self.out(torch.cat([one + two + three, self.b(y)], 1))


class HalfInTwoGroupings(nn.Module):
    """The first twelve of 24 channels go through convolutions of four and of six groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = conv(3, 24), conv(12, 8, groups=4), conv(12, 18, groups=6), conv(26, 8)

    def forward(self, x: Tensor) -> Tensor:
        half = self.a(x)[:, :12]
        return self.out(torch.cat([self.b(half), self.c(half)], 1))


class SqueezeExcitation(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(16, 4), nn.Linear(4, 16)

    def between(self, y: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3))))))
        return y * gate[:, :, None, None]


class SharedLayer(Ends):
    """`b` runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.b = conv(16, 16, 3, padding=1)

    def between(self, y: Tensor) -> Tensor:
        return self.b(F.relu(self.b(y)))


class TiedLayers(Ends):
    """Two modules, one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.b, self.c = conv(16, 16, 3, padding=1, bias=False), conv(16, 16, 3, padding=1, bias=False)
        self.c.weight = self.b.weight

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.c(F.relu(self.b(F.relu(y)))))


class TiedSiblings(nn.Module):
    """Two modules with one weight, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(3, 16), conv(32, 8)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.a(x), self.b(x + 1)], 1))


class TiedEmbedding(nn.Module):
    """The table that words are looked up in is also the output layer's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Embedding(20, 16)
        self.b = nn.Linear(16, 16)
        self.out = nn.Linear(16, 20, bias=False)
        self.out.weight = self.a.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.out(F.relu(self.b(self.a(words))))


# One tensor function between two convolutions.


class Between(Ends):
    """`function` of what `a` puts out."""

    def __init__(self, function: Any, width: int = 16, last: int | None = None) -> None:
        super().__init__(width, last)
        self.function = function

    def between(self, y: Tensor) -> Tensor:
        return self.function(y)


class LearnedScale(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(16) + 0.5)

    def between(self, y: Tensor) -> Tensor:
        return y * self.scale[:, None, None]


class BufferScale(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(1, 16, 1, 1) + 0.5)

    def between(self, y: Tensor) -> Tensor:
        return y * self.scale


class LayerScale(Ends):
    """A branch that starts next to nothing, as in convnext."""

    def __init__(self) -> None:
        super().__init__()
        self.b = conv(16, 16)
        self.gamma = nn.Parameter(torch.full((16, 1, 1), 1e-6))

    def between(self, y: Tensor) -> Tensor:
        return y + self.gamma * self.b(y)


class ToLinear(nn.Module):
    """Nine positions of each channel become nine columns of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = conv(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.b, self.out = nn.Linear(144, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(F.relu(self.norm(self.a(x))), 3)
        return self.out(F.relu(self.b(torch.flatten(y, 1))))


class Patches(nn.Module):
    """Patches of each channel become columns of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = conv(3, 16), nn.Linear(144, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.unfold(self.a(x), 3).transpose(1, 2))


class Mixed(nn.Module):
    """Channels mixed by a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = conv(3, 16), conv(12, 8)
        self.weight = nn.Parameter(torch.randn(16, 12) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.einsum("bchw,cd->bdhw", self.a(x), self.weight))


class OwnParameters(nn.Module):
    """Linear layers whose weights are parameters of the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.randn(16, 6))
        self.two = nn.Parameter(torch.randn(8, 16))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.one)), self.two)


# Statistics over channels. A masked reference counts only the channels that stay: it sets `counted`.


class OverChannels(Ends):
    """A function that looks at all channels of a position at once."""

    counted: Tensor | None = None

    def between(self, y: Tensor) -> Tensor:
        if self.counted is None:
            return self.function(y)
        return torch.zeros_like(y).index_copy(1, self.counted, self.function(y.index_select(1, self.counted)))

    def function(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class GateByMean(OverChannels):
    def function(self, y: Tensor) -> Tensor:
        return y * torch.sigmoid(y.mean(1, keepdim=True) + y.amax(1, keepdim=True))


class SoftmaxOverChannels(OverChannels):
    def function(self, y: Tensor) -> Tensor:
        return y.softmax(1)


class UnitLength(OverChannels):
    def function(self, y: Tensor) -> Tensor:
        return F.normalize(y, dim=1)


class OverVariance(OverChannels):
    def function(self, y: Tensor) -> Tensor:
        return y / (y.var(1, keepdim=True) + 1)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019, https://arxiv.org/abs/1903.10520)."""

    counted: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        counted = self.weight if self.counted is None else self.weight.index_select(1, self.counted)
        mean = counted.mean((1, 2, 3), keepdim=True)
        deviation = counted.std((1, 2, 3), keepdim=True) + 1e-5
        weight = (counted - mean) / deviation
        if self.counted is not None:
            weight = torch.zeros_like(self.weight).index_copy(1, self.counted, weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class MeanIsPutOut(Ends):
    """One output is the mean over all channels."""

    counted: Tensor | None = None

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.a(x)
        seen = y if self.counted is None else y.index_select(1, self.counted)
        return {"classes": self.out(y), "more": [seen.mean()]}


# Computed weights.


class TwoKernels(Ends):
    """One convolution by the sum of two kernels, as in repvgg."""

    def __init__(self) -> None:
        super().__init__()
        self.b, self.c = conv(16, 16, 3), conv(16, 16)

    def between(self, y: Tensor) -> Tensor:
        weight = self.b.weight + F.pad(self.c.weight, [1, 1, 1, 1])
        return F.relu(F.conv2d(y, weight, self.b.bias + self.c.bias, padding=1))


class FixedHoles(nn.Module):
    """A parametrization: single weights are always zero."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mask", (torch.rand(*shape) > 0.3).float())

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


# Tokens.


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """A learned token before the others, learned positions, then two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.first = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 6, 16))
        self.b, self.out = nn.Linear(16, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.first.expand(len(x), -1, -1), self.a(x)], 1) + self.positions
        return self.out(F.relu(self.b(y)))


class Attention(nn.Module):
    """Four heads of four, written out; the size of a head follows from what there is, the scale is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(6, 16)
        self.out = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(layer(x)) for layer in (self.q, self.k, self.v))
        weights = (0.5 * q @ k.transpose(-1, -2)).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))

    def heads(self, y: Tensor) -> Tensor:
        return y.view(*y.shape[:2], 4, -1).transpose(1, 2)


class FusedAttention(Attention):
    """The same in one operator, whose scale is one over the root of the size of a head."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(layer(x)) for layer in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TorchAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.attention = nn.Linear(6, 16), nn.MultiheadAttention(16, 4, batch_first=True)
        self.b, self.out = nn.Linear(16, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(F.relu(self.b(self.attention(y, y, y)[0])))


class Recurrent(nn.Module):
    """What comes before and after a recurrent layer; `b` can be cut."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.cells = kind(16, 12, batch_first=True)
        self.b, self.out = nn.Linear(12, 20), nn.Linear(20, 8)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cells(self.a(x))
        return self.out(F.relu(self.b(y)))


# What goes in and what comes out.


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(4, 16), conv(16, 8)

    def forward(self, image: Tensor, depth: Tensor) -> Tensor:
        return self.out(self.a(image) + self.b(depth))


class KeywordInputs(TwoInputs):
    def forward(self, image: Tensor, *, depth: Tensor, more: Mapping[str, Tensor] | None = None) -> Tensor:
        y = self.a(image) + self.b(depth)
        return self.out(y if more is None else y * more["gain"])


@dataclass
class Prediction:
    classes: Tensor
    features: Tensor


Pair = namedtuple("Pair", "classes features")


class Outputs(nn.Module):
    """`out` and the features of `b` both leave the model, in whatever `pack` makes of them."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.pack = pack
        self.a, self.b, self.out = conv(3, 16), conv(16, 12), conv(12, 8)

    def forward(self, x: Tensor) -> Any:
        features = self.b(F.relu(self.a(x)))
        return self.pack(self.out(F.relu(features)), features)


class NeverUsed(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.never = conv(16, 16)

    def between(self, y: Tensor) -> Tensor:
        return y


class AuxiliaryHead(nn.Module):
    """A second classifier that runs in train mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.out = conv(3, 16), nn.BatchNorm2d(16), conv(16, 8)
        self.auxiliary = nn.Sequential(conv(16, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 8))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        y = F.relu(self.norm(self.a(x)))
        return (self.out(y), self.auxiliary(y)) if self.training else self.out(y)


# What the code of a model fixes, or the engine has no rule for.


class FixedView(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.out = conv(16, 16), nn.Linear(1024, 8)

    def between(self, y: Tensor) -> Tensor:
        y = F.relu(self.b(F.relu(y)))
        return y.view(-1, 16 * 64)


class FixedSplit(Ends):
    def __init__(self) -> None:
        super().__init__(16, 8)

    def between(self, y: Tensor) -> Tensor:
        one, two = y.split(8, 1)
        return one * two


class FixedSlice(Ends):
    def __init__(self) -> None:
        super().__init__(16, 8)

    def between(self, y: Tensor) -> Tensor:
        return y[:, :8] * y[:, 8:]


class FixedHalvesWritten(Ends):
    def between(self, y: Tensor) -> Tensor:
        swapped = torch.empty(len(y), 16, 8, 8)
        swapped[:, :8] = y[:, 8:]
        swapped[:, 8:] = y[:, :8]
        return swapped


class FixedHeads(Ends):
    """Four heads of four channels, both numbers written down."""

    def between(self, y: Tensor) -> Tensor:
        return y.view(-1, 4, 4, 64).softmax(-1).view(-1, 16, 8, 8)


class FixedOrder(Ends):
    """Channels change places by a list of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(16))

    def between(self, y: Tensor) -> Tensor:
        return y[:, self.order]


class UnevenSplit(Ends):
    def __init__(self) -> None:
        super().__init__(32)

    def between(self, y: Tensor) -> Tensor:
        one, two = y.split([9, 23], 1)
        return torch.cat([two, one], 1)


class FixedPart(Ends):
    def __init__(self) -> None:
        super().__init__(16, 11)

    def between(self, y: Tensor) -> Tensor:
        return y[:, 3:14]


class PickedChannel(Ends):
    def between(self, y: Tensor) -> Tensor:
        return y * y[:, 3].sigmoid().unsqueeze(1)


class AddedConstant(Ends):
    """`a` meets a constant; `b` doesn't."""

    def __init__(self) -> None:
        super().__init__()
        self.b = conv(16, 16)

    def between(self, y: Tensor) -> Tensor:
        return self.b(y + torch.linspace(0, 1, 16).view(1, 16, 1, 1))


class PlainTensor(Ends):
    """A tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(1, 16, 1, 1)

    def between(self, y: Tensor) -> Tensor:
        return y * self.scale


class PaddedShortcut(nn.Module):
    """The shortcut of the first resnets: eight channels of zeros on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(16, 32), conv(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(F.pad(y, (0, 0, 0, 0, 8, 8)) + self.b(y))


class ZerosJoined(nn.Module):
    """The same by joining with sixteen channels of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(16, 32), conv(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        zeros = torch.zeros(len(y), 16, *y.shape[2:])
        return self.out(torch.cat([y, zeros], 1) + self.b(y))


class AsManyZerosJoined(ZerosJoined):
    """As many channels of zeros as there are others."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(torch.cat([y, torch.zeros_like(y)], 1) + self.b(y))


class AddedToInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 3), conv(3, 16), conv(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.b(self.a(x) + x)))


class Ranked(Ends):
    def between(self, y: Tensor) -> Tensor:
        return y + y.argmax(1, keepdim=True)


class Frequencies(Ends):
    """Frequencies along the channels."""

    def between(self, y: Tensor) -> Tensor:
        return torch.fft.fft(y, dim=1).abs()


class LocalResponse(Ends):
    """Each channel is divided by what its neighbours are."""

    def between(self, y: Tensor) -> Tensor:
        return F.local_response_norm(y, 3)


class MadeKernel(nn.Module):
    """A layer puts out the kernel of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.kernel, self.out = conv(3, 16), nn.Linear(3, 192), conv(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel(x.mean((0, 2, 3))).view(12, 16, 1, 1)
        return self.out(F.conv2d(self.a(x), kernel))
