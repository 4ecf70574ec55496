"""The multiple that widths should be of on a device, told from times at every width of a range.

A device works in steps (vector registers, tiles): a width between two steps takes as long as the next step. Drawn as a
line through the multiples of the right number, times in between then lie above it; for too small a number they lie on
it, for too large a one no higher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGEST = 32
"""Of the multiples that are tried: all powers of two up to this one."""

RANGES = ((2 * LARGEST, 3 * LARGEST), (LARGEST, 2 * LARGEST), (LARGEST // 2, LARGEST))
"""Widths that are swept: the first range that a group is wide enough for."""

CLEAR = 0.02
"""Widths between multiples must take so much more than the line says, as a share, for a multiple to count; beyond twice
what chance makes of it."""

NEAR = 0.8
"""The smallest multiple counts that explains at least this share of what the best one does."""


@dataclass(frozen=True)
class Sweep:
    """The widths of one group to run a call at."""

    call: int
    group: int
    widths: tuple[int, ...]
    """All from the first to the last."""
    weight: float = 1.0
    """How much it counts beside others."""

    @classmethod
    def over(cls, call: int, group: int, width: int, weight: float) -> "Sweep | None":
        """From one multiple of a power of two to the next; None: the group is too narrow to tell. Far below the width
        of a wide group, where a step is a larger share of the whole."""
        for first, last in RANGES:
            if width >= last:
                return cls(call, group, tuple(range(first, last + 1)), weight)
        return None


def best_multiple(curves: Sequence[tuple[Sweep, Sequence[float]]]) -> int:
    """The multiple (1: none) that suits the device best, from the seconds at each width of some sweeps."""
    excess, sure = {}, {}
    for multiple in (2**power for power in range(1, LARGEST.bit_length())):
        known = [(_excess(sweep.widths, seconds, multiple), sweep.weight) for sweep, seconds in curves]
        told = [(found, weight) for found, weight in known if found is not None]
        if told:
            total = sum(weight for _, weight in told)
            excess[multiple] = sum(mean * weight for (mean, _), weight in told) / total
            error = sum((deviation * weight) ** 2 for (_, deviation), weight in told) ** 0.5 / total
            sure[multiple] = excess[multiple] - 2 * error
    best = max(sure, key=lambda multiple: sure[multiple], default=1)
    if sure.get(best, 0.0) < CLEAR:
        return 1
    return next(multiple for multiple, found in excess.items() if found >= NEAR * excess[best])


def _excess(widths: Sequence[int], seconds: Sequence[float], multiple: int) -> tuple[float, float] | None:
    """How far times between multiples lie above the line through those at multiples, as a share: the mean and its
    standard error; None: too few."""
    width, time = np.array(widths), np.array(seconds)
    on = width % multiple == 0
    if on.sum() < 2 or on.all():
        return None
    between = ~on & (width > width[on][0]) & (width < width[on][-1])
    line = np.interp(width[between], width[on], time[on])
    found = time[between] / line - 1
    return (float(found.mean()), float(found.std() / len(found) ** 0.5)) if len(found) else None
