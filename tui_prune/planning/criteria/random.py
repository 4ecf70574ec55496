"""Random scores, the same for the same seed and group: the baseline that a criterion has to beat."""

import zlib

import numpy as np

from tui_prune.planning.criteria.registry import Evidence, criterion


@criterion("random")
def random(evidence: Evidence) -> np.ndarray:
    """Uniform numbers from 0 to 1."""
    key = zlib.crc32(evidence.group.name.encode())
    return np.random.default_rng((evidence.seed, key)).random(len(evidence.group.channels))
