"""How much each group can bear: cut alone at several ratios, and evaluated each time on the network that is cut."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.trace import untouched
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.recalibration import has_statistics, recalibrate
from tui_prune.recovery.reconstruct import MOST_INPUTS, reconstruct
from tui_prune.search.curves import uncut, units
from tui_prune.search.scan_cache import ScanCache
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.cut import Misfit, cut
from tui_prune.surgery.fit import Subject
from tui_prune.surgery.surgery import kept_positions
from tui_prune.tasks.batches import Batch, calibration_batches, forward
from tui_prune.tasks.inputs import joined, run_inputs
from tui_prune.tasks.task import Task
from tui_prune.workers import Backend, Setup

RATIOS = (0.25, 0.5, 0.7, 0.85, 0.95)
CALIBRATION_BATCHES = 4
"""So many batches are enough to compare the points of a scan by; a recalibration that stays takes more."""
COMPARED_BATCHES = 2
_MOST_COMPARED = 2**16
"""Numbers of each output that are compared, evenly spread."""

Planning = Callable[[Graph, Recipe], Plan]


@dataclass(frozen=True)
class Point:
    """A network in which one group alone is cut."""

    ratio: float
    """Share of the group's channels that was to go."""
    kept: int
    """Outputs of the group's first layer that are left."""
    score: float
    """What the task's `evaluate` says of it."""
    change: float
    """How far the outputs moved: the squared difference over the squared output, on calibration data."""


@dataclass(frozen=True)
class Curve:
    """What becomes of the network as one group is cut further and further."""

    layer: str
    """The layer by which a recipe gives the group its ratio."""
    layers: tuple[str, ...]
    """All layers that lose channels together."""
    width: int
    """Outputs of the first of them, uncut."""
    points: tuple[Point, ...]
    """By ascending ratio; those that were measured so far."""


@dataclass(frozen=True)
class Sensitivity:
    """The scan of a network, whole or as far as it got."""

    baseline: float
    """What the task's `evaluate` says of the network as it is."""
    reference: float
    """The same with nothing cut, after the recalibration that all points had; `baseline` where there was none."""
    recalibrated: bool
    """Whether batch-norm statistics were estimated anew at each point."""
    criterion: str
    ratios: tuple[float, ...]
    curves: tuple[Curve, ...]
    """In the order of execution."""
    done: float
    """Share of the points that are there."""
    total: int = 0
    """So many points there are in all."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def recalibrates(model: nn.Module, task: Task) -> bool:
    """Whether a scan estimates batch-norm statistics anew at each point."""
    return task.calibration is not None and has_statistics(model)


def scan(
    scanner: Scanner,
    recipe: Recipe,
    planning: Planning,
    *,
    ratios: Sequence[float] = RATIOS,
    baseline: float | None = None,
    backend: Backend | None = None,
    setup: Setup | None = None,
    progress: Progress = silent,
) -> Iterator[Sensitivity]:
    """Cut each group alone at each ratio, recalibrate batch norm where the task has calibration data, and evaluate.

    Yields what is known after each point; the last is complete. Channels go by the recipe's criterion; what it locks
    isn't cut. What the scanner remembers isn't measured again. `baseline` is the network's score, where it is known.
    With a `backend` its workers measure, each by what `setup` makes; points then come in any order.

    Raises `UsageError` for wrong ratios or where nothing can be cut, `TuiPruneError` when the task fails; what
    `progress` raises passes through.
    """
    wanted = tuple(sorted(set(ratios)))
    if not wanted or not all(0 < ratio < 1 for ratio in wanted):
        raise UsageError(f"Ratios to scan must lie between 0 and 1; they are {', '.join(map(str, ratios)) or 'none'}.")
    graph = scanner.graph
    plans = [planning(graph, uncut(recipe).changed(ratio=ratio)) for ratio in wanted]
    todo: list[tuple[Curve, list[tuple[float, np.ndarray]]]] = []
    for name, groups in _in_order(units(graph.groups)):
        masks = list(_masks(plans, groups))
        if masks:
            layers = tuple(dict.fromkeys(layer for group in groups for layer in group.layers))
            todo.append((Curve(name, layers, groups[0].width, ()), masks))
    total = sum(len(masks) for _, masks in todo)
    if not total:
        raise UsageError("Nothing of this network can be cut, so there is nothing to scan.")
    start = part(progress, 0.0, 0.0)
    baseline = scanner.task.score(graph.model, start) if baseline is None else baseline
    nothing = scanner.measure(plans[0], np.ones_like(plans[0].keep), start) if scanner.recalibrating else None
    found = Sensitivity(
        baseline=baseline,
        reference=baseline if nothing is None else nothing[0],
        recalibrated=scanner.recalibrating,
        criterion=recipe.criterion,
        ratios=wanted,
        curves=tuple(curve for curve, _ in todo),
        done=0.0,
        total=total,
    )
    places = [(place, ratio, keep) for place, (_, masks) in enumerate(todo) for ratio, keep in masks]
    keeps = [keep for *_, keep in places]
    if backend is None or setup is None:
        outcomes = scanner.measure_here(plans[0], keeps, progress)
    else:
        outcomes = scanner.measure_by(backend, setup, keeps, progress)
    for number, (index, measured) in enumerate(outcomes, 1):
        place, ratio, keep = places[index]
        curve = found.curves[place]
        if measured is not None:
            point = Point(ratio, _kept(graph, curve, keep), *measured)
            points = sorted((*curve.points, point), key=lambda one: one.ratio)
            curve = replace(curve, points=tuple(points))
        curves = (*found.curves[:place], curve, *found.curves[place + 1 :])
        found = replace(found, curves=curves, done=number / total)
        yield found


def _in_order(found: dict[str, tuple[Group, ...]]) -> list[tuple[str, tuple[Group, ...]]]:
    return sorted(found.items(), key=lambda item: item[1][0].index)


def _masks(plans: Sequence[Plan], groups: Sequence[Group]) -> Iterator[tuple[float, np.ndarray]]:
    """The different ways in which these plans cut some groups, with the ratio of the first plan of each."""
    channels = np.concatenate([group.channels for group in groups])
    seen = {np.ones(len(channels), bool).tobytes()}
    for plan in plans:
        own = plan.keep[channels]
        if own.tobytes() not in seen:
            seen.add(own.tobytes())
            keep = np.ones_like(plan.keep)
            keep[channels] = own
            yield plan.recipe.ratio, keep


def _kept(graph: Graph, curve: Curve, keep: np.ndarray) -> int:
    layer = graph.layer(curve.layers[0])
    return curve.width if layer is None or not len(layer.outputs) else int(keep[layer.outputs].sum())


class Scanner:
    """Cuts, recalibrates and evaluates one network by a task; remembers what came out."""

    def __init__(
        self,
        subject: Subject,
        graph: Graph,
        task: Task,
        cache: ScanCache | None = None,
        *,
        reconstructing: bool = False,
    ) -> None:
        """`reconstructing`: layers are refitted before anything is measured, where that helps."""
        self.graph, self.task = graph, task
        self._reconstructing = reconstructing and task.calibration is not None
        self.recalibrating = recalibrates(subject.model, task)
        self._subject = subject
        self._cache = ScanCache(None) if cache is None else cache
        self._batches: list[Batch] | None = None
        self._outputs: list[Tensor] | None = None
        """Of the network with nothing cut."""

    @property
    def recovering(self) -> bool:
        """Whether a cut network is recovered in any way before it is measured."""
        return self.recalibrating or self._reconstructing

    def measure(self, plan: Plan, keep: np.ndarray, progress: Progress) -> tuple[float, float] | None:
        """Score and change of the network that keeps these channels; None: its code can't be cut so."""
        slots = keep[self.graph.classes.channel]
        known = self._cache.get(slots)
        if known is not None:
            progress("sensitivity", 1.0)
            return known
        nothing = bool(keep.all())
        model = self._cut(plan, keep, part(progress, 0.0, 0.5))
        if model is None:
            return None
        score = self.task.score(model, part(progress, 0.5, 1.0))
        change = 0.0 if nothing else _change(self._run(model), self._reference(plan))
        if not math.isfinite(change):
            return None
        found = score, change
        self._cache.put(slots, found)
        progress("sensitivity", 1.0)
        return found

    def measure_here(
        self, plan: Plan, keeps: Sequence[np.ndarray], progress: Progress
    ) -> Iterator[tuple[int, tuple[float, float] | None]]:
        """As `measure`, for several networks one after the other; each with its place."""
        for number, keep in enumerate(keeps):
            here = part(progress, number / len(keeps), (number + 1) / len(keeps))
            yield number, self.measure(plan, keep, here)

    def measure_by(
        self, backend: Backend, setup: Setup, keeps: Sequence[np.ndarray], progress: Progress
    ) -> Iterator[tuple[int, tuple[float, float] | None]]:
        """The same by workers, whose setup gives what turns the bytes of a mask into what `measure` gives."""
        channel = self.graph.classes.channel
        left = []
        for number, keep in enumerate(keeps):
            known = self._cache.get(keep[channel])
            if known is None:
                left.append(number)
            else:
                yield number, known
        points = [keeps[number].tobytes() for number in left]
        first = 1 - len(left) / max(1, len(keeps))
        for outcome in backend.outcomes(setup, points, part(progress, first, 1.0)):
            number, measured = left[outcome.number], outcome.value
            if measured is not None:
                self._cache.put(keeps[number][channel], measured)
            yield number, measured

    def known(self, keep: np.ndarray) -> float | None:
        """The score of the network that keeps these channels, where it was measured already."""
        found = self._cache.get(keep[self.graph.classes.channel])
        return None if found is None else found[0]

    def _reference(self, plan: Plan) -> list[Tensor]:
        if self._outputs is None:
            model = self._cut(plan, np.ones_like(plan.keep), silent)
            self._outputs = [] if model is None else self._run(model)
        return self._outputs

    def _cut(self, plan: Plan, keep: np.ndarray, progress: Progress) -> nn.Module | None:
        subject = self._subject
        try:
            made = cut(subject.model, subject.inputs, subject.kwargs, replace(plan, keep=keep))
        except Misfit:
            return None
        model = made.module
        if self._reconstructing and not keep.all():
            self._reconstruct(model, kept_positions(self.graph, made.tensors), progress)
            return model
        if self.recalibrating:
            recalibrate(model, self.task, progress, CALIBRATION_BATCHES)
        return model

    @torch.no_grad()
    def _reconstruct(self, model: nn.Module, positions: Mapping[str, Tensor], progress: Progress) -> None:
        """Refit the layers of a cut network, which is written over, where that brings it nearer to the original."""
        batches = ((batch.args, batch.kwargs) for batch in calibration_batches(self.task, model))
        inputs = joined(batches, MOST_INPUTS)
        record = self.graph.record
        copy = with_tensors(
            model, {name: t.detach().clone() for name, t in named_tensors(model, record).items()}, record
        )
        found = reconstruct(self.graph.model, copy, record, positions, inputs, run_inputs, progress)
        if found.better:
            tensors = named_tensors(model, record)
            for name, values in found.values.items():
                tensors[name].copy_(values)

    def _run(self, model: nn.Module) -> list[Tensor]:
        """What a model puts out for some calibration data or, where there is none, for the example input."""
        found = []
        with untouched(model) as twin:
            for batch in self._compared(model):
                arguments, keywords = map_tensors((batch.args, dict(batch.kwargs)), Tensor.clone)
                outputs = forward(twin, Batch(arguments, keywords, batch.targets))
                for output in tensors_in(outputs):
                    if output.is_floating_point():
                        step = max(1, -(-output.numel() // _MOST_COMPARED))
                        found.append(output.reshape(-1)[::step].double().cpu())
        return found

    def _compared(self, model: nn.Module) -> list[Batch]:
        if self._batches is None:
            if self.task.calibration is not None:
                self._batches = list(itertools.islice(calibration_batches(self.task, model), COMPARED_BATCHES))
            else:
                self._batches = [Batch(*self._subject.arguments, None)]
        return self._batches


def _change(outputs: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """The squared difference over the squared reference, over all outputs; infinite where they can't be compared."""
    if [output.shape for output in outputs] != [output.shape for output in reference]:
        return math.inf
    pairs = list(zip(outputs, reference, strict=True))
    moved = sum(float(torch.nan_to_num(a - b, posinf=0.0, neginf=0.0).square().sum()) for a, b in pairs)
    size = sum(float(torch.nan_to_num(b, posinf=0.0, neginf=0.0).square().sum()) for b in reference)
    return moved / size if size else moved
