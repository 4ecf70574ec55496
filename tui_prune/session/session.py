"""What the user has chosen so far: recipe, plan, undo and redo. Knows no screen; the app, the command line and the
Python functions all work through it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.cost.bench import Measured, measure
from tui_prune.cost.cost import CostModel
from tui_prune.cost.whole import share_of
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.branches import Branch, find_branches
from tui_prune.graph.graph import Gone, GoneLayer, Graph
from tui_prune.graph.grouping import build_graph, rebuilt, with_gone
from tui_prune.graph.trace import record_trace
from tui_prune.graph.units import Units
from tui_prune.loading.kept import compose_kept
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.plan import Pair, Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.recovery.dead import proved, take_up
from tui_prune.result import Equivalence, Latency, Report, Result, found_row, layer_rows, lock_rows
from tui_prune.session import changes
from tui_prune.session.keepsake import Keepsake
from tui_prune.session.looking import Looker, next_threshold, norm_scales
from tui_prune.session.plans import Plans
from tui_prune.session.remote import absolute
from tui_prune.session.selection import named
from tui_prune.surgery.fit import Fitted, Subject, fit, probe
from tui_prune.surgery.flow import flows_for
from tui_prune.surgery.shortening import removals, shortened
from tui_prune.surgery.surgery import kept_positions
from tui_prune.tasks.registry import open_task
from tui_prune.tasks.task import Task

_NONE = np.zeros(0, np.int64)


class Session(Keepsake, Looker):
    """One opened network and the choices made for it. Not to be shared by threads, except `cut`, `save`, `look` and
    what works by the task, which work on the plan that they find when they start."""

    def __init__(
        self,
        opened: OpenedModel,
        *,
        example_kwargs: Mapping[str, Any] | None = None,
        task: Task | None = None,
        recipe: Recipe | None = None,
        probing: bool = True,
        progress: Progress = silent,
    ) -> None:
        """Trace the network; with `probing`, also try a cut, which shows the sizes that its own code fixes, and the
        widths of uneven groups for any recipe. Without it, the cut itself shows them, for this recipe.

        Raises `TuiPruneError` when its forward pass fails, `UsageError` when the recipe doesn't fit it.
        """
        self.opened = opened
        self._subject = Subject(
            opened.module,
            opened.example_inputs,
            dict(opened.example_kwargs if example_kwargs is None else example_kwargs),
        )
        self._graphs: dict[tuple[Units, tuple[str, ...]], Graph] = {}
        """By units, and the residual branches that have gone."""
        self._blocks: tuple[Branch, ...] | None = None
        self._shortened: dict[tuple[str, ...], tuple[Subject, Plans]] = {}
        self._fitted: dict[Recipe, Graph] = {}
        """By recipe, with the locks that a cut has found to be needed."""
        self._caches = {}
        self._result: tuple[Plan, Result] | None = None
        started = time.perf_counter()
        progress("trace", 0.0)
        record = record_trace(opened.module, *self._subject.arguments)
        if not record.shapes.keys() & record.parameters:
            raise TuiPruneError(f"{opened.title} has no layers with weights, so there is nothing to cut.")
        self.task = None if task is None else task.for_network(opened)
        self._plans = Plans(self.task, self._subject.arguments)
        first = Recipe() if recipe is None else recipe
        self._first, self._probing = first, probing
        graph = build_graph(record, first.units)
        self._trace_seconds = time.perf_counter() - started
        progress("try a cut", 0.5)
        if probing:
            graph = probe(self._subject, graph, progress)
        else:
            graph = flows_for(graph, *self._subject.arguments, first)
        self._graphs[first.units, ()] = self._whole = graph
        graph = self._graph_for(first)
        self._begin(first)
        self._saved = Recipe()
        self._recovery_files = {}
        self.saved_to: Path | None = None
        self._plan = self._plans_of(graph).make(graph, first, progress)
        progress("trace", 1.0)

    @classmethod
    def open(
        cls,
        spec: str | None = None,
        *,
        weights: str | Path | None = None,
        input_spec: str | None = None,
        device: str = "cpu",
        model: nn.Module | None = None,
        task: str | Path | None = None,
        recipe: Recipe | None = None,
        probing: bool = True,
        progress: Progress = silent,
    ) -> Session:
        """Open what the user names (`opening.open_model`) and trace it. Raises `TuiPruneError`, `UsageError`."""
        loaded = None if task is None else open_task(task)
        opened = open_model(spec, weights=weights, input_spec=input_spec, device=device, model=model, progress=progress)
        try:
            session = cls(opened, task=loaded, recipe=recipe, probing=probing, progress=progress)
        except TuiPruneError as error:
            if opened.guess is None or opened.guess.runs or isinstance(error, UsageError):
                raise
            raise TuiPruneError(f"{error} {opened.guess}") from error
        if model is None:
            session.request = OpenRequest(absolute(spec), absolute(weights), input_spec, absolute(task), device)
        return session

    # What there is.

    @property
    def dirty(self) -> bool:
        """Whether there are choices, or a recovered network, that no saved checkpoint holds. Where nothing is chosen
        there is nothing to save, whatever was saved before."""
        if self.recipe == Recipe() and self.recovered is None:
            return False
        return self.recipe != self._saved or self.unsaved_recovery is not None

    def dead_channels(self, progress: Progress = silent) -> int:
        """How many channels do nothing whatever the input is; `changes.dead_only` cuts them. Takes a few forward passes
        the first time."""
        progress("bounds", 0.0)
        plan = self._make_plan(changes.dead_only(self.recipe))
        progress("bounds", 1.0)
        return int((~plan.keep).sum())

    def waits_for(self, recipe: Recipe) -> str:
        """In words, the long work that `prepare` has to do before this recipe can be planned; empty: none.

        Raises `UsageError` where that can't be done, because the task has no calibration data.
        """
        graph = self._graph_for(recipe)
        return self._plans_of(graph).waits_for(graph, recipe)

    def prepare(self, recipe: Recipe, progress: Progress = silent) -> None:
        """Do what a plan of this recipe needs once: run the task's calibration data, measure layers on this device.

        Without it the first plan does so. Raises `UsageError` when the task has no calibration data, `TuiPruneError`
        when its own code fails.
        """
        graph = self._graph_for(recipe)
        self._plans_of(graph).prepare(graph, recipe, progress)

    # Choices. Each is one step that can be undone; a choice that can't be planned raises and changes nothing.

    def set_ratio(self, ratio: float, layer: str | None = None) -> Plan:
        """Set the global ratio, or that of a layer and all that are tied to it, or of all that a glob means."""
        return self.apply(changes.with_ratio(self._plan, named(self._plan, layer), ratio))

    def set_alignment(self, align: int | str, layer: str | None = None) -> Plan:
        """Set the global alignment ("auto": what suits this device), or that of a layer and all that are tied to it, or
        of all that a glob means."""
        return self.apply(changes.with_alignment(self._plan, named(self._plan, layer), align))

    def toggle_lock(self, layer: str) -> Plan:
        """Lock a layer, take a lock of the user's off, or lift the lock of a model output.

        Raises `UsageError` with the reason when the lock can't be lifted.
        """
        return self.apply(changes.with_lock_toggled(self._plan, named(self._plan, layer)))

    def step_threshold(self, by: int, path: str = "") -> Plan:
        """Move the threshold past some of the batch norm scales in a module, or over a layer: up (1) or down (-1)."""
        recipe, norms = self.recipe, norm_scales(self.opened.module, self._plan, path)
        if norms is None:
            raise UsageError(f"No batch norm with scales runs over {path or 'the network'}, so none can be compared.")
        now = recipe.threshold if recipe.criterion == "bn_scale" else None
        threshold = next_threshold(norms.values, now, by)
        criterion = recipe.criterion if threshold is None else "bn_scale"
        return self.apply(recipe.changed(threshold=threshold, criterion=criterion))

    # Plans.

    def _make_plan(self, recipe: Recipe) -> Plan:
        graph = self._fitted.get(recipe) or self._graph_for(recipe)
        return self._plans_of(graph).make(graph, recipe)

    def _graph_for(self, recipe: Recipe) -> Graph:
        gone = tuple(branch for branch in self._branches_gone(recipe))
        key = recipe.units, tuple(branch.name for branch in gone)
        if key not in self._graphs:
            same = [graph for (_, names), graph in self._graphs.items() if names == key[1]]
            near = next((graph for graph in same if graph.units.heads == recipe.heads), same[0] if same else None)
            self._graphs[key] = self._shorten(recipe, gone) if near is None else rebuilt(near, units=recipe.units)
        return self._graphs[key]

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches that a ratio of 1 for one of their layers lets go whole, where the code allows it."""
        if self._blocks is None:
            self._blocks = find_branches(self.opened.module, self._whole.record, *self._subject.arguments)
        return self._blocks

    def _branches_gone(self, recipe: Recipe) -> tuple[Branch, ...]:
        """Those that a recipe cuts to nothing."""
        if 1 not in recipe.layers.values():
            return ()
        producers = {layer.name for layer in self._whole.layers if layer.producer}
        return tuple(
            branch
            for branch in self.branches
            if any(layer in producers and recipe.cuts_to_nothing(layer) for layer in branch.layers)
        )

    def _shorten(self, recipe: Recipe, gone: tuple[Branch, ...]) -> Graph:
        """The graph of the network without these branches. Raises `CannotGo`."""
        whole, arguments = self._whole, self._subject.arguments
        short = shortened(self.opened.module, whole.record, *arguments, gone)
        subject = Subject(short, *arguments)
        graph = build_graph(record_trace(short, *arguments), recipe.units)
        graph = probe(subject, graph) if self._probing else flows_for(graph, *arguments, self._first)
        self._shortened[tuple(branch.name for branch in gone)] = subject, Plans(self.task, arguments)
        costs = CostModel(whole).measure(np.ones(whole.classes.channels, bool))[1]
        names = {layer.name for layer in graph.layers}
        layers = tuple(
            GoneLayer(
                replace(layer, group=None, outputs=_NONE, inputs=_NONE),
                place,
                *(table.get(layer.name, 0) for table in (costs.params, costs.macs, costs.bytes)),
            )
            for place, layer in enumerate(whole.layers)
            if layer.name not in names
        )
        return with_gone(graph, Gone(gone, layers, self.opened.module))

    def _subject_of(self, graph: Graph) -> Subject:
        return self._subject if graph.gone is None else self._shortened[_names(graph.gone)][0]

    def _plans_of(self, graph: Graph) -> Plans:
        return self._plans if graph.gone is None else self._shortened[_names(graph.gone)][1]

    def _plan_for(self, graph: Graph, recipe: Recipe) -> Plan:
        return self._plans_of(graph).make(graph, recipe)

    # Work.

    def cut(self, progress: Progress = silent) -> Result:
        """Cut by the present plan, prove it and verify it; the opened network stays as it is.

        Where the network's own code can't follow the plan, what it fixes is locked and the plan made anew (then
        `plan` has changed, and `plan.graph` says why).

        Raises `TuiPruneError` when the cut network isn't equal to the masked original.
        """
        return self._cut(self._plan, progress)

    def cut_to(self, keep: np.ndarray, progress: Progress = silent) -> Result:
        """As `cut`, by the present recipe's plan but with exactly these channels (bool, one per channel of its graph),
        which somebody else has chosen. Raises `TuiPruneError` where that can't be proved."""
        self._plan = self._plans_of(self._plan.graph).with_channels(self._plan, keep)
        result = self._cut(self._plan, progress)
        if not np.array_equal(result.plan.keep, keep):
            raise TuiPruneError("The network's own code can't follow that choice of channels.")
        return result

    def _cut(self, plan: Plan, progress: Progress, *, remembering: bool = True) -> Result:
        known = self._result  # another thread may put another one there
        if known is not None and known[0] is plan:
            return known[1]
        seconds = {"trace": self._trace_seconds, "plan": 0.0}

        def planning(graph: Graph) -> Plan:
            started = time.perf_counter()
            try:
                if graph is plan.graph:
                    return plan
                return self._plans_of(graph).make(graph, plan.recipe, progress)
            finally:
                seconds["plan"] += time.perf_counter() - started

        progress("cut", 0.0)
        started = time.perf_counter()
        fitted = fit(self._subject_of(plan.graph), plan.graph, planning, progress=progress)
        assert fitted.verification is not None, "a cut that is handed out is verified"
        spent = time.perf_counter() - started - seconds["plan"]
        seconds["verify"] = fitted.verification.seconds
        seconds["cut"] = spent - seconds["verify"]
        if fitted.plan is plan:
            seconds["plan"] = plan.seconds
        result = self._result_of(fitted, seconds, progress)
        progress("verify", 1.0)  # whoever has stopped this keeps the plan that is there
        if fitted.plan is not plan:
            self._fitted[plan.recipe] = fitted.plan.graph
            if self._plan is plan:
                self._graphs[plan.recipe.units, _names(plan.graph.gone)] = fitted.plan.graph
                self._plan = fitted.plan
        if remembering:
            self._result = fitted.plan, result
        return result

    def _result_of(self, fitted: Fitted, seconds: Mapping[str, float], progress: Progress) -> Result:
        opened, plan, made, verified = self.opened, fitted.plan, fitted.cut, fitted.verification
        assert verified is not None
        originals = dict(opened.module.named_modules())
        for name, part in made.module.named_modules():
            part.training = originals[name].training if name in originals else opened.module.training
        latency = None
        if plan.recipe.target_latency is not None:
            before, after = measure([opened.module, made.module], *self._subject.arguments, progress)
            latency = _latency(before, after, plan.predicted_share)
        report = Report(
            model=opened.title,
            recipe=plan.recipe.to_dict(),
            params=Pair(plan.before.params, plan.after.params),
            macs=Pair(plan.before.macs, plan.after.macs),
            bytes=Pair(plan.before.bytes, plan.after.bytes),
            layers=layer_rows(plan),
            locks=lock_rows(plan.graph),
            equivalence=Equivalence(
                verified.kind,
                verified.max_error,
                str(verified.precision).removeprefix("torch."),
                verified.operators if verified.kind == "structural" else (),
            ),
            seconds=seconds,
            found=found_row(plan),
            targets=tuple(asdict(reached) for reached in plan.reached),
            latency=latency,
            sizes_in_doubt=fitted.doubtful,
        )
        positions = kept_positions(plan.graph, made.tensors)
        outputs = verified.outputs
        if CRITERIA[plan.recipe.criterion].exact and plan.cuts:
            outputs, error = self._unmasked(made.module, plan, positions)
            report = replace(report, equivalence=replace(report.equivalence, max_error=error))
        return Result(
            model=made.module,
            plan=plan,
            report=report,
            origin=opened.origin,
            edits=_latest_edits((*opened.edits, *_removals(plan.graph), *made.edits)),
            kept=compose_kept(opened.kept, positions, plan.graph.record.shapes),
            example_inputs=opened.example_inputs,
            example_kwargs=self._subject.kwargs,
            reference_outputs=outputs,
            positions=positions,
            input_spec=opened.input_spec,
        )

    def _unmasked(
        self, cut: nn.Module, plan: Plan, positions: Mapping[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], float]:
        """Let the layers of a cut network take up what channels that do nothing have given, and compare it with the
        original itself. Gives its outputs, and the largest error. Raises `NotEqual`."""
        graph, subject = plan.graph, self._subject_of(plan.graph)
        take_up(subject.model, cut, graph, plan.keep, positions, self._plans_of(graph).dead(graph))
        return proved(subject.model, cut, *subject.arguments)

    def save(self, path: str | Path, *, force: bool = False, progress: Progress = silent) -> Path:
        """Write `result` as a pruned checkpoint (`saving.forms`). Raises `TuiPruneError`; an existing file needs
        `force`."""
        from tui_prune.saving.checkpoint import save

        recipe, result = self.recipe, self.result(progress)
        written = save(path, result, force=force, progress=progress)
        self._saved, self.saved_to = recipe, Path(written)
        if result.report.recovered:
            self._recovery_files[result.model] = Path(written)
        return written


def _latency(before: Measured, after: Measured, predicted: float) -> Latency:
    """What a cut has brought, from passes of both networks in turn."""
    share, whole = share_of(before.passes, after.passes), before.latency
    return Latency(whole, predicted * whole, share.median * whole, (share.least * whole, share.most * whole))


def _latest_edits(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Of several edits of one attribute the last."""
    return tuple({(edit.module, edit.attribute, edit.path): edit for edit in edits}.values())


def _names(gone: Gone | None) -> tuple[str, ...]:
    return () if gone is None else tuple(branch.name for branch in gone.branches)


def _removals(graph: Graph) -> tuple[Edit, ...]:
    return () if graph.gone is None else removals(graph.gone.branches)
