"""A place in a network with all that there is to see of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from tui_prune.planning.plan import LayerPlan, Plan
from tui_prune.planning.planner import check_layer
from tui_prune.result import Reconstructed
from tui_prune.session.looking.activations import Activations
from tui_prune.session.looking.layer import LayerDetails, layer_details
from tui_prune.session.looking.norms import NormScales, norm_scales
from tui_prune.session.plans import Plans


@dataclass(frozen=True, eq=False)
class Look:
    """A layer or a module under a plan."""

    path: str
    """Its name in the model; "" is the whole network."""
    plan: Plan
    details: LayerDetails | None
    """None where it is no layer."""
    norms: NormScales | None
    """Of the batch norms in it, or of the one that its channels run through."""
    calibration: bool
    """Whether there is a task with calibration data."""
    measured: Mapping[str, Activations] | None
    """What layers put out, where that has been measured."""

    reconstruction: Reconstructed | None = None
    """Where the layers of this plan were refitted."""

    @property
    def layers(self) -> tuple[LayerPlan, ...]:
        """All layers of the network for a layer, which is to be compared with them; or those in the module."""
        if self.details is not None or not self.path:
            return self.plan.layers
        return tuple(layer for layer in self.plan.layers if layer.name.startswith(f"{self.path}."))


def look_at(
    path: str,
    model: nn.Module,
    plan: Plan,
    plans: Plans,
    *,
    calibration: bool = False,
    measured: Mapping[str, Activations] | None = None,
    reconstruction: Reconstructed | None = None,
) -> Look:
    """What there is to see of a layer, or of all layers of a module; "" is the whole network.

    Raises `UsageError` for a name that neither has.
    """
    is_layer = any(layer.name == path for layer in plan.layers)
    if path and not any(layer.name.startswith(f"{path}.") for layer in plan.layers):
        check_layer(plan, path)
    details = details_of(path, model, plan, plans) if is_layer else None
    return Look(path, plan, details, norm_scales(model, plan, path), calibration, measured, reconstruction)


def details_of(layer: str, model: nn.Module, plan: Plan, plans: Plans) -> LayerDetails:
    """What there is to see of a layer. Raises `UsageError` for a name that no layer has."""
    check_layer(plan, layer)
    scores = plans.scores(plan.graph, plan.recipe)
    group = plan.graph.group_of(layer)
    scored = "" if group is None else plans.scored(plan.graph, plan.recipe, group)
    return layer_details(model, plan, layer, scores, scored)
