"""Widths that are multiples of a number: how many channels go at a time, and which multiple is near."""

from math import gcd, lcm

import numpy as np

from tui_prune.graph.graph import Graph, Group, Layer

UNALIGNED = "can't be aligned"


def alignment_step(group: Group, align: int) -> int:
    """How many channels per cell must go at a time, for every producer's width to be a multiple of `align`."""
    return lcm(*(align // gcd(align, unit * cells) for unit, cells in group.slots_per_channel))


def linked_step(group: Group, align: int, base: int) -> int:
    """The same for a group whose cells all keep the same share, in steps of one `base`-th of each."""
    return lcm(*(align // gcd(align, width // base) for width in group.producer_widths))


def aligned(keep: int, size: int, step: int, rounding: str, least: int = 1) -> int | None:
    """The multiple of `step` that a kept count goes to: never above the size, never below one step or `least`; None:
    there is no such multiple."""
    if step == 1:
        return max(keep, least)
    down = keep // step * step
    up = down if down == keep else down + step
    if rounding == "nearest":
        chosen = up if up - keep <= keep - down else down
    else:
        chosen = up if rounding == "up" else down
    chosen = max(min(chosen, size // step * step), -(-least // step) * step, step)
    return chosen if chosen <= size else None


def why_unaligned(graph: Graph, layer: Layer, align: int) -> str:
    """Why no width of a layer and those tied to it is a multiple."""
    assert layer.group is not None
    group = graph.groups[layer.group]
    tied = [layer, *(other for other in graph.layers if other.producer and other.group == group.index)]
    narrow = next((other for other in tied if other.width < align), None)
    if narrow is not None:
        return f"{'it' if narrow is layer else narrow.name} has {narrow.width} channels"
    if len(group.families[0]) > 1:
        return f"{', '.join(group.blocks)} asks for equal blocks of {len(group.families[0][0])}"
    steps = [(other, other.width // max(len(np.unique(other.outputs)), 1)) for other in tied]
    coarse, step = max(steps, key=lambda pair: pair[1])
    whose = "its" if coarse is layer else f"{coarse.name}'s"
    return f"{whose} channels go {step} at a time"
