"""Channels that do nothing: what the next layers read of them is one number, whatever the network is given.

Cut with the threshold that lies between the two scores, they change nothing: the layers that read them take that number
up (`recovery.dead`).
"""

import numpy as np

from tui_prune.planning.criteria.evidence import Evidence, Part


def dead(evidence: Evidence) -> list[Part]:
    """0 for a channel that does nothing, 1 for all others."""
    found, group = evidence.gathered.dead, evidence.group
    channel = evidence.graph.classes.channel
    idle, needed = (np.zeros(evidence.graph.classes.channels, bool) for _ in range(2))
    idle[channel[found == 1]] = True
    needed[channel[found == -1]] = True
    scores = (~idle | needed)[group.channels].astype(float)
    return [Part(group.name, scores, np.arange(len(scores)))]
