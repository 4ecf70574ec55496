"""Mean size of a channel's values where the next layers read them, after norm and activation function, on the task's
calibration data (Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", sec.
2.2). Of the size, since not every activation function ends at zero.
"""

from tui_prune.planning.criteria.evidence import Evidence, Part


def activation(evidence: Evidence) -> list[Part]:
    """Mean |value| of each input of the layers that read the channels; where no layer does, of the layers' own
    outputs (queries and keys of attention)."""
    read = evidence.read_activations()
    return read if evidence.covered(read) else evidence.own_activations()
