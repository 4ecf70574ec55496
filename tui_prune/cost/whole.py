"""What a network takes as a whole, beside what its calls take by themselves: a cut network that was measured corrects
what is predicted of others."""

from collections.abc import Sequence
from math import sqrt
from statistics import median
from typing import NamedTuple

import numpy as np

CERTAIN = 1.96
"""Standard deviations within which 95 % of a normal distribution lie."""


class WholeNetwork:
    """A network on a device: its latency, and what is known of its cuts."""

    def __init__(self, latency: float) -> None:
        """`latency`: of the network as it is, in seconds."""
        self.latency = latency
        self.checked = False
        """Whether a cut of it has been measured."""
        self._known: dict[float, float] = {}
        """By the share of the latency that was predicted of a cut network, the share that it takes."""

    def share(self, predicted: float) -> float:
        """What is left of the latency where this share was predicted from the calls alone.

        It never falls with `predicted`. Below the smallest network that is known it goes on as if what was missed there
        were the same at any width, as the cost of starting operators is.
        """
        if not self._known:
            return predicted
        shares, known = zip(*sorted(self._known.items()), strict=True)
        constant = max(0.0, 1 - (1 - known[0]) / (1 - shares[0]))
        return float(np.interp(predicted, [0.0, *shares, 1.0], np.maximum.accumulate([constant, *known, 1.0])))

    def learn(self, predicted: float, measured: "Share") -> bool:
        """Take into account what a cut network was measured to take, of which this share was predicted from the calls
        alone. What the noise explains corrects nothing; gives whether that was so. Beyond it only so much is corrected
        as is certain: on a busy machine the median itself may be far off, and would cut far too much.
        """
        self.checked = True
        said = self.share(predicted)
        certain = min(max(said, measured.least), measured.most)
        if certain == said or predicted >= 1:
            return True
        self._known[predicted] = min(certain, 1.0)
        return False


class Share(NamedTuple):
    """A share that was measured several times."""

    median: float
    least: float
    """The median lies between this and `most` with 95 % certainty."""
    most: float


def share_of(before: Sequence[float], after: Sequence[float]) -> Share:
    """The share of `after` in `before`, by passes that were made in turn, with the sign test's interval, which asks
    nothing of how the noise is distributed."""
    shares = sorted(late / early for early, late in zip(before, after, strict=True))
    lowest = max(0, int((len(shares) - CERTAIN * sqrt(len(shares))) / 2))
    return Share(median(shares), shares[lowest], shares[-1 - lowest])
