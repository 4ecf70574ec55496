"""Group Fisher information (Liu et al. 2021, "Group Fisher Pruning for Practical Network Compression", sec. 3.1): what
the loss would change by, to second order, if all layers that read a channel lost it. What the layers say of one input
is summed before it is squared, since they lose the channel together.
"""

import numpy as np

from tui_prune.planning.criteria.evidence import Evidence, Part


def fisher(evidence: Evidence) -> list[Part]:
    """Mean over the inputs of (sum over the reading layers of value times gradient)²."""
    found, group = evidence.read_sample_gradients(), evidence.group
    size = len(group.channels)
    if not found:
        return []
    sums, read = np.zeros((len(found[0][0]), size)), np.zeros(size, bool)
    for values, places in found:
        mine = places >= 0
        np.add.at(sums.T, places[mine], values[:, mine].T)
        read[places[mine]] = True
    if not read.all():
        return []
    return [Part(group.name, (sums**2).mean(0), np.arange(size))]
