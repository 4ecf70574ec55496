"""What is known of each tensor of a running network, and what the rules of operators ask and say of it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_modules
from tui_prune.graph.carried import NOTHING, CarriedByTensor, Contracted, Positions
from tui_prune.graph.constants import alike_of
from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.labels import Dims, Labels, compact, distinct_ids, spread, varying
from tui_prune.graph.model_code import Place, running_module, running_place
from tui_prune.graph.nested import all_tensors_in
from tui_prune.graph.record import (
    HEADS,
    MODEL_INPUT,
    ONE_WITH_SEVERAL,
    RECURRENT,
    Axis,
    Block,
    FreeSize,
    Guess,
    HeadRows,
    Lock,
    Scaling,
    Tie,
    TraceRecord,
    View,
    owner_of,
)
from tui_prune.graph.registry import Call


class Labelling(OperatorMode):
    """Gives every parameter and buffer of a module one label per axis; rules read and set what tensors carry, and write
    down in `record` what must stand and fall together."""

    def __init__(self, model: nn.Module, *, hollow: bool = False) -> None:
        super().__init__()
        self.record = TraceRecord(model, hollow=hollow)
        self.original: TraceRecord | None = None
        """Of what was made of a traced network, that network's record."""
        self._carried = CarriedByTensor()
        self._axes_by_first: dict[int, Axis] = {}
        self._grouped_axes: dict[tuple[str, int], Axis] = {}
        self._heads: dict[tuple[int, int, int], int] = {}
        """By the first and the last slot of a row of places, and how many there are, the slot of the head."""
        self._producer_slots: set[int] = set()
        self._parts = named_modules(model)
        self._modules = dict(self._parts)
        self._place: tuple[Place | None, ...] = ()
        """Where the model's code is at the running operator, once it was asked for."""
        self._name_tensors()

    def _name_tensors(self) -> None:
        record, parts = self.record, self._parts
        parameters = [(_join(prefix, n), t) for prefix, part in parts for n, t in part._parameters.items()]
        buffers = [(_join(prefix, n), t) for prefix, part in parts for n, t in part._buffers.items()]
        first_names: dict[int, str] = {}
        own: list[tuple[Tensor, str, list[Axis]]] = []
        for name, tensor in (*parameters, *buffers):
            if tensor is None:
                continue
            if id(tensor) in first_names:
                record.shared[name] = first_names[id(tensor)]
                continue
            first_names[id(tensor)] = name
            shape = record.shapes[name] = tuple(tensor.shape)
            record.itemsizes[name] = tensor.element_size()
            own.append((tensor, name, [self.add_axis(name, d, size) for d, size in enumerate(shape) if size > 1]))
        slots = torch.arange(record.size)
        for tensor, name, axes in own:
            labels: Labels = {}
            for axis in axes:
                strides = [0] * tensor.dim()
                strides[axis.dim] = 1
                labels[axis.dim,] = slots.as_strided(tensor.shape, strides, axis.first)
            self._carried.hold(tensor, name).labels = labels
        record.parameters = frozenset(name for name, tensor in parameters if tensor is not None)
        self._sharing = {first: {owner_of(name) for name in record.names_of(first)} for first in record.shared.values()}

    def add_axis(self, tensor: str, dim: int, size: int, groups: int = 1) -> Axis:
        axis = Axis(tensor, dim, self.record.size, size, groups)
        self.record.size += size
        self.record.axes.append(axis)
        self._axes_by_first[axis.first] = axis
        return axis

    def grouped_axis(self, tensor: str, dim: int, size: int, groups: int) -> Axis:
        """The axis of a grouped weight's per-group dimension, made at its first use."""
        axis = self._grouped_axes.get((tensor, dim))
        if axis is None:
            axis = self._grouped_axes[tensor, dim] = self.add_axis(tensor, dim, size, groups)
        return axis

    def mark_inputs(self, inputs: Any) -> None:
        """Say which tensors are the model's inputs, so that locks can name them."""
        for tensor in all_tensors_in(inputs):
            entry = self._carried.note(tensor)
            entry.is_input = entry.name is None

    def labels(self, tensor: Any) -> Labels:
        entry = self._carried.get(id(tensor))
        return NOTHING if entry is None else entry.labels

    def put(self, tensor: Any, labels: Labels | list[Tensor]) -> None:
        """Set what a tensor carries, in place of what it carried."""
        if isinstance(tensor, Tensor):
            if not labels:
                self._carried.forget(tensor)
                return
            known = self.by_dims(labels) if isinstance(labels, list) else labels
            if not tensor.numel():
                for dims, label in known.items():
                    # This raises where the memory behind a label without elements is lost.
                    self.record.without_elements.append(compact(label, dims))
            self._carried.note(tensor).labels = known

    def by_dims(self, labels: list[Tensor]) -> Labels:
        """Labels by the dimensions along which they vary; of two along the same ones, elements go with both."""
        found: Labels = {}
        for label in labels:
            dims = varying(label)
            if not dims:
                continue
            other = found.get(dims)
            if other is None or other is label:
                found[dims] = label
                continue
            ids, others = compact(label, dims), compact(other, dims)
            if _name_the_same(ids, others):
                self.tie(others, ids, "same place")
                continue
            # One names whole rows (heads), the other the places in them: rows stay and places may go, or the reverse.
            coarse, fine = (ids, other) if self._is_coarser(ids, others) else (others, label)
            self.note_heads(compact(fine, dims).reshape(-1, 1), coarse.reshape(-1))
            found[dims] = fine
        return found

    def _is_coarser(self, ids: Tensor, others: Tensor) -> bool:
        """Whether `ids` has fewer slots than `others`, or as many, which change less often from position to position.

        Of a cut network, there may be more rows than places left: what is cut of them are places.
        """
        cut = self._is_cut(ids), self._is_cut(others)
        if cut[0] != cut[1]:
            return cut[1]
        kinds = [(torch.unique(part).numel(), int((part.reshape(-1).diff() != 0).sum())) for part in (ids, others)]
        return kinds[0] < kinds[1]

    def _is_cut(self, ids: Tensor) -> bool:
        """Whether the axis that these slots lie on is shorter than in the network that was traced first."""
        if self.original is None:
            return False
        axis = self.axis_around(ids.reshape(-1)[:1])
        if axis is None or axis.groups > 1:
            return False
        before = (own.size for own in self.original.axes_of(axis.tensor) if own.dim == axis.dim and own.groups == 1)
        return next(before, axis.size) != axis.size

    def leaf(self, tensor: Any) -> str | None:
        """The name of the parameter or buffer that a tensor is, or is a view of."""
        entry = self._carried.get(id(tensor))
        if entry is not None and entry.name is not None:
            return entry.name
        base = tensor._base if isinstance(tensor, Tensor) else None
        entry = None if base is None else self._carried.get(id(base))
        return None if entry is None else entry.name

    def is_hollow(self, tensor: Tensor) -> bool:
        """Whether the tensor's values were never computed."""
        entry = self._carried.get(id(tensor))
        return entry is not None and entry.hollow

    def follows_values(self, tensors: Iterable[Tensor]) -> bool:
        """Whether the values of any of these tensors follow from the model's input."""
        entries = (self._carried.get(id(tensor)) for tensor in tensors)
        return any(entry is not None and (entry.computed or entry.is_input) for entry in entries)

    def layer_of(self, tensor: str) -> str:
        """The module that a user would name for a parameter; of several that share it, the one that runs."""
        if tensor in self._sharing:
            name, _ = self.running_part()
            if name in self._sharing[tensor]:
                return name
        return owner_of(tensor)

    def module_of(self, tensor: str) -> nn.Module | None:
        """The module that has a parameter or buffer of this name, if it isn't the network's own."""
        return self._modules.get(owner_of(tensor))

    def axis_of(self, ids: Tensor) -> Axis | None:
        """The axis whose slots, all and in order, these ids are."""
        if ids.dim() != 1 or not len(ids):
            return None
        axis = self._axes_by_first.get(int(ids[0]))
        whole = axis is not None and axis.size == len(ids) and int(ids[-1]) - int(ids[0]) == axis.size - 1
        return axis if whole else None

    def axis_around(self, ids: Tensor) -> Axis | None:
        """The axis that these ids are a part of, where it isn't a whole one (some rows of a packed weight)."""
        if ids.dim() != 1 or not len(ids):
            return None
        low, high = int(ids.min()), int(ids.max())
        after = bisect_right(self.record.axes, low, key=lambda axis: axis.first)
        axis = self.record.axes[after - 1]
        return axis if low >= 0 and high < axis.first + axis.size else None

    def fixed(self, reason: str) -> int:
        """A label for positions that can't go away, for this reason, at the running line of code."""
        place = self.place
        self.record.locks.append(Lock(reason, str(place.shown) if place else None))
        return -len(self.record.locks)

    @property
    def place(self) -> Place | None:
        """Where the model's code is at the running operator."""
        if not self._place:
            self._place = (running_place(),)
        return self._place[0]

    def lock(self, ids: Tensor, reason: str) -> None:
        """No channel of these slots can be cut."""
        if ids.numel():
            self.record.locked.append((self._each_once(ids), -1 - self.fixed(reason)))

    def _each_once(self, ids: Tensor) -> Tensor:
        """Flat; without repetitions where there must be many."""
        return distinct_ids(ids) if ids.numel() > self.record.size else ids.reshape(-1)

    def lock_label(self, label: Tensor, dims: Dims, reason: str) -> None:
        self.lock(compact(label, dims), reason)

    def lock_all(self, tensors: list[Tensor], reason: str) -> None:
        for tensor in tensors:
            for dims, label in self.labels(tensor).items():
                self.lock_label(label, dims, reason)

    def tie(self, left: Tensor, right: Tensor, why: str) -> None:
        """These slots stand and fall together, pair by pair; shapes broadcast. A fixed label locks its partner."""
        if left is right:
            return
        if left.shape != right.shape:
            left, right = torch.broadcast_tensors(left, right)
        place = self.place
        self.record.ties.append(Tie(left.reshape(-1), right.reshape(-1), why, place.shown if place else None))

    def is_tied(self, slots: Tensor) -> bool:
        """Whether any of these slots is tied to another one."""
        return any(bool(torch.isin(side, slots).any()) for tie in self.record.ties for side in tie[:2])

    def block(self, rows: Tensor, why: str) -> None:
        """Equally many of the slots must stay in each row (shape: rows, slots of a row)."""
        if rows.shape[0] > 1 and not any(
            why == known.why and rows.shape == known.rows.shape and torch.equal(rows, known.rows)
            for known in self.record.blocks[-4:]
        ):  # code that takes one row after the other says the same each time
            place = self.place
            self.record.blocks.append(Block(rows, why, place.shown if place else None))

    def heads_of(self, rows: Tensor) -> Tensor:
        """What stands for each row (shape: rows, places) of a tensor whose places are summed over: the slot of a head,
        so that labels can follow its attention to the values. Shape: (rows,); a row that has come before has its own.

        A row with a position that can't go away is named by that.
        """
        fixed = rows.amin(1)
        keys = [(int(row[0]), int(row[-1]), len(row)) for row in rows]
        new = [key for key, low in zip(keys, fixed.tolist(), strict=True) if low >= 0 and key not in self._heads]
        if new := list(dict.fromkeys(new)):
            name, _ = self.running_part()
            first = f"{name}.(heads" if name else "(heads"
            number = sum(axis.tensor.startswith(first) for axis in self.record.axes)
            axis = self.add_axis(f"{first}{f' {number + 1}' if number else ''})", 0, len(new))
            self._heads.update(zip(new, range(axis.first, axis.first + axis.size), strict=True))
        heads = [self._heads.get(key, low) for key, low in zip(keys, fixed.tolist(), strict=True)]
        found = torch.where(fixed < 0, fixed, torch.tensor(heads))
        self.note_heads(rows, found)
        return found

    def note_heads(self, rows: Tensor, heads: Tensor) -> None:
        """Whole rows (shape: rows, places) go with `heads` (shape: rows), or evenly many places of each row."""
        if rows.shape[1] > 1:
            self.block(rows, HEADS)
        self.record.head_rows.append(HeadRows(rows, heads, -1 - self.fixed(ONE_WITH_SEVERAL)))

    def produce(self, axis: Axis | None, layer: str) -> None:
        """These slots are the outputs of a layer with weights."""
        if axis is None:
            return
        if axis.first not in self._producer_slots:
            self._producer_slots.add(axis.first)
            self.record.producers.append(axis)
        layers = self.record.producing.setdefault(axis.first, [])
        if layer not in layers:
            layers.append(layer)
        if layer not in self.record.places and self.place is not None:
            self.record.places[layer] = self.place.shown

    def note_sum(self, ids: Tensor) -> None:
        """Two layers' outputs are added: these channels belong to a residual stream."""
        place = self.place
        self.record.sums.append((ids.reshape(-1), str(place.shown) if place else None))

    def statistic(self, ids: Tensor, operator: str) -> None:
        """An operator computes a statistic over these slots: what is left of it changes with a cut."""
        self.record.statistics.setdefault(operator, []).append(self._each_once(ids))

    def running_part(self) -> tuple[str | None, nn.Module | None]:
        """The module whose forward runs innermost, and its name; None for one that isn't part of the model."""
        module = running_module()
        return self.name_of(module), module

    def name_of(self, module: nn.Module | None) -> str | None:
        """The name of a part of the module that is run; None for any other."""
        return next((name for name, part in self._parts if part is module), None)

    def note_bare_norm(self, labels: Labels, first: int) -> None:
        """What runs may be a norm without any tensor of its own, over the dimensions from `first` of what has these
        labels."""
        name, module = self.running_part()
        if name is not None and module is not None and not [*module.parameters(), *module.buffers()]:
            self.record.bare_norms[name] = {
                dims[0] - first: compact(label, dims)
                for dims, label in labels.items()
                if len(dims) == 1 and dims[0] >= first
            }

    def scale(self, ids: Tensor, factor: float) -> None:
        """These slots' values are multiplied with a number that the model's code has computed."""
        self.record.scalings.append(Scaling(float(factor), ids.reshape(-1)))

    def note_positions(self, tensor: Tensor, ids: Tensor, operator: str) -> None:
        """The values of a tensor are positions among these slots; where something reads them, no slot can be cut."""
        self._carried.note(tensor).positions = Positions(ids, operator)

    def fixes_size(self, ids: Tensor) -> None:
        """The running line of code names sizes; if it turns out to be hard-coded, these slots can't be cut."""
        place = self.place
        if place is not None:
            self.record.sites.setdefault(place.exact, []).append(self._each_once(ids))

    def note_view(self, out: Tensor, slots: Sequence[Tensor]) -> None:
        """A tensor that carries these slots was reshaped to `out`."""
        place = self.place
        labels, carried = dict(self.labels(out)), tuple(map(self._each_once, slots))
        where = place.shown if place else None
        self.record.views.append(View(where, tuple(out.shape), labels, carried, len(self.record.calls)))

    def unlabelled_reason(self, tensor: Any) -> str:
        entry = self._carried.get(id(tensor))
        if entry is not None and entry.is_input:
            return MODEL_INPUT
        if isinstance(running_module(), (nn.RNNBase, nn.RNNCellBase)):
            return RECURRENT
        return "meets values of a fixed size that no layer puts out"

    def own_grouped_axis(self, tensor: Tensor) -> Axis | None:
        """The per-group axis of a grouped convolution's weight, where this is one."""
        return self._grouped_axes.get((self.leaf(tensor) or "", 1)) if self._grouped_axes else None

    def sources(self, tensors: list[Tensor]) -> frozenset[str] | None:
        """The parameters and buffers that tensors are computed from; None where something else goes in."""
        entries = [self._carried.get(id(tensor)) for tensor in tensors]
        found = [entry.derived.sources for entry in entries if entry is not None and entry.derived is not None]
        return frozenset().union(*found) if len(found) == len(tensors) > 0 else None

    def _alike(self, tensor: Tensor) -> frozenset[int]:
        entry = self._carried.get(id(tensor))
        return frozenset() if entry is None else entry.alike

    def is_alike(self, tensor: Tensor, dims: Iterable[int]) -> bool:
        """Whether a tensor has the same values all along these dimensions, so that it doesn't matter which of them
        meet what."""
        return alike_of(tensor, self._carried).issuperset(dims)

    def free_label(self, tensor: Tensor, dim: int) -> Tensor | None:
        """A label of its own for one dimension of a tensor whose values are the same along it: where others don't
        say how wide that is, the code does."""
        entry = self._carried.get(id(tensor))
        if entry is None or tensor.shape[dim] < 2 or (dim not in entry.alike and dim not in entry.free):
            return None
        if dim not in entry.free:
            free = FreeSize(self.record.size, tensor.shape[dim], entry.made_at)
            self.record.size += free.size
            self.record.free.append(free)
            entry.free[dim] = spread(torch.from_numpy(free.slots), (dim,), tensor.shape)
        return entry.free[dim]

    def guess(self, free: Tensor, other: Tensor, dim: int) -> None:
        """The free size of one label may have been read off a tensor that carries the other."""
        ids, others = compact(free, (dim,)), compact(other, (dim,))
        number = next((n for n, known in enumerate(self.record.free) if known.first == int(ids[0])), None)
        if number is not None and bool((others >= 0).all()):
            self.record.guesses.append(Guess(ids, others, number))

    def factor_of(self, call: Call, tensor: Tensor) -> float | None:
        """The number that a call multiplies a tensor with; None where it does anything else or it isn't known."""
        name = call.name.rstrip("_")
        factor = call.arg("other") if call.arg("self") is tensor else call.arg("self")
        if name not in ("mul", "div") or (name == "div" and call.arg("self") is not tensor):
            return None
        if isinstance(factor, Tensor):
            entry = self._carried.get(id(factor))
            of_data = entry is not None and (entry.computed or entry.is_input or entry.hollow or entry.derived)
            if factor.dim() or factor.is_complex() or factor.is_meta or of_data:
                return None
            factor = float(factor)
        if not isinstance(factor, (int, float)) or not factor:
            return None
        return factor if name == "mul" else 1 / factor

    def note_contracted(self, tensor: Tensor, ids: Tensor, *, squared: bool) -> None:
        """A tensor sums up products whose first factor carries these slots; `squared`: so does the second."""
        self._carried.note(tensor).contracted = Contracted(ids, squared)


def _name_the_same(ids: Tensor, others: Tensor) -> bool:
    """Whether two labels of the same shape tell the same positions apart: each slot of one stands beside one only."""
    both = torch.stack([ids.reshape(-1), others.reshape(-1)])
    pairs = torch.unique(both, dim=1).shape[1]
    return pairs == torch.unique(both[0]).numel() == torch.unique(both[1]).numel()


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
