"""First-order Taylor expansion of the loss (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning"):
the squared sum of weight times gradient over an output's weights, which is what the loss would change by, squared, if
the output were zero. A mean over the batches of the task's calibration data.
"""

from tui_prune.planning.criteria.evidence import Evidence, Part


def taylor(evidence: Evidence) -> list[Part]:
    """(Sum of weight times gradient)² of each output."""
    return evidence.gradients()
