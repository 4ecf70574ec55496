"""Scales of the batch norms over a channel (Liu et al. 2017, "Learning Efficient Convolutional Networks through
Network Slimming"): their mean where there are several. Nothing where there is no batch norm."""

import numpy as np

from tui_prune.planning.criteria.registry import Evidence, criterion, per_channel


@criterion("bn_scale")
def bn_scale(evidence: Evidence) -> np.ndarray | None:
    """Mean |scale| of each channel."""
    scales = [(scale.double().cpu().numpy(), places) for _, scale, places in evidence.batch_norm_scales()]
    size = len(evidence.group.channels)
    counts = per_channel(size, [(np.ones(len(values)), places) for values, places in scales])
    if not counts.all():
        return None
    return per_channel(size, scales) / counts
