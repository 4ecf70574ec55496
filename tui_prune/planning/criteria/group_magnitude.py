"""Magnitude of all weights that go with a channel, not only of the layer that puts it out (Fang et al. 2023, "DepGraph:
Towards Any Structural Pruning", sec. 3.3)."""

import numpy as np
from torch import Tensor

from tui_prune.planning.criteria.evidence import Evidence, Part
from tui_prune.planning.criteria.magnitude import row_norms


def group_l2(evidence: Evidence) -> list[Part]:
    """The squared norm of a channel's share of each layer, over the mean of all channels' there, so that large layers
    say no more than small ones."""
    return evidence.all_weights(_relative_squares)


def _relative_squares(rows: Tensor) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):  # what isn't finite is refused later, by the layer's name
        squares = row_norms(rows, 2) ** 2
        mean = squares.mean() if len(squares) else 0.0
        return squares / mean if mean else squares
