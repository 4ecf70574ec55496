"""The scales of batch norms: of the whole network, or of what a layer's channels run through."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from tui_prune.graph.record import BATCH_NORM, LayerUse
from tui_prune.planning.plan import Plan


class NormScales(NamedTuple):
    """|scale| of every channel of some batch norms, and whether it stays."""

    layers: tuple[str, ...]
    values: np.ndarray
    kept: np.ndarray


def norm_scales(model: nn.Module, plan: Plan, path: str) -> NormScales | None:
    """The scales of the batch norms in a module ("": the network), or of the one over a layer's outputs.

    None where there are none.
    """
    record, group = plan.graph.record, plan.graph.group_of(path)
    norms = {name: use for name, use in record.layers.items() if use.kind == BATCH_NORM}
    inside = [name for name in norms if not path or name == path or name.startswith(f"{path}.")]
    if not inside and group is not None:
        over = [member.layer for member in group.members if member.layer in norms]
        inside = _nearest(over, list(record.layers), path)
    return _scales(model, plan, [norms[name] for name in inside])


STEPS = 50
"""Steps in which a threshold passes all of some scales, about."""


def next_threshold(scales: np.ndarray, now: float | None, by: int) -> float | None:
    """The threshold that so many steps (up: 1, 2 ..., down: -1 ...) more of some scales are below; never all of them.

    None where none would be.
    """
    ordered = np.sort(scales[np.isfinite(scales)])
    if not len(ordered):
        return now
    below = 0 if now is None else int(np.searchsorted(ordered, now))
    wanted = min(below + by * max(1, round(len(ordered) / STEPS)), len(ordered) - 1)
    if wanted <= 0:
        return None
    if by > 0:  # past scales that are all the same
        wanted = min(int(np.searchsorted(ordered, ordered[wanted - 1], side="right")), len(ordered) - 1)
    low, high = float(ordered[wanted - 1]), float(ordered[wanted])
    short = float(f"{(low + high) / 2:.3g}")
    found = short if low < short <= high else high
    return found if found > ordered[0] else None


def _nearest(norms: list[str], order: list[str], layer: str) -> list[str]:
    """Of the norms over a layer's channels the first that runs after it."""
    after = [name for name in norms if order.index(name) > order.index(layer)]
    return after[:1] or norms[:1]


def _scales(model: nn.Module, plan: Plan, norms: Iterable[LayerUse]) -> NormScales | None:
    names, values, kept = [], [], []
    for use in norms:
        scale = getattr(model.get_submodule(use.name), "weight", None)
        if not isinstance(scale, Tensor):
            continue
        names.append(use.name)
        values.append(scale.detach().abs().float().cpu().numpy())
        channels = None if use.outputs is None else plan.graph.classes.channel[use.outputs.numpy()]
        kept.append(np.ones(len(scale), bool) if channels is None else plan.keep[channels])
    return NormScales(tuple(names), np.concatenate(values), np.concatenate(kept)) if names else None
