"""Counting values into bins, of a tensor where it lies, without a copy of it to the host."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

CENTRAL = 0.99
"""The share of the values that a histogram shows when it leaves the rest out."""
COUNTED = 1 << 24
"""Of more values than this only one in a few is counted; what a picture shows is the same."""
SAMPLED = 1 << 20
"""So many of the values say where the central ones end."""


@dataclass(frozen=True, eq=False)
class Bins:
    """A histogram: counts in equal steps from `low` to `high`, and what the values are like as a whole."""

    counts: np.ndarray
    low: float
    high: float
    total: int
    mean: float
    deviation: float
    zeros: int
    left_out: int
    """Values that are no finite numbers; they are in no other figure here, except `total`."""
    beyond: int = 0
    """Values below `low` or above `high`."""


def binned(values: Any, bins: int, *, central: bool = False) -> Bins:
    """Count the values of an array or a tensor; `central` leaves out the outermost percent of them."""
    if hasattr(values, "histc"):
        return _binned_tensor(values, bins, central)
    return _binned_array(np.asarray(values, dtype=np.float64).ravel(), bins, central)


def counted_like(values: Any, bins: Bins) -> np.ndarray:
    """The counts of some of the values of a tensor, between the limits that `bins` have for all of them."""
    values = values.detach().reshape(-1)
    values = values.abs() if values.dtype.is_complex else values.float()
    return values.histc(len(bins.counts), bins.low, bins.high).cpu().numpy()


def _binned_tensor(values: Any, bins: int, central: bool) -> Bins:
    values = values.detach().reshape(-1)
    total = values.numel()
    if not values.dtype.is_floating_point:
        values = values.abs() if values.dtype.is_complex else values.float()
    elif values.element_size() < 4:
        values = values.float()
    if total and not all(map(math.isfinite, _ends(values))):  # one pass, and no mask, where all are finite
        values = values[values.isfinite()]
    if not values.numel():
        return _binned_array(np.full(total, np.nan), bins, central)
    low, high = _ends(values)
    if central and (middle := _middle(values[:: _step(values.numel(), SAMPLED)].double().cpu().numpy())):
        low, high = middle
    low, high = _spread(low, high)
    step = _step(values.numel(), COUNTED)
    counts = step * values[::step].histc(bins, low, high).cpu().numpy()
    return Bins(
        counts,
        low,
        high,
        total,
        mean=float(values.mean()),
        deviation=float(values.std(correction=0)),
        zeros=values.numel() - int(values.count_nonzero()),
        left_out=total - values.numel(),
        beyond=max(0, values.numel() - int(counts.sum())) if central else 0,
    )


def _binned_array(values: np.ndarray, bins: int, central: bool) -> Bins:
    finite = values[np.isfinite(values)]
    left_out = len(values) - len(finite)
    if not len(finite):
        return Bins(np.zeros(bins), 0.0, 1.0, len(values), math.nan, math.nan, 0, left_out)
    low, high = float(finite.min()), float(finite.max())
    if central and (middle := _middle(finite)):
        low, high = middle
    low, high = _spread(low, high)
    counts, _ = np.histogram(finite, bins=bins, range=(low, high))
    return Bins(
        counts,
        low,
        high,
        len(values),
        mean=float(finite.mean()),
        deviation=float(finite.std()),
        zeros=int((finite == 0).sum()),
        left_out=left_out,
        beyond=len(finite) - int(counts.sum()),
    )


def _step(total: int, most: int) -> int:
    """Every how many values one is taken, to have no more than so many; not always the same places of a kernel."""
    step = -(-total // most)
    while step > 1 and math.gcd(step, total) > 1:
        step += 1
    return step


def _ends(values: Any) -> tuple[float, float]:
    low, high = values.aminmax()
    return float(low), float(high)


def _middle(values: np.ndarray) -> tuple[float, float] | None:
    """Where the central values begin and end; None where nearly all are the same."""
    edge = (1 - CENTRAL) / 2
    low, high = np.quantile(values, [edge, 1 - edge])
    return (float(low), float(high)) if high > low else None


def _spread(low: float, high: float) -> tuple[float, float]:
    """Limits that are apart, also when all values are the same."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = max(abs(low) * 0.5, 0.5)
    return low - margin, high + margin
