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
    """A layer's new weight and what is left of its error on held-out rows."""

    weight: Tensor
    """(groups, outputs of a group, columns of a group)."""
    shift: Tensor
    """(groups, outputs of a group): to be added to the bias."""
    plain: float
    """Squared error of the layer as it was cut over the square of what the original gave; with a norm behind it, over
    its variance."""
    left: float
    """The same of the new weight; never larger."""


def refit(weight: Tensor, samples: Samples, *, shifts: bool, centred: bool) -> Refit:
    """The best weight by the rows to fit, with the ridge that serves best on the rows held out; the plain cut is among
    the choices.

    `weight`: (groups, outputs of a group, columns of a group), as it was cut. `shifts`: a bias may take up a difference
    of the means. `centred`: a norm behind the layer takes it up, so that only differences from the mean count.
    """
    weight = weight.float()
    fit, held = slice(None, samples.fitted), slice(samples.fitted, None)
    rest = samples.wanted - samples.reads @ weight.mT
    reads = samples.reads
    wanted = samples.wanted[:, held]
    size = _square(wanted - wanted.mean(1, keepdim=True) if centred else wanted)
    alone = _square(rest[:, held] - rest[:, fit].mean(1, keepdim=True) if centred else rest[:, held])
    means = reads.new_zeros(len(reads), 1, reads.shape[2]), rest.new_zeros(len(rest), 1, rest.shape[2])
    if shifts or centred:
        means = reads[:, fit].mean(1, keepdim=True), rest[:, fit].mean(1, keepdim=True)
        reads, rest = reads - means[0], rest - means[1]

    errors, changes = [alone], [torch.zeros_like(weight, dtype=torch.float64)]
    for change in _solutions(reads[:, fit], rest[:, fit]):
        errors.append(_square(rest[:, held] - reads[:, held] @ change.mT.to(reads.dtype)))
        changes.append(change)
    tried = torch.stack(errors).nan_to_num(torch.inf)
    best = tried.argmin(0)
    change = torch.stack(changes)[best, torch.arange(len(best), device=best.device)]
    shift = means[1][:, 0].double() - (change @ means[0].double().mT)[:, :, 0]
    keeps = shifts and not centred
    shift = torch.where((best > 0)[:, None], shift, 0.0) if keeps else torch.zeros_like(shift)
    total = size.sum().clamp(min=1e-30)
    left = tried.gather(0, best[None])[0]
    return Refit(weight.double() + change, shift, float(alone.sum() / total), float(left.sum() / total))


def _solutions(reads: Tensor, rest: Tensor) -> list[Tensor]:
    """For each ridge the change of the weight (groups, outputs, columns), by the smaller of the two systems: that of
    the columns, or that of the rows. Sums are made in the numbers' own format, and solved in float64."""
    rows, columns = reads.shape[1:]
    by_rows = rows < columns
    system = ((reads @ reads.mT) if by_rows else (reads.mT @ reads)).double()
    right = rest.double() if by_rows else (reads.mT @ rest).double()
    scale = system.diagonal(dim1=1, dim2=2).sum(1) / columns
    found = []
    for ridge in RIDGES:
        damped = system.clone()
        damped.diagonal(dim1=1, dim2=2).add_((ridge * scale + torch.finfo(torch.float64).tiny)[:, None])
        factor, failed = torch.linalg.cholesky_ex(damped)
        solved = torch.cholesky_solve(right, factor)
        change = (reads.mT @ solved.to(reads.dtype)).double() if by_rows else solved
        found.append(torch.where((failed == 0)[:, None, None], change, torch.nan).mT)
    return found


def _square(rest: Tensor) -> Tensor:
    """Of each group."""
    return rest.square().sum((1, 2)).double()
