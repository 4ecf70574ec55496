"""What there is to look at in a network: the numbers that pictures are made of."""

from tui_prune.session.looking.activations import Activations, measure_activations
from tui_prune.session.looking.layer import LayerDetails, layer_details
from tui_prune.session.looking.look import Look, details_of, look_at
from tui_prune.session.looking.norms import NormScales, next_threshold, norm_scales

__all__ = [
    "Activations",
    "LayerDetails",
    "Look",
    "NormScales",
    "details_of",
    "layer_details",
    "look_at",
    "measure_activations",
    "next_threshold",
    "norm_scales",
]
