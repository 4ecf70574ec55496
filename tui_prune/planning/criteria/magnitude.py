"""Magnitude of a channel's weights: its L1 norm (Li et al. 2017, "Pruning Filters for Efficient ConvNets", sec. 3.1)
or its L2 norm."""

import numpy as np
import torch
from torch import Tensor

from tui_prune.planning.criteria.evidence import Evidence, Part


def l1(evidence: Evidence) -> list[Part]:
    """Sum of |weight| of each output."""
    return evidence.weights(lambda rows: row_norms(rows, 1))


def l2(evidence: Evidence) -> list[Part]:
    """Euclidean norm of each output's weights."""
    return evidence.weights(lambda rows: row_norms(rows, 2))


def row_norms(rows: Tensor, order: int) -> np.ndarray:
    """The norm of each row of (outputs, all else), summed up in float32 or finer."""
    accumulator = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
    return torch.linalg.vector_norm(rows, order, dim=1, dtype=accumulator).double().cpu().numpy()
