"""Magnitude normalised by layer, so that one ranking over all layers empties none (Lee et al. 2021, "Layer-adaptive
Sparsity for the Magnitude-based Pruning", sec. 2, with the squared norm of an output's weights for the squared weight).
"""

import numpy as np

from tui_prune.planning.criteria.evidence import Evidence, Part
from tui_prune.planning.criteria.magnitude import row_norms


def lamp(evidence: Evidence) -> list[Part]:
    """Each output's squared norm over the sum of those of all outputs of its layer that are no smaller."""
    return evidence.weights(lambda rows: _lamp(row_norms(rows, 2) ** 2))


def _lamp(squares: np.ndarray) -> np.ndarray:
    ascending = np.argsort(squares, kind="stable")
    rest = np.cumsum(squares[ascending][::-1])[::-1]
    scores = np.zeros_like(squares)
    with np.errstate(invalid="ignore"):  # what isn't finite is refused later, by the layer's name
        scores[ascending] = np.divide(squares[ascending], rest, out=np.zeros_like(rest), where=rest != 0)
    return scores
