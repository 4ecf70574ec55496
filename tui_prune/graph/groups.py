"""Makes the groups of a channel graph from the classes of a trace: their blocks, cells, locks and members."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tui_prune.graph.cells import Families, Rows, families_of, in_common_units, parts_by_producer, signature_cells
from tui_prune.graph.classes import (
    Classes,
    are_heads,
    channel_rows,
    components,
    locked_channels,
)
from tui_prune.graph.even_counts import even_flows
from tui_prune.graph.findings import Findings, Flow
from tui_prune.graph.graph import Graph, Group, Layer, Member
from tui_prune.graph.lines import joining_line, line_of_blocks
from tui_prune.graph.record import (
    FEEDS,
    RESHAPED,
    Axis,
    LayerUse,
    Lock,
    LockKind,
    TraceRecord,
    slot_numbers,
)
from tui_prune.graph.units import Units

UNEVEN = "its blocks are of unequal size"
SINGLE = "has a single channel"
ALONE = "each of its blocks has a single channel, which must stay"

TOGETHER = "its channels can only go all together"

UNSEEN = "the example input leaves nothing of it, so what it is for isn't seen"

LINKED = "attention at its input's width"


def graph_of(
    record: TraceRecord, sorted_classes: Classes, units: Units, findings: Findings, *, solving: bool = False
) -> Graph:
    """The graph of these classes. `solving`: also where rows have no common unit (`even_counts`)."""
    blocks = _blocks(record, sorted_classes)
    group_of_channel, members = _form_groups(record, sorted_classes, blocks, findings.links)
    locks = _Locks(record, sorted_classes, findings)
    uses = {name: _Use.of(use, sorted_classes.channel, group_of_channel) for name, use in record.layers.items()}
    tied_layers = _members(record, uses)
    producers = _producers(record, sorted_classes, group_of_channel)
    sums: dict[int, str] = {}
    for ids, where in record.sums:
        for group in distinct(group_of_channel[sorted_classes.channel[slot_numbers([ids])]]):
            sums.setdefault(group, f" ({where})" if where else "")
    linked = {int(group_of_channel[sorted_classes.channel[slots[0]]]) for slots in findings.links}
    block_rows: dict[int, list[Rows]] = defaultdict(list)
    for rows, why in blocks:
        for group in np.unique(group_of_channel[rows[rows >= 0]]):
            block_rows[int(group)].append((rows, why))

    groups: list[Group] = []
    numbers: dict[int, int] = {}
    for group in sorted(producers, key=lambda g: producers[g][0][0]):
        axes = [axis for _, axis in producers[group]]
        numbers[group] = len(groups)
        groups.append(
            _make_group(
                len(groups),
                members[group],
                axes,
                sorted_classes,
                block_rows[group],
                locks,
                sums.get(group),
                tied_layers.get(group, ()),
                record,
                group in linked,
                dict(findings.flows).get(axes[0].first, ()),
                solving,
            )
        )
    shared = record.second_names
    layers = tuple(_make_layer(use, uses[name], numbers, shared.get(name)) for name, use in record.layers.items())
    return Graph(record, sorted_classes, tuple(groups), layers, units, findings)


def _blocks(record: TraceRecord, sorted_classes: Classes) -> list[Rows]:
    """All blocks as rows of channels, those of grouped convolutions and norms that are cut evenly included."""
    found = [
        (channel_rows(block.rows.numpy(), sorted_classes.channel), block.why)
        for block in record.blocks
        if block.why != RESHAPED or not _is_row_for_row(block.rows.numpy(), sorted_classes.atom)
    ]
    if sorted_classes.whole_heads:
        found = [(rows, why) for rows, why in found if not are_heads(rows, sorted_classes)]
    for i, grouped in enumerate(record.grouped):
        if i not in sorted_classes.whole:
            for side in (grouped.inputs, grouped.outputs):
                found.append((channel_rows(side.numpy(), sorted_classes.channel), grouped.kind))
    return found


def _is_row_for_row(rows: np.ndarray, atom: np.ndarray) -> bool:
    """Whether all of each row is one position of the data: evenly many could only mean all, so it is the number of rows
    that must follow a cut."""
    return rows.shape[1] > 1 and bool((rows >= 0).all()) and bool((atom[rows] == atom[rows[:, :1]]).all())


def _form_groups(
    record: TraceRecord, sorted_classes: Classes, blocks: list[Rows], links: Sequence[np.ndarray]
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The group of each channel (-1: none): channels that a producer or a block holds together."""
    count = sorted_classes.channels
    produced = np.zeros(count, bool)
    pairs = []
    for n, axis in enumerate(record.producers):
        own = sorted_classes.channel[axis.slots]
        produced[own] = True
        pairs.append((own, np.full(len(own), count + n)))
    together = [np.unique(rows[rows >= 0]) for rows, _ in blocks] + [sorted_classes.channel[slots] for slots in links]
    for n, own in enumerate(together):
        pairs.append((own, np.full(len(own), count + len(record.producers) + n)))
    _, component = components(count + len(record.producers) + len(together), pairs)
    group_of_channel = np.where(produced, component[:count], -1)
    members: dict[int, np.ndarray] = {}
    channels = np.flatnonzero(produced)
    order = channels[np.argsort(group_of_channel[channels], kind="stable")]
    numbers, starts = np.unique(group_of_channel[order], return_index=True)
    for number, start, end in zip(numbers, starts, np.append(starts[1:], len(order))[: len(numbers)], strict=True):
        members[int(number)] = order[start:end]
    return group_of_channel, members


def _producers(
    record: TraceRecord, sorted_classes: Classes, group_of_channel: np.ndarray
) -> dict[int, list[tuple[int, Axis]]]:
    found: dict[int, list[tuple[int, Axis]]] = defaultdict(list)
    for n, axis in enumerate(record.producers):
        found[int(group_of_channel[sorted_classes.channel[axis.first]])].append((n, axis))
    return found


class _Locks:
    """The locks by channel."""

    def __init__(self, record: TraceRecord, sorted_classes: Classes, findings: Findings) -> None:
        count = sorted_classes.channels
        self.any = np.zeros(count, bool)
        self.inside = np.zeros(count, bool)
        self.by_channel: dict[int, list[Lock]] = defaultdict(list)
        held = [
            (record.locks[lock], channels)
            for lock, channels in locked_channels(record, sorted_classes.channel, sorted_classes.whole_heads).items()
        ]
        held += [(lock, np.unique(sorted_classes.channel[slots])) for slots, lock in findings.locks]
        unseen = np.setdiff1d(_unseen(record, sorted_classes), np.concatenate([[-1], *(own for _, own in held)]))
        held += [(Lock(UNSEEN), unseen)] if len(unseen) else []
        for lock, channels in held:
            self.any[channels] = True
            if not lock.is_output:
                self.inside[channels] = True
        self.held = held

    def of(self, channels: np.ndarray) -> list[Lock]:
        """The locks of some of these channels, each once; those of all outputs of the model are one."""
        mine = np.zeros(len(self.any), bool)
        mine[channels] = True
        found = dict.fromkeys(lock for lock, held in self.held if mine[held].any())
        outputs = tuple(dict.fromkeys(name for lock in found for name in lock.outputs))
        return list(dict.fromkeys(replace(lock, outputs=outputs) if lock.is_output else lock for lock in found))


def _unseen(record: TraceRecord, sorted_classes: Classes) -> np.ndarray:
    """Channels that end in a tensor without elements: code that would read it may not have run (a loop over finds)."""
    if not record.without_elements:
        return np.zeros(0, np.int64)
    read = [part for tie in record.ties if tie.why == FEEDS for part in (tie.left, tie.right)]
    without_elements, fed = (sorted_classes.channel[slot_numbers(parts)] for parts in (record.without_elements, read))
    return np.setdiff1d(without_elements, fed)


def _make_group(
    index: int,
    channels: np.ndarray,
    axes: list[Axis],
    sorted_classes: Classes,
    blocks: list[Rows],
    locks: _Locks,
    summed: str | None,
    members: Sequence[Member],
    record: TraceRecord,
    linked: bool,
    flows: tuple[Flow, ...],
    solving: bool,
) -> Group:
    outputs = [_Outputs.of(axis, channels, sorted_classes) for axis in axes]
    shares = _shares(outputs)
    parts = parts_by_producer(shares, len(channels))
    families = (
        (signature_cells(sorted_classes.signatures, channels),)
        if flows
        else in_common_units(
            families_of(channels, blocks, parts, sorted_classes.channels), channels, blocks, sorted_classes.channels
        )
    )
    if solving and not flows and are_uneven(families):
        made = [sorted_classes.channel[axis.slots] for axis in axes]
        solved = even_flows(families, channels, blocks, made, sorted_classes.channels)
        if solved is not None:
            families, flows = (solved[0],), solved[1]
    locked, inside = locks.any[channels].copy(), locks.inside[channels].copy()
    reasons = locks.of(channels) if locked.any() else []
    for cells in families:
        if len({len(cell) for cell in cells}) > 1 and not flows:
            for cell in cells:
                locked[cell] = inside[cell] = True
            where = line_of_blocks(record, sorted_classes, channels, parts, are_uneven)
            why = f"{UNEVEN} ({', '.join(sorted({why for _, why in blocks}))})"
            reasons.append(Lock(why, where, kind=LockKind.UNEVEN))
    if len(channels) > 1 and not flows and not locked.all() and _are_alone(families):
        locked[:] = inside[:] = True
        where = line_of_blocks(record, sorted_classes, channels, parts, _are_alone)
        reasons.append(Lock(f"{ALONE} ({', '.join(sorted({why for _, why in blocks}))})", where))
    if len(channels) == 1:
        locked[:] = inside[:] = True
        one = axes[0].size == 1
        reasons.append(Lock(SINGLE) if one else Lock(TOGETHER, joining_line(record, sorted_classes, axes[0])))
    layers = tuple(dict.fromkeys(layer for axis in axes for layer in record.producing[axis.first]))
    proper = [name for name in layers if name in record.layers and not record.layers[name].depthwise] if layers else []
    residual = summed is not None and len(proper) > 1
    if residual:
        added = f"added to the others{summed}"
        members = [replace(m, why=added) if m.role == "producer" and m.layer in proper else m for m in members]
    return Group(
        index=index,
        name=layers[0],
        layers=layers,
        own_layers=tuple(proper) or layers,
        width=axes[0].size,
        channels=channels,
        families=families,
        locked=locked,
        locked_inside=inside,
        locks=tuple(dict.fromkeys(_at_layer(lock, record, layers) for lock in reasons)),
        blocks=tuple(sorted({why for _, why in blocks} | ({LINKED} if linked else set()))),
        linked=linked,
        heads=bool(sorted_classes.heads[channels].any()) if sorted_classes.whole_heads else False,
        residual=residual,
        members=tuple(members),
        shares=shares,
        flows=flows,
        producer_widths=tuple(axis.size for axis in axes),
        slots_per_channel=tuple((own.unit, own.filled(families)) for own in outputs),
    )


def are_uneven(families: Families) -> bool:
    """Whether cells of a family have unequal sizes."""
    return any(len({len(cell) for cell in cells}) > 1 for cells in families)


def _are_alone(families: Families) -> bool:
    return all(len(cell) == 1 for cells in families for cell in cells)


def _at_layer(lock: Lock, record: TraceRecord, layers: Sequence[str]) -> Lock:
    """The lock with the line that runs the group's first layer, where nothing says a better one."""
    line = next((record.places[layer] for layer in layers if layer in record.places), None)
    return lock if lock.where is not None or line is None else replace(lock, where=str(line))


class _Outputs(NamedTuple):
    """Of one producer in a group: the positions of the channels that it puts out, and how many outputs each takes."""

    has: np.ndarray
    """For each channel of the group, whether this producer puts it out."""
    unit: int

    @classmethod
    def of(cls, axis: Axis, channels: np.ndarray, sorted_classes: Classes) -> "_Outputs":
        own = sorted_classes.channel[axis.first : axis.first + axis.size]
        unit = 1 if (own[1:] > own[:-1]).all() else int(np.gcd.reduce(np.unique(own, return_counts=True)[1]))
        has = np.zeros(sorted_classes.channels, bool)
        has[own] = True
        return cls(has[channels], unit)

    def filled(self, families: Families) -> int:
        """How many cells of a family the outputs fill."""
        if self.has.all():
            counts = [len(cells) for cells in families]
        else:
            counts = [sum(bool(self.has[cell].all()) for cell in cells) for cells in families]
        return int(np.gcd.reduce(counts)) or 1


def _shares(outputs: list[_Outputs]) -> tuple[np.ndarray, ...]:
    """The positions of the channels of each producer that doesn't put out all, each set once."""
    found = {own.has.tobytes(): np.flatnonzero(own.has) for own in outputs if not own.has.all()}
    return tuple(found.values())


class _Use(NamedTuple):
    """A layer's channels, and the groups that they belong to."""

    outputs: np.ndarray
    inputs: np.ndarray
    output_groups: list[int]
    input_groups: list[int]

    @classmethod
    def of(cls, use: LayerUse, channel: np.ndarray, group_of_channel: np.ndarray) -> "_Use":
        outputs, inputs = (
            np.zeros(0, np.int64) if slots is None else channel[slots.reshape(-1).numpy()]
            for slots in (use.outputs, use.inputs)
        )
        return cls(outputs, inputs, distinct(group_of_channel[outputs]), distinct(group_of_channel[inputs]))


def distinct(values: np.ndarray) -> list[int]:
    """The values that occur, in order; quick where there is one."""
    if len(values) and (values == values[0]).all():
        return [int(values[0])]
    return np.unique(values).tolist()


def _members(record: TraceRecord, uses: dict[str, _Use]) -> dict[int, list[Member]]:
    found: dict[int, list[Member]] = defaultdict(list)
    for name, own in uses.items():
        use = record.layers[name]
        for group in own.output_groups:
            if use.producer:
                why = "keeps its input's channels" if use.depthwise else "puts them out"
                found[group].append(Member(name, use.kind, "producer", why))
            else:
                found[group].append(Member(name, use.kind, "follower", f"{use.kind} over them"))
        if use.producer and not use.depthwise:
            for group in own.input_groups:
                found[group].append(Member(name, use.kind, "consumer", "reads them"))
    return found


def _make_layer(use: LayerUse, own: _Use, numbers: dict[int, int], same_as: str | None) -> Layer:
    mine = [group for group in own.output_groups if group >= 0]
    group = numbers.get(mine[0]) if len(mine) == 1 else None
    return Layer(use.name, use.kind, group, use.width, use.in_width, use.producer, own.outputs, own.inputs, same_as)
