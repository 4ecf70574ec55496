"""How much a share of right examples says: its interval, and whether two networks differ by more than chance."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95
_SPLIT_SEED = 0


class Half(Enum):
    """Of the examples, those that something is chosen by, and those that tell what was chosen."""

    CHOOSING = 0
    REPORTING = 1

    def of(self, count: int) -> np.ndarray:
        """Which of so many examples it is, ascending; always the same. A single example is in both."""
        order = np.random.default_rng(_SPLIT_SEED).permutation(count)
        return np.sort(order[self.value :: 2] if count > 1 else order)


class Score(float):
    """The share of the examples that a network gets right, and which ones these are.

    What a task's `evaluate` may return in place of a number, so that accuracies are told with their interval and
    compared example by example. It is a number like any other.
    """

    right: np.ndarray
    """Bool, one for each example, in the same order for each network."""

    def __new__(cls, right: Iterable[Any]) -> Score:
        """From one truth value for each example: a list, an array or a tensor."""
        values = right.cpu().numpy() if hasattr(right, "cpu") else right
        found = np.asarray(values if isinstance(values, np.ndarray) else list(values)).astype(bool).reshape(-1)
        if not len(found):
            raise ValueError("A Score needs one example at least.")
        made = super().__new__(cls, found.mean())
        made.right = found
        return made

    def half(self, half: Half) -> Score:
        """The score on one half of the examples."""
        return Score(self.right[half.of(len(self.right))])

    def __reduce__(self) -> tuple[type[Score], tuple[np.ndarray]]:
        return Score, (self.right,)


class Evidence(NamedTuple):
    """What stands behind an accuracy."""

    count: int  # type: ignore[assignment]  # nobody counts in this tuple
    """Examples."""
    right: int
    interval: tuple[float, float]
    """Where the share of right ones of all such examples lies with 95 % certainty (Wilson 1927)."""
    p: float | None = None
    """Of the uncut network's being right as often, by the examples on which only one of them is (McNemar 1947); None
    where there is nothing to compare with."""


def evidence(score: float | None, baseline: float | None = None) -> Evidence | None:
    """What stands behind a score, and behind its difference from another; None where examples aren't known."""
    if not isinstance(score, Score):
        return None
    count, right = len(score.right), int(score.right.sum())
    p = None
    if isinstance(baseline, Score) and baseline is not score and len(baseline.right) == count:
        p = mcnemar(baseline.right, score.right)
    return Evidence(count, right, wilson(right, count), p)


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """How likely so uneven a split is, of the examples that only one of two networks gets right, if they are equally
    good: the exact test of McNemar 1947. Never smaller than it should be, also for few examples."""
    from scipy.stats import binomtest

    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if not only_one + only_other:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)
