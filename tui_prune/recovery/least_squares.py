"""One layer refitted: the weight with which it makes of what arrives now what it made of what arrived before the cut.

Ridge regression on the layer's outputs (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks",
sec. 3.1), pulled towards the plain cut: what is fitted is the change of the weight that takes up what the cut loses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""In units of the mean square of what arrives."""
FIRST = 2
"""The one to try first."""
ROUNDING = 1e-12
"""Of the outputs' square: an error that is smaller is one of sums in float32, and no weight is changed for it."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What one layer reads, and what it is to give; rows that are held out come last."""

    reads: Tensor
    """(groups, rows, columns of a group), a column for each kernel position of each kept channel."""
    wanted: Tensor
    """(groups, rows, outputs of a group): what the original gave, without its bias."""
    fitted: int
    """Rows before those that are held out."""


@dataclass(frozen=True, eq=False)
class Refit:
    """How a layer's weight is to change, and what is left of its error on held-out rows then."""

    change: Tensor
    """(groups, outputs of a group, columns of a group): to be added to the weight; 0 where the plain cut is better."""
    shift: Tensor
    """(groups, outputs of a group): to be added to the bias."""
    plain: float
    """Squared error of the layer as it was cut over the square of what the original gave; with a norm behind it, over
    its variance."""
    left: float
    """The same of the new weight; never larger."""


def refit(weight: Tensor, samples: Samples, *, shifts: bool, centred: bool) -> Refit:
    """The best weight by the rows to fit, with the ridge that serves best on the rows held out; the plain cut is among
    the choices. Writes over what `samples` read.

    `weight`: (groups, outputs of a group, columns of a group), as it was cut. `shifts`: a bias may take up a difference
    of the means. `centred`: a norm behind the layer takes it up, so that only differences from the mean count.
    """
    weight = weight.float()
    fit, held = slice(None, samples.fitted), slice(samples.fitted, None)
    reads, rest = samples.reads, samples.wanted - samples.reads @ weight.mT
    wanted = samples.wanted[:, held]
    size = _square(wanted - wanted.mean(1, keepdim=True) if centred else wanted)
    alone = _square(rest[:, held] - rest[:, fit].mean(1, keepdim=True) if centred else rest[:, held])
    means = reads.new_zeros(len(reads), 1, reads.shape[2]), rest.new_zeros(len(rest), 1, rest.shape[2])
    if shifts or centred:
        means = reads[:, fit].mean(1, keepdim=True), rest[:, fit].mean(1, keepdim=True)
        reads.sub_(means[0])
        rest.sub_(means[1])

    system = _System(reads[:, fit], rest[:, fit])
    left, change = torch.full_like(alone, torch.inf), torch.zeros_like(weight)  # the best so far, of each group

    def is_better(ridge: float) -> Tensor:
        found = system.solved(ridge)
        error = _square(rest[:, held] - reads[:, held] @ found.mT).nan_to_num(torch.inf)
        better = error < left
        left[better], change[better] = error[better], found[better]
        return better

    # Over the ridges the error has one valley: walk down it, in one direction or the other.
    is_better(RIDGES[FIRST])
    falls = torch.zeros_like(left, dtype=torch.bool)
    for ridges in (RIDGES[:FIRST][::-1], RIDGES[FIRST + 1 :]):
        for ridge in ridges:
            better = is_better(ridge)
            if not bool(better.any()):
                break
            falls |= better
        if bool(falls.all()):
            break

    brings = (left < alone) & (alone > ROUNDING * size)
    change[~brings] = 0.0
    shift = means[1][:, 0] - (change @ means[0].mT)[:, :, 0]
    shift = torch.where(brings[:, None], shift, 0.0) if shifts and not centred else torch.zeros_like(shift)
    total = size.sum().clamp(min=1e-30)
    return Refit(change, shift, float(alone.sum() / total), float(torch.minimum(left, alone).sum() / total))


class _System:
    """The normal equations of a change of the weight, to be solved with several ridges: those of the columns, or those
    of the rows, whichever are fewer. Sums are made in the numbers' own format, and solved in float64."""

    def __init__(self, reads: Tensor, rest: Tensor) -> None:
        rows, columns = reads.shape[1:]
        self._reads = reads if rows < columns else None
        """Where the equations are those of the rows."""
        self._products = reads @ reads.mT if rows < columns else reads.mT @ reads
        self._right = (rest if rows < columns else reads.mT @ rest).double()
        self._scale = self._products.diagonal(dim1=1, dim2=2).double().sum(1) / columns

    def solved(self, ridge: float) -> Tensor:
        """(groups, outputs, columns); NaN for a group that can't be solved."""
        damped = self._products.double()
        damped.diagonal(dim1=1, dim2=2).add_((ridge * self._scale + torch.finfo(torch.float64).tiny)[:, None])
        failed = torch.empty(len(damped), dtype=torch.int32, device=damped.device)
        torch.linalg.cholesky_ex(damped, out=(damped, failed))  # in place: these are the largest matrices
        found = torch.cholesky_solve(self._right, damped)
        del damped
        if self._reads is not None:
            found = self._reads.mT @ found.to(self._reads.dtype)
        found = found.to(self._products.dtype)
        return torch.where((failed == 0)[:, None, None], found, torch.nan).mT


def _square(rest: Tensor) -> Tensor:
    """Of each group."""
    return rest.square().sum((1, 2)).double()
