"""Which line of the model's code makes a group's blocks what they are, or its channels one."""

from collections.abc import Callable

import numpy as np

from tui_prune.graph.cells import Families, Rows, families_of
from tui_prune.graph.classes import Classes, are_heads, channel_rows, components
from tui_prune.graph.model_code import Line
from tui_prune.graph.record import Axis, TraceRecord


def line_of_blocks(
    record: TraceRecord,
    sorted_classes: Classes,
    channels: np.ndarray,
    parts: list[np.ndarray],
    test: Callable[[Families], bool],
) -> str | None:
    """The line of the first block with which the cells of a group pass a test, since those before didn't."""
    mine = np.zeros(sorted_classes.channels, bool)
    mine[channels] = True
    blocks: list[tuple[Rows, Line | None]] = []
    for block in record.blocks:
        blocks.append(((channel_rows(block.rows.numpy(), sorted_classes.channel), block.why), block.where))
    for i, grouped in enumerate(record.grouped):
        if i not in sorted_classes.whole:
            for side in (grouped.inputs, grouped.outputs):
                blocks.append(
                    (
                        (channel_rows(side.numpy(), sorted_classes.channel), grouped.kind),
                        record.places.get(grouped.layer),
                    )
                )
    seen: list[Rows] = []
    for (slots, why), line in blocks:
        if not mine[slots[slots >= 0]].any() or are_heads(slots, sorted_classes):
            continue
        seen.append((slots, why))
        if test(families_of(channels, seen, parts, sorted_classes.channels)):
            return None if line is None else str(line)
    return None


def joining_line(record: TraceRecord, sorted_classes: Classes, axis: Axis) -> str | None:
    """The line of the tie with which the outputs of a layer become one channel; of the grouped convolution or norm that
    takes them whole, where ties alone don't do it."""
    channel = sorted_classes.channel[axis.first]
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    lines: list[Line | str | None] = []
    for tie in record.ties:
        left, right = tie.left.numpy(), tie.right.numpy()
        inside = sorted_classes.channel[left] == channel
        if inside.any():
            pairs.append((left[inside], right[inside]))
            lines.append(tie.where)
    for i in sorted(sorted_classes.whole):
        grouped = record.grouped[i]
        for side in (grouped.inputs, grouped.outputs):
            slots = side.numpy()
            if sorted_classes.channel[slots[0, 0]] == channel:
                pairs.append((np.repeat(grouped.inputs[:, 0].numpy(), slots.shape[1]), slots.reshape(-1)))
                lines.append(record.places.get(grouped.layer))
    for i in sorted(sorted_classes.whole_heads):
        rows = record.head_rows[i]
        both = np.concatenate([rows.heads.numpy()[:, None], rows.rows.numpy()], 1)
        both = both[(both >= 0).all(1)]
        if len(both) and sorted_classes.channel[both[0, 0]] == channel:
            pairs.append((np.repeat(both[:, 0], both.shape[1]), both.reshape(-1)))
            lines.append(record.locks[rows.lock].where)
    low, high = 0, len(pairs)  # the first `low` don't join them all, the first `high` do
    while high - low > 1:
        middle = (low + high) // 2
        of_slot = components(record.size, pairs[:middle])[1]
        low, high = (low, middle) if len(np.unique(of_slot[axis.slots])) == 1 else (middle, high)
    return str(lines[high - 1]) if high and lines[high - 1] is not None else None
