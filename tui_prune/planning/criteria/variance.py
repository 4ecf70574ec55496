"""Variance of a channel's values where the next layers read them, on the task's calibration data: what hardly varies
can be taken up by a bias (Polyak and Wolf 2015, "Channel-Level Acceleration of Deep Face Representations").
"""

from tui_prune.planning.criteria.evidence import Evidence, Part


def variance(evidence: Evidence) -> list[Part]:
    """Variance of each input of the layers that read the channels; where no layer does, of the layers' own outputs."""
    read = evidence.read_variances()
    return read if evidence.covered(read) else evidence.own_variances()
