"""What there is to look at in a network: the numbers that pictures are made of."""

from tui_prune.looking.activations import Activations, measure_activations
from tui_prune.looking.layer import LayerDetails, layer_details
from tui_prune.looking.look import Look
from tui_prune.looking.looker import Looker
from tui_prune.looking.norms import NormScales, next_threshold, norm_scales

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
