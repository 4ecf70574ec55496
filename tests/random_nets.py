"""Networks put together at random from convolutions, sums, joins, splits and shuffles: the same for the same seed."""

import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.small_nets import conv, shuffle

WIDEST = 96


class Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return shuffle(x, self.groups)


class Add(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Join(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)


class Interleave(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x, y], 2).flatten(1, 2)


class SwapHalves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, 1)
        return torch.cat([two.relu(), one], 1)


class MultiplyHalves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return x[:, :half] * x[:, half:]


class FirstHalf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.chunk(2, 1)[0]


class FixedFirstHalf(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.half = width // 2

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.half]


class AddThirds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        one, two, three = x.chunk(3, 1)
        return one + two * three


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]


class RandomNetwork(nn.Module):
    """Each step works on what one or two steps before it put out; `out` reads three of all."""

    def __init__(self, seed: int, length: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.steps, self.out = nn.ModuleList(), nn.Identity()
        self.operands: list[tuple[int, ...]] = []
        self.widths: list[int] = []
        self._put(conv(3, self._random.choice([12, 16, 24])), (), None)
        kinds = list(self._kinds())
        while len(self.steps) < length:
            self._random.choice(kinds)(self._random.randrange(len(self.widths)))
        self.read = tuple(self._random.sample(range(length), min(length, 3)))
        self.out = conv(sum(self.widths[step] for step in self.read), 5)
        del self._random

    def forward(self, x: Tensor) -> Tensor:
        values: list[Tensor] = []
        for step, operands in zip(self.steps, self.operands, strict=True):
            values.append(step(*(values[operand] for operand in operands)) if operands else step(x))
        return self.out(torch.cat([values[step] for step in self.read], 1))

    def _put(self, step: nn.Module, operands: tuple[int, ...], width: int | None) -> None:
        if width is not None and width > WIDEST:
            return
        self.steps.append(step)
        self.operands.append(operands)
        self.widths.append(step.out_channels if width is None else width)

    def _divisor(self, *widths: int) -> int:
        return self._random.choice([n for n in range(1, min(widths) + 1) if not any(width % n for width in widths)])

    def _kinds(self) -> Iterator[Callable[[int], None]]:
        yield from (self._convolution, self._convolution, self._grouped, self._depthwise, self._transposed)
        yield from (self._sum, self._sum, self._join, self._join, self._interleave)
        yield from (self._shuffle, self._norm, self._gate, self._split_in_two, self._split_in_three, self._again)

    def _convolution(self, at: int) -> None:
        kernel, after = self._random.choice([1, 3]), self._random.choice([8, 12, 16, 24, 32])
        self._put(conv(self.widths[at], after, kernel, padding="same"), (at,), after)

    def _grouped(self, at: int) -> None:
        groups = self._divisor(self.widths[at])
        after = groups * self._random.choice([1, 2, 3, 4])
        self._put(conv(self.widths[at], after, groups=groups), (at,), after)

    def _depthwise(self, at: int) -> None:
        width, times = self.widths[at], self._random.choice([1, 1, 2])
        self._put(conv(width, times * width, 3, padding=1, groups=width), (at,), times * width)

    def _transposed(self, at: int) -> None:
        groups = self._divisor(self.widths[at], 12)
        after = groups * self._random.choice([2, 3, 4])
        self._put(nn.ConvTranspose2d(self.widths[at], after, 1, groups=groups), (at,), after)

    def _sum(self, at: int) -> None:
        others = [step for step, width in enumerate(self.widths) if width == self.widths[at] and step != at]
        if others:
            self._put(Add(), (at, self._random.choice(others)), self.widths[at])

    def _join(self, at: int) -> None:
        other = self._random.randrange(len(self.widths))
        self._put(Join(), (at, other), self.widths[at] + self.widths[other])

    def _interleave(self, at: int) -> None:
        same = [step for step, width in enumerate(self.widths) if width == self.widths[at]]
        self._put(Interleave(), (at, self._random.choice(same)), 2 * self.widths[at])

    def _shuffle(self, at: int) -> None:
        self._put(Shuffle(self._divisor(self.widths[at])), (at,), self.widths[at])

    def _norm(self, at: int) -> None:
        width = self.widths[at]
        self._put(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU()), (at,), width)

    def _gate(self, at: int) -> None:
        self._put(Gate(self.widths[at]), (at,), self.widths[at])

    def _split_in_two(self, at: int) -> None:
        width = self.widths[at]
        if width % 2 or width < 4:
            return
        kind = self._random.choice([SwapHalves, MultiplyHalves, FirstHalf, nn.GLU, FixedFirstHalf])
        if kind is SwapHalves:
            self._put(SwapHalves(), (at,), width)
        else:
            step = nn.GLU(1) if kind is nn.GLU else kind(width) if kind is FixedFirstHalf else kind()
            self._put(step, (at,), width // 2)

    def _split_in_three(self, at: int) -> None:
        if self.widths[at] % 3 == 0 and self.widths[at] > 3:
            self._put(AddThirds(), (at,), self.widths[at] // 3)

    def _again(self, at: int) -> None:
        """A convolution of an earlier step once more, on another input."""
        fitting = [s for s in self.steps if isinstance(s, nn.Conv2d) and s.in_channels == self.widths[at]]
        if fitting:
            step = self._random.choice(fitting)
            self._put(step, (at,), step.out_channels)
