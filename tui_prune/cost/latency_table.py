"""What calls and networks take on another device, measured there (`cost.on_target`) and read from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tui_prune import paths
from tui_prune.cost.cost import CostModel, SizedCall, Work
from tui_prune.cost.latency import LatencyModel
from tui_prune.cost.on_target import FORMAT, VERSION
from tui_prune.cost.stopwatch import Calls
from tui_prune.cost.whole import Share, WholeNetwork
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.files import read_json
from tui_prune.graph.graph import Graph

LEAST_KNOWN = 0.5
"""The share of a network's work that a table must know."""


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network that was cut evenly, or the uncut one (share 1)."""

    share: float
    """Of the channels that stay, about."""
    print: str
    """`fingerprint` of its work."""
    seconds: float


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Measurements of one network on one device."""

    path: Path
    network: str
    device: str
    """In words."""
    seconds: Mapping[str, float]
    """By `Calls.key`."""
    networks: tuple[MeasuredNetwork, ...]

    def model(self, graph: Graph, cuts: Mapping[float, np.ndarray]) -> LatencyModel:
        """What a graph's networks take on that device. `cuts` are the channels that stay in networks that were cut
        evenly, by their shares.

        Raises `UsageError` where the table is about another network or another input.
        """
        costs, watch = CostModel(graph), _Reader(graph.model, self.seconds)
        work = costs.work(np.ones(graph.classes.channels, bool))
        own = fingerprint(work)
        uncut = next((one for one in self.networks if one.share == 1 and one.print == own), None)
        model = LatencyModel(graph, watch, None if uncut is None else WholeNetwork(uncut.seconds))
        model.measure()
        if work.macs.sum() and model.known_share < LEAST_KNOWN:
            raise UsageError(
                f"{self.path.name} was measured for another network or input ({self.network}): measure this one, "
                "with tui-prune latency MODEL --export FILE."
            )
        model.find_multiple()
        for one in self.networks if uncut is not None else ():
            keep = cuts.get(one.share)
            if keep is not None and one.share < 1 and fingerprint(costs.work(keep)) == one.print:
                share = one.seconds / uncut.seconds if uncut is not None else 1.0
                model.learn(keep, Share(share, share, share))
        return model


class _Reader(Calls):
    """In place of a stopwatch."""

    def __init__(self, model: nn.Module, seconds: Mapping[str, float]) -> None:
        super().__init__(model)
        self._seconds = seconds

    def seconds(self, calls: Sequence[SizedCall]) -> list[float | None]:
        return [self._seconds.get(self.key(call)) for call in calls]


class Collector(Calls):
    """In place of a stopwatch: notes the calls that a model asks for, those that are compared together."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.groups: list[list[SizedCall]] = []

    def seconds(self, calls: Sequence[SizedCall]) -> list[float | None]:
        """As a stopwatch's; the numbers mean nothing."""
        self.groups.append(list(calls))
        return [1.0] * len(calls)


def fingerprint(work: Work) -> str:
    """What tells networks apart that do another amount of work."""
    return f"{work.macs.sum():.0f}/{work.outputs.sum():.0f}/{work.traffic:.0f}"


def read_table(path: str | Path) -> LatencyTable:
    """Read a table. Raises `UsageError` where there is none, `TuiPruneError` where it is something else."""
    file = paths.absolute(path)
    if not paths.is_file(file):
        raise UsageError(paths.not_a_file(file, path, "latency table"))
    return parse_table(read_json(file), Path(file))


def parse_table(content: Any, path: Path) -> LatencyTable:
    """The table in the content of a file. Raises `TuiPruneError` where it is something else."""
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise TuiPruneError(f"{path} is no latency table: tui-prune latency MODEL --export FILE makes those.")
    try:
        seconds = {str(key): _seconds(value) for key, value in content["seconds"].items()}
        networks = tuple(
            MeasuredNetwork(float(one["share"]), str(one["print"]), _seconds(one["seconds"]))
            for one in content["networks"]
        )
        return LatencyTable(path, str(content["network"]), str(content["device"]), seconds, networks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TuiPruneError(f"{path} is no whole latency table ({error!r}). Measure again.") from error


def _seconds(value: Any) -> float:
    found = float(value)
    if not 0 < found < math.inf:
        raise ValueError(value)
    return found
