"""Second moments of what layers read on calibration data, and the errors that follow from them.

A layer that loses inputs can be refitted to the inputs that stay. The error that is left then is that of the best
linear prediction of the lost inputs from the kept ones, as the layer's weight reads it. It follows from the second
moments of what the uncut network's layers read, for any choice of channels, so no cut network has to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RIDGE = 1e-3
"""Added to the diagonal of second moments, in units of its mean: what little data says is not certain."""
STEPS = 32
"""An elimination takes this share of the channels at once before it looks at all of them again."""
CANDIDATES = 4
"""Times as many channels as are taken at once are looked at one by one."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What one layer reads, and what it makes of it."""

    weight: str
    """The parameter's name."""
    slots: np.ndarray
    """(parts, columns): the slot of each column. Columns of different parts (groups of a convolution) don't mix."""
    second: Tensor
    """(parts, columns, columns): mean product of two columns; about their means where a bias or a norm behind the layer
    takes these up."""
    read: Tensor
    """(parts, columns, columns): product of the weight's columns, summed over the layer's outputs; these counted by how
    much the network's outputs follow from them, where that is known."""
    power: float
    """Of which errors are shares: 1 where outputs are counted so; else the mean square of the layer's outputs, summed
    over them, about their means where a norm lies behind the layer."""
    of_outputs: bool = False
    """Whether errors are those of the network's outputs, and not of the layer's own."""

    def damped(self, part: int) -> Tensor:
        """The second moments of one part in float64, with a ridge so that they can be inverted."""
        second = self.second[part].double()
        ridge = RIDGE * float(second.diagonal().mean()) + torch.finfo(torch.float64).tiny
        return second + ridge * torch.eye(len(second), dtype=torch.float64)


def errors_by_level(moments: Moments, levels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The squared error of the outputs over their square, as more and more of a layer's inputs go.

    Args:
        moments: What the layer reads.
        levels: (parts, columns): the level from which on a column is gone; `count` for one that always stays.
        count: How many levels there are.

    Returns:
        The errors that refitting the layer leaves, and those of the plain cut, shape (count,) each.
    """
    left, cut = np.zeros(count), np.zeros(count)
    for part, own in enumerate(levels):
        columns = np.flatnonzero(own < count)
        if not len(columns):
            continue
        columns = columns[np.argsort(-own[columns], kind="stable")]  # the last to go first
        going = torch.from_numpy(columns)
        read = moments.read[part][going][:, going].double()
        second = moments.second[part][going][:, going].double()
        factor = _rest_factor(moments.damped(part), going)
        # With the kept columns first, column j of the factor is what j adds to the error once it is gone, too.
        added = ((read @ factor) * factor).sum(0)
        products = read * second
        plain = 2 * products.triu().sum(1) - products.diagonal()
        level = own[columns]
        np.add.at(left, level, added.numpy())
        np.add.at(cut, level, plain.numpy())
    left, cut = np.cumsum(left) / moments.power, np.cumsum(cut) / moments.power
    return np.maximum(np.minimum(left, cut), 0.0), np.maximum(cut, 0.0)


def _rest_factor(second: Tensor, going: Tensor) -> Tensor:
    """The Cholesky factor of what is left of the second moments of some columns when the others predict them."""
    if 4 * len(going) > len(second):
        stays = torch.ones(len(second), dtype=torch.bool)
        stays[going] = False
        order = torch.cat([stays.nonzero().flatten(), going])
        start = len(second) - len(going)
        return torch.linalg.cholesky(second[order][:, order])[start:, start:]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(second))
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(inverse[going][:, going])))


def elimination(readers: Sequence[tuple[Moments, np.ndarray]], stay: np.ndarray) -> np.ndarray:
    """Let channels go one after the other, at each step the one whose loss the others make up for best.

    All layers that read the channels count, each by the share of its own outputs.

    Args:
        readers: Layers, with the channel that each column is, shape (parts, columns); negative: none of these.
        stay: Bool, one per channel: it doesn't go.

    Returns:
        For each channel the error that is left once it and all that went before it are gone; of those that stay, more
        than of any other.
    """
    views = [_View.of(moments, part, own) for moments, by_part in readers for part, own in enumerate(by_part)]
    views = [view for view in views if len(view.channels)]
    found, free = np.zeros(len(stay)), ~stay
    error = least = 0.0
    while free.any():
        taken = max(1, int(free.sum()) // STEPS)
        near = np.flatnonzero(free)
        closer = views
        if taken > 1:
            near = near[np.argsort(_costs(views, len(stay))[near], kind="stable")][: CANDIDATES * taken]
            closer = [view.only(near) for view in views]
        going = np.zeros(len(stay), bool)
        for _ in range(taken):
            costs = _costs(closer, len(stay))
            open_ones = near[~going[near]]
            channel = int(open_ones[np.argmin(costs[open_ones])])
            error += max(0.0, float(costs[channel]))
            least = max(error, np.nextafter(least, np.inf))  # so that the order shows where nothing is lost
            found[channel], going[channel] = least, True
            for view in closer:
                view.drop(np.array([channel]))
        if closer is not views:
            for view in views:
                view.drop(np.flatnonzero(going))
        free &= ~going
    found[stay] = 2 * least + 1.0
    return found


def _costs(views: Sequence[_View], count: int) -> np.ndarray:
    found = np.zeros(count)
    for view in views:
        found[view.channels] += view.costs()
    return found


class _View:
    """What one part of a layer's inputs says of the channels that are still there."""

    def __init__(self, channels: np.ndarray, columns: Tensor, inverse: Tensor, read: Tensor) -> None:
        self.channels = channels
        """Ascending."""
        self._columns = columns
        """(channels, any): the columns of each; negative where it has fewer than others."""
        self._inverse, self._read = inverse, read
        """Of the second moments, and the product of the weights once they are refitted: (columns, columns)."""

    @classmethod
    def of(cls, moments: Moments, part: int, own: np.ndarray) -> _View:
        """Of the columns that `own` says a channel of; the others always stay."""
        mine = torch.from_numpy(np.flatnonzero(own >= 0))
        channels, columns = _by_channel(own[mine.numpy()])
        if not len(channels):
            return cls(channels, columns, torch.zeros(0, 0), torch.zeros(0, 0))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments.damped(part)))
        read = moments.read[part][mine][:, mine].double() / moments.power
        return cls(channels, columns, inverse[mine][:, mine].clone(), read)

    def only(self, channels: np.ndarray) -> _View:
        """The same of some channels alone."""
        rows = torch.from_numpy(np.flatnonzero(np.isin(self.channels, channels)))
        columns = self._columns[rows]
        there = columns >= 0
        mine = columns[there]
        renumbered = torch.full_like(columns, -1)
        renumbered[there] = torch.arange(len(mine))
        return _View(self.channels[rows.numpy()], renumbered, self._inverse[mine][:, mine], self._read[mine][:, mine])

    def costs(self) -> np.ndarray:
        """By how much the error grows when one more channel goes."""
        if self._columns.shape[1] == 1:
            columns = self._columns[:, 0]
            return (self._read[columns, columns] / self._inverse[columns, columns]).clamp(min=0).numpy()
        rows, across = self._columns[:, :, None], self._columns[:, None, :]
        there = (rows >= 0) & (across >= 0)
        inverse = torch.where(there, self._inverse[rows, across], torch.eye(rows.shape[1], dtype=torch.float64))
        read = torch.where(there, self._read[rows, across], 0.0)
        return torch.linalg.solve(inverse, read).diagonal(dim1=1, dim2=2).sum(1).clamp(min=0).numpy()

    def drop(self, channels: np.ndarray) -> None:
        """Let channels go: the weights of the others take up what they can."""
        gone = self._columns[torch.from_numpy(np.flatnonzero(np.isin(self.channels, channels)))]
        gone = gone[gone >= 0]
        if not len(gone):
            return
        taken = torch.linalg.solve(self._inverse[gone][:, gone], self._inverse[gone]).mT
        read = self._read[:, gone] @ taken.mT
        self._read = self._read - read - read.mT + taken @ self._read[gone][:, gone] @ taken.mT
        self._inverse = self._inverse - taken @ self._inverse[gone]
        self._inverse[gone, gone] = 1.0  # of no account, but nothing is divided by zero


def _by_channel(own: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """The channels that columns belong to, and the columns of each, filled up with -1."""
    order = np.argsort(own, kind="stable")
    channels, starts, counts = np.unique(own[order], return_index=True, return_counts=True)
    columns = np.full((len(channels), int(counts.max(initial=0))), -1)
    for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
        columns[row, :count] = order[start : start + count]
    return channels, torch.from_numpy(columns)
