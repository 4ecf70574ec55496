"""How far an output's weights are from those of its layer's other outputs: what lies next to the geometric median can
be replaced by the others (He et al. 2019, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
Acceleration", sec. 3.3)."""

import numpy as np
import torch
from torch import Tensor

from tui_prune.planning.criteria.evidence import Evidence, Part


def fpgm(evidence: Evidence) -> list[Part]:
    """Sum of the Euclidean distances to all other outputs of the layer."""
    return evidence.weights(_distances)


def _distances(rows: Tensor) -> np.ndarray:
    # Half precision would round most of a difference away, and isn't there for distances on every device.
    exact = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    return torch.cdist(exact, exact).double().sum(dim=1).cpu().numpy()
