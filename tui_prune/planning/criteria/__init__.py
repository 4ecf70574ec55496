"""Criteria: how important each channel of a group is. One file each; importing this package registers all."""

from tui_prune.planning.criteria import batch_norm_scale, magnitude, random
from tui_prune.planning.criteria.registry import Evidence, score_groups

__all__ = ["Evidence", "batch_norm_scale", "magnitude", "random", "score_groups"]
