"""How much is lost that the other channels can't make up for: layers that read a channel can be refitted to the others
when it goes (OSSCAR: Meng et al. 2024, "One-Shot Structured Pruning in Vision and Language Models with Combinatorial
Optimization", sec. 3), by the second moments of what they read on the task's calibration data.
"""

import numpy as np

from tui_prune.planning.criteria.evidence import Evidence, Part
from tui_prune.planning.criteria.moments import elimination


def reconstruction(evidence: Evidence) -> list[Part]:
    """The error in all layers that read the channels, once a channel and all that are less needed have gone; where no
    layer reads them, the variance of the layers' own outputs."""
    readers, group = evidence.moments(), evidence.group
    read = np.zeros(len(group.channels), bool)
    for _, places in readers:
        read[places[places >= 0]] = True
    if not read.any():
        return evidence.own_variances()
    scores = elimination(readers, group.locked_inside | ~read)
    return [Part(group.name, scores, np.arange(len(scores)))]
