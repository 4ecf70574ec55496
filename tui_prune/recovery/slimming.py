"""Penalties for one's own training loop that push whole channels towards zero, so that they can be cut at little cost.

Both are differentiable, and weigh only channels that can be cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph
from tui_prune.graph.record import BATCH_NORM, Axis

_TINY = 1e-12
"""Keeps the gradient of a root finite where a channel is zero."""


def slimming_penalty(model: nn.Module, graph: Graph | None = None) -> Tensor:
    """The sum of |scale| over batch norms (Liu et al. 2017, "Learning Efficient Convolutional Networks through Network
    Slimming", eq. 1), to be added to a loss with a weight of about 1e-4.

    With the graph of the model (`tui_prune.trace`) only channels that can be cut count; without it every batch norm's.

    Raises `UsageError` where there is no batch norm with scales, or where the graph is another model's.
    """
    scales: list[Tensor]
    if graph is None:
        scales = [norm.weight for norm in model.modules() if isinstance(norm, _BatchNorm) and norm.weight is not None]
    else:
        scales = [_counted(_scales(model, name), places) for name, places in _table(graph).norms.items() if len(places)]
    if not scales:
        raise UsageError("There is no batch norm over channels that can be cut; use tui_prune.group_penalty(graph).")
    return torch.stack([scale.abs().sum() for scale in scales]).sum()


def group_penalty(graph: Graph, model: nn.Module | None = None) -> Tensor:
    """The group lasso on channels (Wen et al. 2016, "Learning Structured Sparsity in Deep Neural Networks", sec. 3):
    the sum, over all channels that can be cut, of the Euclidean norm of all parameters that go with one, divided by the
    root of how many they are.

    What goes with a channel is all that a cut removes: rows of each layer that puts it out, columns of each that reads
    it, its bias and its norm. `model` is the one that was traced, or one with the same parameters (a copy on another
    device); by default the traced one itself.

    Raises `UsageError` where no channel can be cut, or where the graph is another model's.
    """
    return _table(graph).group_lasso(graph.model if model is None else model)


@dataclass(frozen=True, eq=False)
class _Part:
    """Squares of a parameter that go with channels."""

    tensor: str
    shape: tuple[int, ...]
    """Of the parameter."""
    view: tuple[int, ...]
    kept: tuple[int, ...]
    """Dimensions of the view that aren't summed over; all of their places in a row are the parameter's `places`."""
    places: Tensor | None
    """Which of them count; None: all."""
    channels: Tensor
    """The channel of each."""
    count: int
    """How many elements are summed for each."""
    sign: int
    """-1 for elements that lie on two axes of one channel, and would count twice."""

    def squares(self, parameter: Tensor) -> Tensor:
        """The sum of squares at each place."""
        squares = parameter.square().reshape(self.view)
        others = [dim for dim in range(squares.dim()) if dim not in self.kept]
        flat = (squares.sum(others) if others else squares).reshape(-1)
        return self.sign * (flat if self.places is None else flat[self.places])

    def to(self, device: torch.device) -> _Part:
        """The same with its tables on a device."""
        places = None if self.places is None else self.places.to(device)
        return replace(self, places=places, channels=self.channels.to(device))


class _Table:
    """Where the channels of a graph that can be cut lie on its parameters; worked out once."""

    def __init__(self, graph: Graph) -> None:
        record, channel = graph.record, graph.classes.channel.astype(np.int64)
        free = np.zeros(graph.classes.channels, bool)
        for group in graph.groups:
            if len(group.channels) > 1:
                free[group.channels[~group.locked]] = True
        self.norms = {
            name: torch.from_numpy(np.flatnonzero(free[channel[use.outputs.numpy()]]))
            for name, use in record.layers.items()
            if use.kind == BATCH_NORM and use.outputs is not None and f"{name}.weight" in record.parameters
        }
        """By batch norm, the places of its scales that can be cut."""
        parts: list[_Part] = []
        for name, shape in record.shapes.items():
            axes = [axis for axis in record.axes_of(name) if free[channel[axis.slots]].any()]
            if name in record.parameters and axes:
                parts += [_along(axis, shape, channel) for axis in axes]
                parts += [_on_both(axes[0], axes[1], shape, channel)] if len(axes) > 1 else []
        sizes = np.zeros(len(free))
        for part in parts:
            np.add.at(sizes, part.channels.numpy(), part.sign * part.count)
        self._channels = len(free)
        self._counted = torch.from_numpy(np.flatnonzero(free & (sizes > 0)))
        self._sizes = torch.from_numpy(sizes)[self._counted]
        self._parts = parts
        self._on_device: dict[torch.device, tuple[Tensor, Tensor, list[_Part]]] = {}

    def group_lasso(self, model: nn.Module) -> Tensor:
        """The sum over channels of the norm of all that goes with one, over the root of how much that is."""
        if not len(self._counted):
            raise UsageError("No channel of this network can be cut, so there is none to put a penalty on.")
        parameters = dict(model.named_parameters(remove_duplicate=False))
        first = _parameter(parameters, self._parts[0])
        counted, sizes, parts = self._on(first.device)
        total = torch.zeros(self._channels, dtype=first.dtype, device=first.device)
        for part in parts:
            total = total.index_add(0, part.channels, part.squares(_parameter(parameters, part)).to(total))
        return ((total[counted].clamp(min=0) + _TINY) / sizes.to(total)).sqrt().sum()

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, list[_Part]]:
        if device not in self._on_device:
            parts = [part.to(device) for part in self._parts]
            self._on_device[device] = self._counted.to(device), self._sizes.to(device), parts
        return self._on_device[device]


_tables: WeakKeyDictionary[Graph, _Table] = WeakKeyDictionary()


def _table(graph: Graph) -> _Table:
    if graph not in _tables:
        _tables[graph] = _Table(graph)
    return _tables[graph]


def _along(axis: Axis, shape: tuple[int, ...], channel: np.ndarray) -> _Part:
    """All elements of a parameter by their slots on one axis."""
    view: tuple[int, ...] = shape
    kept: tuple[int, ...] = (axis.dim,)
    if axis.groups > 1:
        # A grouped weight's rows of group g: their columns are row g of the axis's slots.
        view, kept = (axis.groups, shape[0] // axis.groups, *shape[1:]), (0, axis.dim + 1)
    channels = torch.from_numpy(channel[axis.slots])
    return _Part(axis.tensor, shape, view, kept, None, channels, prod(shape) // axis.size, 1)


def _on_both(first: Axis, second: Axis, shape: tuple[int, ...], channel: np.ndarray) -> _Part:
    """The elements that lie on two axes of one channel: in a depthwise weight all, else where a layer reads what it
    puts out."""
    rows, columns = channel[first.slots], channel[second.slots]
    if second.groups > 1:
        columns = np.repeat(columns.reshape(second.groups, -1), len(rows) // second.groups, axis=0)
    both = rows[:, None] == columns
    places = torch.from_numpy(np.flatnonzero(both))
    channels = torch.from_numpy(np.broadcast_to(rows[:, None], both.shape)[both])
    count = prod(shape) // both.size
    return _Part(first.tensor, shape, shape, (first.dim, second.dim), places, channels, count, -1)


def _scales(model: nn.Module, name: str) -> Tensor:
    try:
        return model.get_parameter(f"{name}.weight")
    except AttributeError as error:
        raise _other_model(name) from error


def _counted(scale: Tensor, places: Tensor) -> Tensor:
    return scale if len(places) == len(scale) else scale[places.to(scale.device)]


def _parameter(parameters: dict[str, nn.Parameter], part: _Part) -> Tensor:
    parameter = parameters.get(part.tensor)
    if parameter is None or tuple(parameter.shape) != part.shape:
        raise _other_model(part.tensor)
    return parameter


def _other_model(name: str) -> UsageError:
    return UsageError(f"The graph is of another model, which has {name}; trace this one (tui_prune.trace).")
