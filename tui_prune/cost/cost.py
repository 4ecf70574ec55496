"""Parameters, MACs and bytes of a network, whole and per layer, for any choice of channels. Runs nothing.

The numbers are those of `torch.utils.flop_counter` on the cut network (one MAC is two of its FLOPs), of its parameter
count, and of the tensors that its operators put out. Not counted: buffers, memory of gradients, workspace of kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from tui_prune.graph.graph import Graph
from tui_prune.graph.record import Extent, owner_of


@dataclass(frozen=True)
class Cost:
    """What a network costs on one example input."""

    params: int
    macs: int
    """Multiply-accumulates of convolutions, matrix products and attention."""
    bytes: int
    """Of the parameters."""
    activation_bytes: int
    """Of the largest tensor that an operator puts out."""


@dataclass(frozen=True)
class LayerCosts:
    """The same for each layer by name, where it has any."""

    params: dict[str, int]
    macs: dict[str, int]
    bytes: dict[str, int]


@dataclass(frozen=True, eq=False)
class SizedCall:
    """A call whose multiply-accumulates count, with the shapes that it has at some choice of channels."""

    func: Any
    args: tuple[Any, ...]
    """Tensors are their `torch.Size`."""
    kwargs: dict[str, Any]
    out: torch.Size
    macs: int
    layer: str
    """The layer that it belongs to; empty for none."""


@dataclass(frozen=True, eq=False)
class Work:
    """What one forward pass does; arrays have one number for each call of `record.costs`."""

    macs: np.ndarray
    outputs: np.ndarray
    """Elements of what the call puts out."""
    traffic: float
    """Bytes of all tensors that operators put out."""


class CostModel:
    """Computes the costs of a graph's network for any mask of kept channels, in about a millisecond."""

    def __init__(self, graph: Graph) -> None:
        self._channel = graph.classes.channel
        self._extents = _Extents(graph)
        record = graph.record
        sized = [(name, self._axes_of(graph, name)) for name in record.shapes if name in record.parameters]
        self._parameter_layers = [owner_of(name) for name, _ in sized]
        self._parameters = self._extents.table([extents for _, extents in sized])
        self._itemsizes = np.array([record.itemsizes[name] for name, _ in sized], np.int64)
        self._activations = self._extents.table([a.extents for a in record.activations])
        self._activation_itemsizes = np.array([a.itemsize for a in record.activations], np.int64)
        self._calls = [_Formula(call.func, call.args, call.kwargs, call.out, self._extents) for call in record.costs]
        self._call_layers = [call.layer or "" for call in record.costs]
        self._outputs = self._extents.table([call.out for call in record.costs])

    def _axes_of(self, graph: Graph, name: str) -> tuple[Extent, ...]:
        shape = graph.record.shapes[name]
        found = [Extent(size, None) for size in shape]
        for axis in graph.record.axes_of(name):
            slots = torch.arange(axis.first, axis.first + axis.size)
            if axis.groups > 1:
                found[axis.dim] = Extent(shape[axis.dim], slots.view(axis.groups, -1), per_group=True)
            else:
                found[axis.dim] = Extent(shape[axis.dim], slots.view(-1, 1))
        return tuple(found)

    def sized_call(self, number: int, keep: np.ndarray) -> SizedCall:
        """One of the calls that take multiply-accumulates (by its place in `record.costs`) when these channels are
        kept."""
        return self._calls[number].sized(self._extents.sizes(keep), self._call_layers[number])

    def work(self, keep: np.ndarray) -> "Work":
        """What each call and the memory have to do when these channels are kept."""
        sizes = self._extents.sizes(keep)
        return Work(
            np.array([formula.macs(sizes) for formula in self._calls], float),
            sizes[self._outputs].prod(axis=1).astype(float),
            float((sizes[self._activations].prod(axis=1) * self._activation_itemsizes).sum()),
        )

    def measure(self, keep: np.ndarray) -> tuple[Cost, LayerCosts]:
        """The cost of the network that keeps these channels (bool, one per channel of the graph)."""
        sizes = self._extents.sizes(keep)
        numbers = sizes[self._parameters].prod(axis=1)
        octets = numbers * self._itemsizes
        macs = [formula.macs(sizes) for formula in self._calls]
        activations = sizes[self._activations].prod(axis=1) * self._activation_itemsizes
        whole = Cost(int(numbers.sum()), sum(macs), int(octets.sum()), int(activations.max(initial=0)))
        return whole, LayerCosts(
            _sums(self._parameter_layers, numbers),
            _sums(self._call_layers, macs),
            _sums(self._parameter_layers, octets),
        )


class _Extents:
    """All different dimensions of all tensors, numbered, and their sizes after a cut."""

    def __init__(self, graph: Graph) -> None:
        self._channel = graph.classes.channel
        self._cell = np.full(graph.classes.channels, -1)
        cells = [group.channels[cell] for group in graph.groups for cell in group.cells]
        for n, channels in enumerate(cells):
            self._cell[channels] = n
        self._cell_sizes = np.array([len(channels) for channels in cells] or [0])
        self._by_slots: dict[int, tuple[int, Tensor]] = {}
        """By identity of an extent's slots, which are kept alive for it."""
        self._number: dict[Any, int] = {("fixed", 1): 0}
        self._fixed: list[int] = [1]
        self._flat: list[tuple[int, np.ndarray]] = []
        self._wide: list[tuple[int, np.ndarray, bool]] = []
        """Number, channels, and whether a row's or else a column's kept positions are counted."""
        self._joined: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.known: dict[bytes, int] = {}
        """What formulas give, by the kind of the call and its sizes."""

    def number(self, extent: Extent) -> int:
        if extent.slots is None:
            key: Any = ("fixed", extent.size)
            if key not in self._number:
                self._number[key] = len(self._fixed)
                self._fixed.append(extent.size)
            return self._number[key]
        known = self._by_slots.get(id(extent.slots))
        if known is None:
            number = self._number_of_slots(extent, extent.slots.numpy())
            known = self._by_slots[id(extent.slots)] = number, extent.slots
        return known[0]

    def _number_of_slots(self, extent: Extent, slots: np.ndarray) -> int:
        channels = np.where(slots >= 0, self._channel[np.maximum(slots, 0)], -1)
        key = (extent.per_group, channels.shape, channels.tobytes())
        if key not in self._number:
            number = self._number[key] = len(self._fixed)
            self._fixed.append(extent.size)
            if extent.per_group:
                self._wide.append((number, channels.T, True))
            elif channels.shape[1] != 1 or (channels < 0).any():
                inner = not self._is_whole_cells(channels[0]) and self._is_whole_cells(channels[:, 0])
                self._wide.append((number, channels, inner))
            else:
                self._flat.append((number, channels[:, 0]))
        return self._number[key]

    def _is_whole_cells(self, channels: np.ndarray) -> bool:
        """Whether channels fill up all cells that they touch, so that the plan alone says how many of them stay."""
        cells = self._cell[np.unique(channels[channels >= 0])]
        touched, counts = np.unique(cells, return_counts=True)
        return bool((touched >= 0).all()) and bool((counts == self._cell_sizes[touched]).all())

    @property
    def whole(self) -> np.ndarray:
        """The size of every extent, uncut."""
        return np.array(self._fixed, np.int64)

    def table(self, tensors: list[tuple[Extent, ...]]) -> np.ndarray:
        """Extent numbers of tensors, one row each, filled up with the number of size 1."""
        rank = max((len(extents) for extents in tensors), default=1)
        rows = np.zeros((len(tensors), max(rank, 1)), np.int64)
        for row, extents in zip(rows, tensors, strict=True):
            row[: len(extents)] = [self.number(extent) for extent in extents]
        return rows

    def sizes(self, keep: np.ndarray) -> np.ndarray:
        """The size of every extent by number."""
        found = np.array(self._fixed, np.int64)
        if self._flat:
            if self._joined is None or len(self._joined[0]) != len(self._flat):
                numbers = np.array([number for number, _ in self._flat])
                lengths = np.array([len(channels) for _, channels in self._flat])
                starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
                self._joined = numbers, np.concatenate([channels for _, channels in self._flat]), starts
            numbers, channels, starts = self._joined
            found[numbers] = np.add.reduceat(keep[channels].astype(np.int64), starts)
        for number, channels, inner in self._wide:
            kept = keep[np.maximum(channels, 0)] | (channels < 0)
            found[number] = kept.sum(axis=0).max() if inner else kept.any(axis=1).sum()
        return found


REMEMBERED = 20_000
"""So many results of formulas are remembered."""


class _Formula:
    """The flop counter's formula of one call, on sizes after a cut. Calls that differ in their layers alone, as those
    of repeated blocks do, are worked out once."""

    def __init__(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: tuple[Extent, ...], extents: _Extents
    ) -> None:
        formula = flop_registry[func.overloadpacket]
        self._formula: Callable[..., int] = getattr(formula, "__wrapped__", formula)
        self._args, self._kwargs = args, kwargs
        self._out = out
        self._extents = extents
        self._numbers = np.array(
            [extents.number(e) for value in (*args, *kwargs.values(), out) if _is_shape(value) for e in value], np.int64
        )
        plain = [len(value) if _is_shape(value) else repr(value) for value in (*args, *kwargs.values(), out)]
        self._kind = f"{func} {plain} {[*kwargs]} ".encode()
        self._func = func

    def macs(self, sizes: np.ndarray) -> int:
        known, key = self._extents.known, self._kind + sizes[self._numbers].tobytes()
        macs = known.get(key)
        if macs is None:
            if len(known) >= REMEMBERED:
                known.clear()
            try:
                macs = self._counted(sizes)
            except Exception:  # whatever a formula makes of sizes that don't fit each other
                macs = self._scaled(sizes)
            known[key] = macs
        return macs

    def _counted(self, sizes: np.ndarray) -> int:
        args, kwargs, out = self._shapes(sizes)
        return int(self._formula(*args, **kwargs, out_shape=out)) // 2

    def _scaled(self, sizes: np.ndarray) -> int:
        """The traced call's own count, times what is left of each of its dimensions.

        A plan may leave sizes that can't meet in the call (heads on one side only); the cut will find that out, and
        until then a number is needed.
        """
        whole = self._extents.whole
        numbers = np.unique(self._numbers)
        try:
            macs = self._counted(whole)
        except Exception:  # torch's formulas assert what they expect; a plan must not fail for a figure
            return 0
        return round(macs * float(np.prod(sizes[numbers] / np.maximum(whole[numbers], 1))))

    def sized(self, sizes: np.ndarray, layer: str) -> SizedCall:
        args, kwargs, out = self._shapes(sizes)
        return SizedCall(self._func, args, kwargs, out, self.macs(sizes), layer)

    def _shapes(self, sizes: np.ndarray) -> tuple[tuple[Any, ...], dict[str, Any], torch.Size]:
        values = iter(sizes[self._numbers].tolist())

        def shape(value: Any) -> Any:
            return torch.Size([next(values) for _ in value]) if _is_shape(value) else value

        args = tuple(shape(a) for a in self._args)
        kwargs = {k: shape(v) for k, v in self._kwargs.items()}
        return args, kwargs, shape(self._out)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, Extent) for v in value)


def _sums(layers: list[str], numbers: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for layer, number in zip(layers, numbers, strict=True):
        found[layer] = found.get(layer, 0) + int(number)
    return found
