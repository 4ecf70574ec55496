"""The channel graph: groups, blocks and locks of a traced model. It holds no weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from tui_prune.graph.classes import Classes
from tui_prune.graph.findings import Findings, Flow
from tui_prune.graph.record import Axis, Lock, TraceRecord
from tui_prune.graph.units import Units

if TYPE_CHECKING:
    from tui_prune.graph.branches import Branch

UNREACHED = "the forward pass doesn't use it"

Role = Literal["producer", "follower", "consumer"]


@dataclass(frozen=True)
class Member:
    """A layer that stands and falls with a group's channels, and why."""

    layer: str
    kind: str
    role: Role
    why: str


@dataclass(frozen=True)
class LayerLock:
    """A lock and the layer that a user would look for it at."""

    layer: str
    reason: str
    where: str | None
    is_output: bool = False
    """Whether it stays only because it leaves the model."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the lists of `inspect --json` and `prune --json`."""
        return {"layer": self.layer, "reason": self.reason, "where": self.where}


@dataclass(frozen=True)
class LayerBlocks:
    """That equally many channels of a layer must stay in each cell."""

    layer: str
    why: tuple[str, ...]
    cells: tuple[int, ...]
    """How many cells each family of cells has."""


@dataclass(frozen=True, eq=False)
class Group:
    """The channels that one producer, or several tied ones, put out: what a user gives a ratio to."""

    index: int
    name: str
    """The layer that puts these channels out first."""
    layers: tuple[str, ...]
    """All layers that put them out, in the order of execution."""
    own_layers: tuple[str, ...]
    """Those of `layers` that don't only pass channels on, as a depthwise convolution does."""
    width: int
    """Output channels of the first layer, uncut."""
    channels: np.ndarray
    """Numbers of the group's channels in the graph."""
    families: tuple[tuple[np.ndarray, ...], ...]
    """Positions in `channels`: the cells of one family must keep equally many channels each."""
    locked: np.ndarray
    """For each channel, whether a lock holds it."""
    locked_inside: np.ndarray
    """For each channel, whether a lock other than "model output" holds it."""
    locks: tuple[Lock, ...]
    blocks: tuple[str, ...]
    """Why its channels fall into cells: "grouped convolution", "is split into equal parts" ..."""
    linked: bool
    """Whether all its cells must keep the same share: attention works at its input's width."""
    heads: bool
    """Whether its channels are whole attention heads."""
    residual: bool
    """Whether its channels are the sum of several layers' outputs."""
    members: tuple[Member, ...]
    shares: tuple[np.ndarray, ...]
    """Positions in `channels` that one producer puts out, where that isn't all of them; each keeps at least one."""
    flows: tuple[Flow, ...]
    """The widths that the group can have, where its cells aren't even; empty for all other groups."""
    producer_widths: tuple[int, ...]
    """Outputs of each producer, uncut."""
    slots_per_channel: tuple[tuple[int, int], ...]
    """For each producer: (outputs that one channel stands for, cells of a family that the producer's outputs fill)."""

    def __repr__(self) -> str:
        """One line, without the numbers of its channels."""
        held = f", locked: {', '.join(dict.fromkeys(lock.words for lock in self.locks))}" if self.locks else ""
        return f"Group({', '.join(self.layers)}: {len(self.channels)} channels{held})"

    @property
    def followers(self) -> tuple[str, ...]:
        """The layers that take these channels along, as a norm does."""
        return tuple(member.layer for member in self.members if member.role == "follower")

    @property
    def fully_locked(self) -> bool:
        return bool(self.locked.all())

    @property
    def liftable(self) -> bool:
        """Whether the user may lift its locks: all say "model output"."""
        return bool(self.locked.any()) and not self.locked_inside.any()

    @property
    def cells(self) -> tuple[np.ndarray, ...]:
        """The cells of all families; a single one where there are no blocks."""
        return tuple(cell for cells in self.families for cell in cells)

    @property
    def blocked(self) -> bool:
        return any(len(cells) > 1 for cells in self.families)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "layers": list(self.layers),
            "width": self.width,
            "channels": len(self.channels),
            "blocks": [{"why": list(self.blocks), "cells": [len(cells) for cells in self.families]}]
            if self.blocked
            else [],
            "locked_channels": int(self.locked.sum()),
            "locks": [{"reason": lock.words, "where": lock.where} for lock in self.locks],
            "residual": self.residual,
            "members": [{"layer": m.layer, "kind": m.kind, "role": m.role, "why": m.why} for m in self.members],
        }


@dataclass(frozen=True, eq=False)
class Layer:
    """A module with weights that the forward pass used, in order of execution."""

    name: str
    kind: str
    group: int | None
    width: int
    in_width: int
    producer: bool
    """Whether it puts out channels of its own (a convolution, a linear layer), unlike a norm."""
    outputs: np.ndarray = field(repr=False)
    """The channel of each output; empty if its outputs carry none."""
    inputs: np.ndarray = field(repr=False)
    same_as: str | None = None
    """The layer whose weight it shares: there the weight's parameters are counted."""


@dataclass(frozen=True, eq=False)
class GoneLayer:
    """A layer of a residual branch that has gone, and what it cost."""

    layer: Layer
    place: int
    """Which of all layers it is, in the order of execution."""
    params: int
    macs: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Gone:
    """Residual branches that a network has lost before it was traced."""

    branches: tuple[Branch, ...]
    layers: tuple[GoneLayer, ...]
    whole: nn.Module
    """The network with them."""

    def branch_of(self, layer: str) -> str | None:
        """The branch that a layer went with."""
        return next((branch.name for branch in self.branches if layer in branch.layers), None)


@dataclass(frozen=True, eq=False)
class Graph:
    """All that a plan needs to know of a model. Made by `trace`; runs nothing."""

    record: TraceRecord
    classes: Classes
    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    units: Units
    findings: Findings = field(default_factory=Findings)
    gone: Gone | None = None
    """The residual branches that have gone whole: the traced network no longer runs them."""

    def __repr__(self) -> str:
        """One line: the record holds the whole network."""
        layers, locked = sum(layer.producer for layer in self.layers), sum(bool(group.locks) for group in self.groups)
        return (
            f"Graph({type(self.model).__name__}: {layers} layers that put out channels, in {len(self.groups)} groups, "
            f"{locked} of them locked)"
        )

    @property
    def model(self) -> nn.Module:
        """The traced module itself."""
        return self.record.model

    @property
    def whole_model(self) -> nn.Module:
        """The module with all residual branches, also those that have gone."""
        return self.model if self.gone is None else self.gone.whole

    @property
    def unreached(self) -> tuple[str, ...]:
        """Modules with parameters that no traced forward pass used; they stay as they are."""
        return self.record.unreached

    @cached_property
    def group_of_channel(self) -> np.ndarray:
        """The number of each channel's group; -1 where it is in none."""
        found = np.full(self.classes.channels, -1)
        for group in self.groups:
            found[group.channels] = group.index
        return found

    @cached_property
    def producers(self) -> tuple[tuple[Axis, ...], ...]:
        """For each group, the axes of the layers that put its channels out, in the order of execution."""
        found: list[list[Axis]] = [[] for _ in self.groups]
        for axis in self.record.producers:
            number = self.group_of_channel[self.classes.channel[axis.first]]
            if number >= 0:
                found[number].append(axis)
        return tuple(map(tuple, found))

    @cached_property
    def parameter_axes(self) -> tuple[tuple[Axis, ...], ...]:
        """For each group, the axes of all parameters that lose a slice with each of its channels. A parameter that two
        axes of the same channels meet in (a depthwise kernel) comes once."""
        found: list[list[Axis]] = [[] for _ in self.groups]
        for name in self.record.shapes:
            seen: set[bytes] = set()
            for axis in self.record.axes_of(name) if name in self.record.parameters else ():
                channels = self.classes.channel[axis.slots]
                if channels.tobytes() not in seen:
                    seen.add(channels.tobytes())
                    for number in np.unique(self.group_of_channel[channels]):
                        if number >= 0:
                            found[number].append(axis)
        return tuple(map(tuple, found))

    @cached_property
    def second_names(self) -> dict[str, str]:
        """Names of modules that are registered more than once, by the name under which `layers` has them."""
        names = {layer.name for layer in self.layers}
        return {name: first for name, first in self.record.second_names.items() if name not in names and first in names}

    @cached_property
    def _layers_by_name(self) -> dict[str, Layer]:
        found = {layer.name: layer for layer in self.layers}
        return found | {name: found[first] for name, first in self.second_names.items()}

    def layer(self, name: str) -> Layer | None:
        return self._layers_by_name.get(name)

    def group_of(self, layer: str) -> Group | None:
        """The group of a layer's outputs."""
        found = self.layer(layer)
        return None if found is None or found.group is None else self.groups[found.group]

    @cached_property
    def cuttable_share(self) -> float:
        """The share of the parameters that lie on at least one channel that may be cut."""
        free = np.zeros(self.classes.channels, bool)
        for group in self.groups:
            if len(group.channels) > 1:
                free[group.channels[~group.locked]] = True
        total = cuttable = 0
        for name in self.record.parameters & self.record.shapes.keys():
            shape = self.record.shapes[name]
            fixed = size = int(np.prod(shape)) if shape else 1
            for axis in self.record.axes_of(name):
                fixed *= 1 - free[self.classes.channel[axis.slots]].mean()
            total += size
            cuttable += size - fixed
        return cuttable / total if total else 0.0

    @property
    def locks(self) -> tuple[LayerLock, ...]:
        """Every lock with the layer whose group it holds, and every layer that nothing uses."""
        held = [
            LayerLock(group.name, lock.words, lock.where, lock.is_output)
            for group in self.groups
            for lock in group.locks
        ]
        return (*held, *(LayerLock(name, UNREACHED, None) for name in self.unreached))

    @property
    def blocks(self) -> tuple[LayerBlocks, ...]:
        """The groups whose channels fall into blocks, and why."""
        return tuple(
            LayerBlocks(group.name, group.blocks, tuple(len(cells) for cells in group.families))
            for group in self.groups
            if group.blocked
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `inspect --json`."""
        return {
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "width": layer.width,
                    "group": None if layer.group is None else self.groups[layer.group].name,
                }
                for layer in self.layers
            ],
            "groups": [group.to_dict() for group in self.groups],
            "unreached": list(self.unreached),
            "cuttable_share": round(float(self.cuttable_share), 4),
        }
