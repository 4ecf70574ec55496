"""What a session has to show."""

from collections.abc import Mapping

from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.plan import Plan
from tui_prune.planning.planner import check_layer
from tui_prune.progress import Progress, silent
from tui_prune.result import Result
from tui_prune.session.looking.activations import Activations, measure_activations
from tui_prune.session.looking.layer import LayerDetails, layer_details
from tui_prune.session.looking.look import Look
from tui_prune.session.looking.norms import norm_scales
from tui_prune.session.plans import Plans
from tui_prune.tasks.task import Task


class Looker:
    """The part of a session that shows what is there. Each method works on the plan that it finds when it starts."""

    opened: OpenedModel
    task: Task | None
    _plan: Plan
    _plans: Plans
    _activations: Mapping[str, Activations] | None = None

    @property
    def recovered(self) -> Result | None:
        """The recovered network of the present plan."""
        raise NotImplementedError

    def details(self, layer: str) -> LayerDetails:
        """What there is to see of a layer. Raises `UsageError` for a name that no layer has."""
        check_layer(self._plan, layer)
        return self._details(self._plan, layer)

    def look(self, path: str) -> Look:
        """What there is to see of a layer, or of all layers of a module; "" is the whole network.

        Raises `UsageError` for a name that neither has.
        """
        plan = self._plan
        is_layer = any(layer.name == path for layer in plan.layers)
        if path and not any(layer.name.startswith(f"{path}.") for layer in plan.layers):
            check_layer(plan, path)
        return Look(
            path,
            plan,
            self._details(plan, path) if is_layer else None,
            norm_scales(self.opened.module, plan, path),
            self.task is not None and self.task.calibration is not None,
            self._activations,
            None if self.recovered is None else self.recovered.report.reconstruction,
        )

    def measure_activations(self, progress: Progress = silent) -> None:
        """Run the task's calibration data through the opened network once, for `look` to show what layers put out.

        Raises `UsageError` when there is none, `TuiPruneError` when the task's own code or the network fails.
        """
        if self._activations is None:
            self._activations = measure_activations(self._plan.graph, self.task, progress)

    def _details(self, plan: Plan, layer: str) -> LayerDetails:
        scores = self._plans.scores(plan.graph, plan.recipe)
        group = plan.graph.group_of(layer)
        scored = "" if group is None else self._plans.scored(plan.graph, plan.recipe, group)
        return layer_details(self.opened.module, plan, layer, scores, scored)
