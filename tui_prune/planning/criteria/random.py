"""Random scores, the same for the same seed and group: the baseline that a criterion has to beat."""

import zlib

import numpy as np

from tui_prune.planning.criteria.evidence import Evidence, Part


def random(evidence: Evidence) -> list[Part]:
    """Uniform numbers from 0 to 1."""
    size = len(evidence.group.channels)
    key = zlib.crc32(evidence.group.name.encode())
    scores = np.random.default_rng((evidence.seed, key)).random(size)
    return [Part(evidence.group.name, scores, np.arange(size))]
