"""What there is to look at in a network: the numbers that pictures are made of."""

from tui_prune.session.looking.activations import Activations, measure_activations
from tui_prune.session.looking.layer import LayerDetails, layer_details
from tui_prune.session.looking.look import Look
from tui_prune.session.looking.looker import Looker
from tui_prune.session.looking.norms import NormScales, next_threshold, norm_scales

__all__ = [
    "Activations",
    "LayerDetails",
    "Look",
    "Looker",
    "NormScales",
    "layer_details",
    "measure_activations",
    "next_threshold",
    "norm_scales",
]
