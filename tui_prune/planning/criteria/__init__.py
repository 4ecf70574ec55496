"""Criteria: how important each channel of a group is. One file each, and one line in `CRITERIA`.

A criterion is a function of its own name: it takes the `Evidence` of a group and gives `Part`s, the scores that single
layers give to the group's channels. Combining them is the same for all. Importing this package loads no torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tui_prune.planning.criteria.evidence import Evidence, Gathered, Part
    from tui_prune.planning.criteria.scoring import combination, combine_parts, score_groups, score_parts

__all__ = [
    "CRITERIA",
    "Criterion",
    "Evidence",
    "Gathered",
    "Needs",
    "Part",
    "combination",
    "combine_parts",
    "score_groups",
    "score_parts",
]

Needs = Literal["", "activations", "gradients", "sample gradients", "moments", "bounds"]


DEAD_THRESHOLD = 0.5
"""What lies between the two scores of the criterion `dead`."""


@dataclass(frozen=True)
class Criterion:
    """What is known of a criterion before its file is read."""

    file: str
    """The module of this package that has it."""
    says: str
    """What it looks at, in a few words."""
    combine: str = "sum"
    """How the scores of several layers are combined where the recipe leaves that to the criterion."""
    needs: Needs = ""
    """What calibration data has to show first."""
    missing: str = "nothing speaks of its channels"
    """Why a group may have no scores."""
    exact: bool = False
    """Whether nothing that scores more than 0 may go, not for even blocks or an alignment either."""


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion("magnitude", "sum of the absolute weights"),
    "l2": Criterion("magnitude", "Euclidean norm of the weights"),
    "group_l2": Criterion("group_magnitude", "norm of all weights that go with the channel, in each layer"),
    "bn_scale": Criterion(
        "batch_norm_scale", "scale of the batch norm", combine="mean", missing="no batch norm covers its channels"
    ),
    "lamp": Criterion("lamp", "magnitude, normalised by the layer's larger ones", combine="mean"),
    "fpgm": Criterion("geometric_median", "distance to the layer's other filters"),
    "taylor": Criterion(
        "taylor",
        "change of the loss when the channel goes; needs calibration data",
        needs="gradients",
        missing="no gradient reaches its channels",
    ),
    "activation": Criterion(
        "activation",
        "mean size of what the next layers read; needs calibration data",
        combine="mean",
        needs="activations",
        missing="none of its layers could be watched",
    ),
    "variance": Criterion(
        "variance",
        "how much what the next layers read varies; needs calibration data",
        combine="mean",
        needs="activations",
        missing="none of its layers could be watched",
    ),
    "fisher": Criterion(
        "fisher",
        "change of the loss, input by input, when all that read the channel lose it; needs calibration data",
        needs="sample gradients",
        missing="no gradient reaches its channels",
    ),
    "reconstruction": Criterion(
        "reconstruction",
        "how badly the other channels make up for it in what the next layers give; needs calibration data",
        needs="moments",
        missing="none of the layers that read them could be watched",
    ),
    "dead": Criterion(
        "dead", "whether it does anything at all; with threshold 0.5 what doesn't goes", needs="bounds", exact=True
    ),
    "random": Criterion("random", "chance, by the seed"),
}

_HOMES = {
    "Evidence": "evidence",
    "Gathered": "evidence",
    "Part": "evidence",
    "combination": "scoring",
    "combine_parts": "scoring",
    "score_groups": "scoring",
    "score_parts": "scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
