"""Whole numbers that a module keeps, and the axes that each of them may be the size of.

Nothing here goes by the name of an attribute. What tells is the number, and how near to the module the axis is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from torch import nn

from tui_prune.archives.origin import Path
from tui_prune.copies.modules import named_modules
from tui_prune.graph.findings import Repair
from tui_prune.graph.record import Axis
from tui_prune.loading.places import number_places
from tui_prune.planning.plan import Plan
from tui_prune.surgery.attributes import own_sizes


class Fit(IntEnum):
    """How a number fits an axis, the likeliest first."""

    OWN = 0
    """The length of an axis of the module's own tensors or its children's."""
    CELL = 1
    """The size of the cells (one head) on such an axis."""
    CELLS = 2
    """The size of several cells on such an axis (where values are wider than queries and keys)."""
    INSIDE = 3
    """The length of an axis deeper inside."""
    AROUND = 4
    """The length of an axis of a module around it."""
    CELL_AROUND = 5
    """The size of the cells on such an axis."""
    PART = 6
    """A multiple or a part of an axis of the module itself, or of the next module around it that has weights."""


@dataclass(frozen=True)
class Option:
    """An axis that a number may be a size of."""

    fit: Fit
    axis: Axis
    after: int
    """What the number becomes by the plan."""


@dataclass(frozen=True)
class KeptSize:
    """A number that a module keeps, and the axes that it may be a size of, the likeliest first."""

    module: str
    attribute: str
    path: Path
    value: int
    options: tuple[Option, ...]
    """Those that lead to another number each; then further axes that lead to the same ones here, and maybe to others in
    other modules of the class."""
    heads: int | None = None
    """Which of the options it is if it counts the heads of an attention of which whole ones go."""

    @property
    def place(self) -> tuple[str, Path]:
        """The same in all modules of a class."""
        return self.attribute, self.path

    def repair(self, option: Option) -> Repair:
        return Repair(self.module, self.attribute, option.axis.tensor, option.axis.dim, self.path)


class SizesOf:
    """Finds the sizes that the modules of a planned network keep."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.modules: Mapping[str, nn.Module] = dict(named_modules(plan.graph.model))
        self._known_cells: dict[Axis, frozenset[int]] = {}

    @cached_property
    def _axes(self) -> list[tuple[Axis, int]]:
        """Every axis that can be cut as one, and how much of it stays. Of the heads of an attention, which are no axis
        of a tensor, only those of which some go."""
        keep, channel, record = self._plan.keep, self._plan.graph.classes.channel, self._plan.graph.record
        axes = [
            (axis, int(np.count_nonzero(keep[channel[axis.first : axis.first + axis.size]])))
            for axis in record.axes
            if axis.groups == 1
        ]
        return [(axis, left) for axis, left in axes if axis.tensor in record.shapes or left < axis.size]

    @cached_property
    def _below(self) -> dict[str, list[tuple[Axis, int]]]:
        """The same by each module that they lie in."""
        found: dict[str, list[tuple[Axis, int]]] = {name: [] for name in self.modules}
        for entry in self._axes:
            name = entry[0].tensor
            while name:
                name = name.rpartition(".")[0]
                if name in found:
                    found[name].append(entry)
        return found

    def length(self, tensor: str, dim: int) -> int | None:
        """The length of an axis, cut or not; None where there is no such tensor."""
        shape = self._plan.graph.record.shapes.get(tensor, ())
        return shape[dim] if dim < len(shape) else None

    def of(self, module: str) -> list[KeptSize]:
        """The sizes of a module that the plan may change."""
        part = self.modules[module]
        known = own_sizes(part)
        found = []
        for attribute, path, value in number_places(part):
            if attribute in known or value < 2:
                continue
            options: dict[int, Option] = {}
            twins: list[Option] = []
            heads = None
            for fit, axis, left in sorted(self.fitting(module, value), key=lambda entry: entry[0]):
                if 0 < left < axis.size and value * left % axis.size == 0:
                    option = Option(fit, axis, value * left // axis.size)
                    if options.setdefault(option.after, option) is not option and fit < Fit.AROUND:
                        twins.append(option)
                    if axis.size == value and axis.tensor not in self._plan.graph.record.shapes:
                        heads = list(options).index(option.after)
            if options:
                both = (*options.values(), *twins)
                found.append(KeptSize(module, attribute, path, value, both, heads))
        return found

    def fitting(self, module: str, value: int) -> Iterator[tuple[Fit, Axis, int]]:
        """The axes that a number of a module may be a size of, how it fits them, and how much of each stays."""
        yield from self.fitting_near(module, value)
        inside, around = self._below[module], self._around(module)
        for axis, left in inside:
            if _is_near(axis, module):
                if any(1 < cell < value < axis.size and value % cell == 0 for cell in self._cell_sizes(axis)):
                    yield Fit.CELLS, axis, left
            elif axis.size == value:
                yield Fit.INSIDE, axis, left
            elif value in self._cell_sizes(axis):
                yield Fit.CELL, axis, left
        for axis, left in around:
            if axis.size == value:
                yield Fit.AROUND, axis, left
            elif value in self._cell_sizes(axis):
                yield Fit.CELL_AROUND, axis, left
        for axis, left in inside or around:
            if axis.size != value and (axis.size % value == 0 or value % axis.size == 0):
                yield Fit.PART, axis, left

    def fitting_near(self, module: str, value: int) -> Iterator[tuple[Fit, Axis, int]]:
        """The same, but only axes of the module's own tensors and of those right below it."""
        for axis, left in self._below[module]:
            if _is_near(axis, module):
                if axis.size == value:
                    yield Fit.OWN, axis, left
                elif value in self._cell_sizes(axis):
                    yield Fit.CELL, axis, left

    def _around(self, module: str) -> list[tuple[Axis, int]]:
        """The axes in the innermost module around it that has other axes than its own."""
        own, name = len(self._below[module]), module
        while name:
            name = name.rpartition(".")[0]
            if len(self._below.get(name, ())) > own:
                return self._below[name]
        return []

    def _cell_sizes(self, axis: Axis) -> frozenset[int]:
        """How long the cells on an axis are, where all of it falls into cells of one length."""
        if axis not in self._known_cells:
            self._known_cells[axis] = frozenset(self._find_cell_sizes(axis))
        return self._known_cells[axis]

    def _find_cell_sizes(self, axis: Axis) -> Iterator[int]:
        graph = self._plan.graph
        channels = graph.classes.channel[axis.slots]
        once = channels[: len(np.unique(channels))]
        if len(once) < axis.size and axis.size % len(once) == 0 and (channels.reshape(-1, len(once)) == once).all():
            yield len(once)  # the gates of a cell: each of its channels once in every run
        numbers = np.unique(graph.group_of_channel[channels])
        if len(numbers) != 1 or numbers[0] < 0 or not graph.groups[int(numbers[0])].blocked:
            return
        group = graph.groups[int(numbers[0])]
        for cells in group.families:
            own = [group.channels[cell] for cell in cells]
            slots = [int(np.isin(channels, cell).sum()) for cell in own]
            if len(cells) > 1 and sum(slots) == axis.size:
                # Queries and keys are one channel at two positions, and still the cells of both have one length.
                for lengths in (slots, [int(np.isin(cell, channels).sum()) for cell in own]):
                    present = set(lengths) - {0}
                    if len(present) == 1:
                        yield present.pop()


def _is_near(axis: Axis, module: str) -> bool:
    """Whether an axis is one of the module's own tensors, its layers', or of layers that one of these wraps."""
    return axis.tensor.count(".", len(module) + 1 if module else 0) <= 2
