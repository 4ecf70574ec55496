"""The processes that train one network together: how they share data out, agree, and average gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(hours=12)
"""The longest that one waits for the others, such as for a batch that has to be read."""

Item = TypeVar("Item")


class Peers:
    """Of a network that this process trains alone."""

    rank, count = 0, 1

    def own(self, items: Iterable[Item]) -> Iterator[Item]:
        """Those of all items that are this process's share."""
        for number, item in enumerate(items):
            if number % self.count == self.rank:
                yield item

    def largest(self, value: float) -> float:
        """The largest that any of the processes has."""
        return value

    def averaging(self, model: nn.Module) -> nn.Module:
        """What to call in place of a model, so that gradients are the mean over all processes."""
        return model


class Group(Peers):
    """Of a network that several processes train; each makes one, at the same time."""

    def __init__(self, device: torch.device) -> None:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        self._device = device

    def largest(self, value: float) -> float:
        """As `Peers` says."""
        shared = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return float(shared)

    def averaging(self, model: nn.Module) -> nn.Module:
        """As `Peers` says. Buffers are those of rank 0; parameters that a pass doesn't use are left out of it."""
        wrapped: Any = DistributedDataParallel(model, find_unused_parameters=True)
        return wrapped
