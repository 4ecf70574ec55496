"""Replay: trace the cut module, prove that its graph is a quotient of the original's, and order its columns by it."""

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.graph.classes import atoms, axis_signatures
from tui_prune.graph.graph import Graph
from tui_prune.graph.record import GROUPED_CONVOLUTION, Axis, Grouped, TraceRecord
from tui_prune.surgery.correspondence import FIXED, Correspondence, Slots
from tui_prune.surgery.surgery import CutTensors


class ReplayMismatch(Exception):
    """The cut module doesn't do what the original does with its kept channels."""

    def __init__(self, what: str, slots: np.ndarray, step: int | None = None) -> None:
        super().__init__(what)
        self.slots = slots
        """Of the original, involved."""
        self.step = step
        """The call in the cut module's pass that shows it, where it is known."""


Key = tuple[str, int, bool]
UNKNOWN = -2


class Replay:
    """Compares the trace of a cut module with the original's, and reorders what arrives in another order."""

    def __init__(self, graph: Graph, keep: np.ndarray, cut: CutTensors, record: TraceRecord) -> None:
        self._graph = graph
        self._keep = keep
        self._original = graph.classes.atom
        self._uneven = np.zeros(int(self._original.max(initial=-1)) + 1, bool)
        """For each atom of the original, whether it belongs to an uneven group."""
        for group in graph.groups:
            if any(flow.is_seen for flow in group.flows):
                self._uneven[self._original[np.isin(graph.classes.channel, group.channels)]] = True
        self._signatures: tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]] | None = None
        self._cut = cut
        self._record = record
        self._atom = atoms(record, graph.record, graph.findings.fixed_sizes)
        self._meaning = np.full(int(self._atom.max(initial=-1)) + 1, UNKNOWN)
        """For each atom of the cut module, the atom of the original that it is."""
        self._convolutions = [grouped for grouped in record.grouped if grouped.kind == GROUPED_CONVOLUTION]
        self._grouped = {int(g.outputs.reshape(-1)[0]): g for g in self._convolutions}
        self._per_group = {axis.first: axis for axis in record.axes if axis.groups > 1}
        self.reordered: dict[Key, np.ndarray] = {}
        """For each axis whose order changes, the new order of its present positions."""

    def prove(self) -> None:
        """Raises `ReplayMismatch` where the cut graph is no quotient of the original's."""
        producers = set()
        for axis in self._record.producers:
            producers.add(axis.first)
            if axis.groups == 1:
                self._take_producer(axis)
        for grouped in self._convolutions:
            self._order_columns(grouped)
        for axis in self._record.axes:
            if axis.first not in producers and (axis.groups == 1 or self._is_new(axis)):
                self._take_follower(axis)
        self._compare_passes()

    def _is_new(self, axis: Axis) -> bool:
        """Whether nothing that was taken before says what lies on an axis."""
        return bool((self._meaning[self._atom[axis.slots]] == UNKNOWN).all())

    def _compare_passes(self) -> None:
        """Each tensor on the way must hold the channels that stay, in the rows of the original."""
        after = self._slots_after()
        before = self._slots_before(after)
        found = Correspondence(self._graph.record, self._record, before, after, self._uneven).difference()
        if found is not None:
            raise ReplayMismatch("channels are dealt out in other rows than before", found.slots, found.step)

    def _slots_before(self, after: Slots) -> Slots:
        record = self._graph.record
        loose_keys = {self._cut_key(axis) for axis in self._record.axes if after.loose[axis.slots].any()}
        channel = self._original.astype(np.int64)
        loose = np.zeros(record.size, bool)
        for axis in record.axes:
            kept = self._cut.kept.get(self._cut_key(axis))
            if kept is None or self._cut_key(axis) in loose_keys:
                loose[axis.slots] = True
            elif kept.size == 1:
                channel[kept.reshape(-1)] = FIXED
        return Slots(channel, self._keep[self._graph.classes.channel], loose)

    def _slots_after(self) -> Slots:
        size = self._record.size
        channel = self._meaning[self._atom].astype(np.int64) if size else np.zeros(0, np.int64)
        loose = np.ones(size, bool)
        for axis in self._record.axes:
            if self._is_mapped(axis):
                loose[axis.slots] = channel[axis.slots] == UNKNOWN
        for free in self._record.free:
            loose[free.slots] = channel[free.slots] == UNKNOWN
        return Slots(channel, np.ones(size, bool), loose)

    def _slots(self, axis: Axis) -> np.ndarray:
        return self._cut.kept[axis.tensor, axis.dim, axis.groups > 1].reshape(-1)

    def _is_mapped(self, axis: Axis) -> bool:
        kept = self._cut.kept.get((axis.tensor, axis.dim, axis.groups > 1))
        return kept is not None and kept.size == axis.size

    def _take_producer(self, axis: Axis) -> None:
        """A producer's outputs say what the atoms of the cut module are, in execution order."""
        if not self._is_mapped(axis):
            raise ReplayMismatch(f"{axis.tensor} came out in another size than planned", self._all_slots(axis))
        grouped = self._grouped.get(axis.first)
        if grouped is not None and max(grouped.inputs.shape[1], grouped.outputs.shape[1]) > 1:
            self._order_groups(axis, grouped)
        places = self._atom[axis.slots]
        have = self._original[self._slots(axis)]
        known = self._meaning[places]
        if (known == UNKNOWN).all():
            have = self._deal_out(axis, places, have)
            self._meaning[places] = have
            if (self._meaning[places] != have).any():
                raise ReplayMismatch(f"{axis.tensor} ties channels that were apart", self._slots(axis))
            return
        if (known == UNKNOWN).any():
            fixed = known != UNKNOWN
            if (known[fixed] != have[fixed]).any():
                raise ReplayMismatch(f"{axis.tensor} meets other channels than before", self._slots(axis))
            self._meaning[places] = have
            return
        self._reorder(axis, known, have)

    def _deal_out(self, axis: Axis, places: np.ndarray, have: np.ndarray) -> np.ndarray:
        """Of an uneven group, put each kept channel where the code makes it run through the same axes as before."""
        if not self._uneven[have].any():
            return have
        if self._signatures is None:
            numbers = {(a.tensor, a.dim, a.groups > 1): n for n, a in enumerate(self._graph.record.axes)}
            own = [numbers[self._cut_key(a)] for a in self._record.axes]
            cut = axis_signatures(self._record.axes, self._atom)
            self._signatures = (
                axis_signatures(self._graph.record.axes, self._original),
                {atom: tuple(sorted(own[n] for n in signature)) for atom, signature in cut.items()},
            )
        before, after = self._signatures
        number = {signature: n for n, signature in enumerate(dict.fromkeys(before.values()))}
        want = [number.get(after[atom], UNKNOWN) for atom in places.tolist()]
        order = matching(want, [number[before[atom]] for atom in have.tolist()])
        if order is None:
            raise ReplayMismatch(f"{axis.tensor} is dealt out in another way than planned", self._slots(axis))
        if (order != np.arange(len(order))).any():
            self._set_order(axis, order)
        return have[order]

    def _take_follower(self, axis: Axis) -> None:
        if not self._is_mapped(axis):
            return
        known = self._meaning[self._atom[axis.slots]]
        have = self._original[self._slots(axis)]
        fixed = known != UNKNOWN
        if fixed.all():
            self._reorder(axis, known, have)
        elif (known[fixed] != have[fixed]).any():
            raise ReplayMismatch(f"{axis.tensor} meets other channels than before", self._slots(axis))
        else:
            self._meaning[self._atom[axis.slots]] = have
            if (self._meaning[self._atom[axis.slots]] != have).any():
                raise ReplayMismatch(f"{axis.tensor} ties channels that were apart", self._slots(axis))

    def _reorder(self, axis: Axis, want: np.ndarray, have: np.ndarray) -> None:
        if (want == have).all():
            return
        if self._cut_key(axis) in self.reordered:
            raise ReplayMismatch(f"{axis.tensor} is wanted in two orders", self._slots(axis))
        grouped = self._grouped.get(axis.first)
        order = matching(want, have)
        if order is None:
            raise ReplayMismatch(f"{axis.tensor} gets other channels than before", self._slots(axis))
        if grouped is not None and grouped.outputs.shape[1] > 1:
            rows = np.arange(axis.size) // grouped.outputs.shape[1]
            if (rows[order] != rows).any():
                raise ReplayMismatch(f"{axis.tensor} gets channels of other groups than before", self._slots(axis))
        self._set_order(axis, order)

    def _order_groups(self, axis: Axis, grouped: Grouped) -> None:
        """After a shuffle the groups' inputs may arrive in another order of groups: move the groups along."""
        source = self._per_group_axis(grouped)
        if source is None or not self._is_mapped(source):
            return
        want = self._meaning[self._atom[grouped.inputs.numpy()]]
        have = self._original[self._cut.kept[source.tensor, source.dim, True]]
        if (want == UNKNOWN).any() or (np.sort(want, 1) == np.sort(have, 1)).all():
            return
        rows = {tuple(sorted(row)): g for g, row in enumerate(have.tolist())}
        order = [rows.get(tuple(sorted(row))) for row in want.tolist()]
        if None in order or len(set(order)) != len(order):
            raise ReplayMismatch(f"{axis.tensor} gets channels of other groups than before", self._slots(source))
        size = grouped.outputs.shape[1]
        numbers = np.array(order, np.int64)
        self._set_order(axis, (numbers[:, None] * size + np.arange(size)).reshape(-1))
        key = source.tensor, source.dim, True
        self._cut.kept[key] = self._cut.kept[key][numbers]

    def _order_columns(self, grouped: Grouped) -> None:
        """Within each group, columns in the order in which the inputs arrive."""
        axis = self._per_group_axis(grouped)
        if axis is None or axis.size == axis.groups or not self._is_mapped(axis):
            return
        key = axis.tensor, axis.dim, True
        slots = axis.slots.reshape(axis.groups, -1)
        want, have = self._meaning[self._atom[slots]], self._original[self._cut.kept[key]]
        if (want == UNKNOWN).any() or (want == have).all():
            return
        orders = [matching(w, h) for w, h in zip(want, have, strict=True)]
        if any(order is None for order in orders):
            raise ReplayMismatch(f"{axis.tensor} gets other channels than before", self._slots(axis))
        order = np.stack([o for o in orders if o is not None])
        self.reordered[key] = order
        self._cut.kept[key] = np.take_along_axis(self._cut.kept[key], order, 1)

    def _per_group_axis(self, grouped: Grouped) -> Axis | None:
        firsts = (int(side.reshape(-1)[0]) for side in (grouped.inputs, grouped.outputs))
        return next((self._per_group[first] for first in firsts if first in self._per_group), None)

    def _cut_key(self, axis: Axis) -> Key:
        return axis.tensor, axis.dim, axis.groups > 1

    def _set_order(self, axis: Axis, order: np.ndarray) -> None:
        key = self._cut_key(axis)
        self.reordered[key] = order
        self._cut.kept[key] = self._cut.kept[key][order]

    def _all_slots(self, axis: Axis) -> np.ndarray:
        kept = self._cut.kept.get(self._cut_key(axis))
        return np.zeros(0, np.int64) if kept is None else kept.reshape(-1)


def matching(want: Sequence[int] | np.ndarray, have: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """The order that makes `have` equal `want`, equal values in their present order; None if they differ as bags."""
    if len(want) != len(have):
        return None
    places: dict[int, deque[int]] = defaultdict(deque)
    for place, value in enumerate(np.asarray(have).tolist()):
        places[value].append(place)
    order = []
    for value in np.asarray(want).tolist():
        if not places[value]:
            return None
        order.append(places[value].popleft())
    return np.array(order, np.int64)


def apply_order(module: nn.Module, reordered: dict[Key, np.ndarray]) -> None:
    """Reorder the tensors of a cut module as a replay says."""
    if not reordered:
        return
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    for key, order in reordered.items():
        tensor = tensors[key[0]]
        tensor.data = reordered_along(tensor.data, key, order)


def reordered_along(tensor: Tensor, key: Key, order: np.ndarray) -> Tensor:
    """A tensor in another order along one of its axes; group by group along a grouped weight's per-group axis."""
    _, dim, per_group = key
    if not per_group:
        return tensor.index_select(dim, torch.from_numpy(order).to(tensor.device))
    parts = tensor.reshape(len(order), -1, *tensor.shape[1:])
    columns = [part.index_select(1, torch.from_numpy(o).to(part.device)) for part, o in zip(parts, order, strict=True)]
    return torch.cat(columns).reshape(tensor.shape)
