"""Magnitude of a channel's weights: its L1 norm (Li et al. 2017, "Pruning Filters for Efficient ConvNets", sec. 3.1)
or its L2 norm. A channel that several layers put out has the sum of theirs."""

import numpy as np
import torch

from tui_prune.planning.criteria.registry import Evidence, criterion, per_channel


@criterion("l1")
def l1(evidence: Evidence) -> np.ndarray:
    """Sum of |weight| of each channel."""
    return _norm(evidence, 1)


@criterion("l2")
def l2(evidence: Evidence) -> np.ndarray:
    """Euclidean norm of each channel's weights."""
    return _norm(evidence, 2)


def _norm(evidence: Evidence, order: int) -> np.ndarray:
    parts = []
    for _, rows, places in evidence.outputs():
        accumulator = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
        norms = torch.linalg.vector_norm(rows, order, dim=1, dtype=accumulator)
        parts.append((norms.double().cpu().numpy(), places))
    return per_channel(len(evidence.group.channels), parts)
