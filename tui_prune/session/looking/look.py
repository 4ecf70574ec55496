"""A place in a network with all that there is to see of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tui_prune.planning.plan import LayerPlan, Plan
from tui_prune.result import Reconstructed
from tui_prune.session.looking.activations import Activations
from tui_prune.session.looking.layer import LayerDetails
from tui_prune.session.looking.norms import NormScales


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
