"""From what single layers say of channels to one score a channel."""

from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

import numpy as np
import torch

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.trace import untouched
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.criteria.evidence import Evidence, Gathered, Part

Parts = Sequence[Part]
Known = dict[tuple[str, int], np.ndarray]

NAMED = 4
"""So many layers are named where scores are combined."""

_WAYS = {"sum": "sum", "mean": "mean", "max": "largest"}


@torch.no_grad()
def score_parts(
    graph: Graph, name: str, seed: int = 0, gathered: Gathered | None = None, known: Known | None = None
) -> tuple[Parts, ...]:
    """What single layers say of every group's channels, by one criterion.

    `known` remembers what the criterion says of a weight, for other graphs of the same network.

    Raises `UsageError` for an unknown criterion or one whose calibration data is missing, `TuiPruneError` naming the
    layer whose scores aren't finite.
    """
    if name not in CRITERIA:
        raise UsageError(f"There is no criterion {name!r}; there are {', '.join(CRITERIA)}.")
    if CRITERIA[name].needs and gathered is None:
        raise UsageError(
            f"The criterion {name} needs calibration data: give a task file with a function calibration() (--task "
            "FILE.py)."
        )
    function = getattr(import_module(f"tui_prune.planning.criteria.{CRITERIA[name].file}"), name)
    gathered, known = gathered or Gathered(), {} if known is None else known
    computed = any(".parametrizations." in tensor for tensor in graph.record.shapes)
    # Reading a computed weight may update its module's buffers.
    with untouched(graph.model, graph.record.written) if computed else nullcontext(graph.model) as model:
        every = tuple(function(Evidence(graph, group, model, seed, gathered, known)) for group in graph.groups)
    for parts in every:
        for part in parts:
            if not np.isfinite(part.values).all():
                raise _not_finite(graph, name, part)
    return every


def combine_parts(
    groups: Sequence[Group], every: Sequence[Parts], name: str, combine: str = "auto", normalise: str = "none"
) -> tuple[np.ndarray | None, ...]:
    """One score for each channel of each group (float64; higher is more important), or None where a channel of the
    group has none.

    `combine` says what is made of several scores of one channel: their "sum", "mean" or "max", or ("auto") what suits
    the criterion. `normalise` makes layers comparable first: each one's scores over their "mean" or "max".
    """
    way = CRITERIA[name].combine if combine == "auto" else combine
    return tuple(
        _combined(len(group.channels), [_normalised(part, normalise) for part in parts], way)
        for group, parts in zip(groups, every, strict=True)
    )


def combination(parts: Parts, name: str, combine: str = "auto", normalise: str = "none") -> str:
    """In words, by what a group is scored: "l2", or "sum of the l2 scores of conv1 and conv2"."""
    layers = list(dict.fromkeys(part.layer for part in parts))
    made = {"none": "", "mean": ", each over its layer's mean", "max": ", each over its layer's largest"}[normalise]
    if len(layers) < 2:
        return name + made
    way = CRITERIA[name].combine if combine == "auto" else combine
    named = ", ".join(layers[:-1]) if len(layers) <= NAMED else f"{', '.join(layers[:NAMED])} and {len(layers) - NAMED}"
    last = layers[-1] if len(layers) <= NAMED else "more layers"
    joint = " and " if len(layers) <= NAMED else " "
    return f"{_WAYS[way]} of the {name} scores of {named}{joint}{last}{made}"


def score_groups(
    graph: Graph,
    name: str,
    seed: int = 0,
    *,
    combine: str = "auto",
    normalise: str = "none",
    gathered: Gathered | None = None,
) -> tuple[np.ndarray | None, ...]:
    """The scores of every group's channels by one criterion: `score_parts`, combined by `combine_parts`."""
    return combine_parts(graph.groups, score_parts(graph, name, seed, gathered), name, combine, normalise)


def _normalised(part: Part, normalise: str) -> Part:
    mine = part.values[part.places >= 0]
    if normalise == "none" or not len(mine):
        return part
    scale = float(mine.mean() if normalise == "mean" else mine.max())
    return part._replace(values=part.values / scale) if scale > 0 else part


def _combined(size: int, parts: Parts, way: str) -> np.ndarray | None:
    counts = np.zeros(size)
    total = np.full(size, -np.inf) if way == "max" else np.zeros(size)
    for part in parts:
        mine = part.places >= 0
        np.add.at(counts, part.places[mine], 1)
        (np.maximum if way == "max" else np.add).at(total, part.places[mine], part.values[mine])
    if not counts.all():
        return None
    return total / counts if way == "mean" else total


def _not_finite(graph: Graph, name: str, part: Part) -> TuiPruneError:
    prefix = f"{part.layer}."
    own = [tensor for key, tensor in graph.model.named_parameters() if key == part.layer or key.startswith(prefix)]
    if all(bool(torch.isfinite(tensor).all()) for tensor in own) and CRITERIA[name].needs:
        return TuiPruneError(
            f"The {name} scores of {part.layer} are not finite: on the calibration data it meets NaN or infinity. "
            "Check what calibration() gives, and the weights of the layers before it."
        )
    return TuiPruneError(
        f"The {name} scores of {part.layer} are not finite: its weights hold NaN or infinity. "
        "Repair the checkpoint before pruning it."
    )
