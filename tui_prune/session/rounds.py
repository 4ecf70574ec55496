"""Pruning in rounds: a part of the way at a time, and what that has cost is recovered before the next part.

The channels to go next are chosen on the recovered network. What comes of it is one cut of the network that was opened:
it is carried out and proved as a whole in the end, and takes the weights of the last round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.cost.cost import Cost
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.trace import run, untouched
from tui_prune.loading.kept import axis_name, compose_kept
from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.distillation import Training, distiller
from tui_prune.recovery.recover import Elsewhere, recover, with_weights
from tui_prune.result import Accuracy, Result
from tui_prune.session.session import Session
from tui_prune.surgery.copying import named_tensors
from tui_prune.surgery.verify import TOLERANCES
from tui_prune.tasks.task import Task


@dataclass(frozen=True)
class Recovering:
    """What is done after each round."""

    reconstruct: bool = False
    recalibrate: bool = False
    finetune: bool = False
    training: Training | None = None
    procs: int = 1
    """Processes that fine-tune together."""


def prune_in_rounds(session: Session, rounds: int, how: Recovering, progress: Progress = silent) -> Result:
    """What the session's recipe asks for, reached in so many rounds; the session holds and saves it then.

    Raises `UsageError` for a wrong choice, `TuiPruneError` when the task fails or the whole can't be proved.
    """
    task, recipe = session.task, session.recipe
    if rounds < 1:
        raise UsageError(f"There must be one round at least; it is {rounds}.")
    if task is None or not (how.reconstruct or how.recalibrate or how.finetune):
        raise UsageError("Rounds recover the network by a task after each: give a task, and say how to recover.")
    if session.latency_table is not None and recipe.needs_latency:
        raise UsageError("A latency table is of the whole network, so it can't say what rounds take: leave one out.")
    if 1 in recipe.layers.values():
        raise UsageError("A residual branch that goes whole can't go in rounds: leave ratios of 1 out.")
    elsewhere = session.elsewhere(how.procs, how.training) if how.finetune else None
    if how.finetune and elsewhere is None and (how.training is not None or task.finetune is None):
        task = replace(task, finetune=distiller(session.opened.module, task, how.training or Training()))
    whole, opened, before = session.plan, session.opened, session.plan.before
    kept: dict[str, Tensor] = {}
    widths: dict[str, int] = {}
    steps: list[str] = []
    notes: list[str] = []
    for number in range(1, rounds + 1):
        here = part(progress, 0.8 * (number - 1) / rounds, 0.8 * number / rounds)
        if recipe.fixed_widths:
            now = _fixed(recipe, number, rounds, whole, widths)
        else:
            now = stepped(recipe, number, rounds, before, whole.before)
        cut = _cut(opened, now, task, part(here, 0.0, 0.2))
        kept = compose_kept(kept, cut.positions, cut.plan.graph.record.shapes)
        before = cut.plan.after
        widths = {layer.name: layer.after for layer in cut.plan.layers}
        if number == rounds:
            break
        recovered = _recovered(cut, task, how, elsewhere, part(here, 0.2, 1.0))
        steps += recovered.report.recovered
        notes += [f"Round {number}: {note}" for note in recovered.notes]
        opened = replace(opened, module=recovered.model, edits=recovered.edits, kept=recovered.kept)
    proved = session.cut_to(_channels(whole.graph, kept), part(progress, 0.8, 0.85))
    accuracy = None
    if task.evaluate is not None:
        accuracy = Accuracy(session.baseline(), task.score(proved.model, silent))
    report = replace(proved.report, recovered=tuple(steps), accuracy=accuracy)
    laid = with_weights(proved, _arranged(cut.model, kept, proved), report)
    _check_same(cut.model, laid)
    made = _recovered(laid, task, how, elsewhere, part(progress, 0.85, 1.0))
    made = replace(made, notes=(*notes, *made.notes))
    session.take_recovered(made)
    return made


def stepped(recipe: Recipe, number: int, rounds: int, before: Cost, whole: Cost) -> Recipe:
    """The recipe of one of some rounds: what is left shrinks by the same factor in each, and is what the recipe asks
    for in the last. `before` is what the network of this round costs, `whole` what the first one did."""
    share, root = number / rounds, 1 / rounds
    fields: dict[str, object] = {
        "layers": {name: 1 - (1 - ratio) ** root for name, ratio in recipe.layers.items()},
        "max_ratio": 1 - (1 - recipe.max_ratio) ** root,
    }
    if recipe.ratio:
        fields["ratio"] = 1 - (1 - recipe.ratio) ** root
    for name, cost in (("target_macs", "macs"), ("target_params", "params")):
        target = getattr(recipe, name)
        if target is not None:
            fields[name] = min(1.0, target**share * getattr(whole, cost) / max(getattr(before, cost), 1))
    if recipe.target_bytes is not None:
        fields["target_bytes"] = int(whole.bytes * (recipe.target_bytes / whole.bytes) ** share)
    if recipe.target_latency is not None:
        fields["target_latency"] = recipe.target_latency**root
    return recipe.changed(**fields)


def _fixed(recipe: Recipe, number: int, rounds: int, whole: Plan, present: Mapping[str, int]) -> Recipe:
    """As `stepped`, where ratios alone say how wide each layer becomes: then rounds end at the very widths of one cut.
    `present` are the widths that there are by now."""
    ratios = {}
    for group in whole.graph.groups:
        layer = whole.layer(group.name)
        wanted = round(layer.before * (layer.after / layer.before) ** (number / rounds))
        if number == rounds:
            wanted = layer.after
        width = present.get(group.name, layer.before)
        if 0 < wanted < width:
            ratios[group.name] = 1 - wanted / width + 1e-7  # which must cut so many, not one less by rounding
    return recipe.changed(ratio=0.0, layers=ratios)


def _cut(opened: OpenedModel, recipe: Recipe, task: Task, progress: Progress) -> Result:
    session = Session(opened, task=task, recipe=recipe, probing=False, progress=part(progress, 0.0, 0.5))
    return session.cut(part(progress, 0.5, 1.0))


def _recovered(result: Result, task: Task, how: Recovering, elsewhere: Elsewhere | None, progress: Progress) -> Result:
    return recover(
        result,
        task,
        reconstructing=how.reconstruct,
        recalibrating=how.recalibrate,
        tuning=how.finetune,
        accuracy=result.report.accuracy,
        progress=progress,
        elsewhere=elsewhere,
    )


def _channels(graph: Graph, kept: Mapping[str, Tensor]) -> np.ndarray:
    """Which channels stay where these positions do. Raises `TuiPruneError` where a channel stays only in parts."""
    stays = np.ones(len(graph.classes.channel), bool)
    for axis in graph.record.axes:
        positions = kept.get(axis_name(axis.tensor, axis.dim))
        if positions is None:
            continue
        if axis.groups > 1:
            rows = axis.slots.reshape(axis.groups, -1)
            if len(positions) != len(rows):
                continue  # whole groups have gone, which the axis of the outputs says
            own = np.take_along_axis(rows, positions.numpy().astype(np.int64), 1).reshape(-1)
        else:
            own = axis.slots[positions.numpy().astype(np.int64)]
        stays[axis.slots] = False
        stays[own] = True
    keep = np.ones(graph.classes.channels, bool)
    keep[graph.classes.channel[~stays]] = False
    return keep


def _arranged(model: nn.Module, kept: Mapping[str, Tensor], result: Result) -> dict[str, Tensor]:
    """The tensors of a network that keeps these positions, in the order of the result's."""
    record: TraceRecord = result.plan.graph.record
    found = {}
    for name, tensor in named_tensors(model, record).items():
        tensor = tensor.detach()
        for dim in range(tensor.dim()):
            own, wanted = (positions.get(axis_name(name, dim)) for positions in (kept, result.positions))
            if own is None or wanted is None or torch.equal(own, wanted) or own.dim() > 1:
                continue
            place = {int(position): index for index, position in enumerate(own)}
            if place.keys() != set(wanted.tolist()):
                raise _differ()
            order = torch.tensor([place[int(position)] for position in wanted], device=tensor.device)
            tensor = tensor.index_select(dim, order)
        found[name] = tensor
    shapes = {name: tensor.shape for name, tensor in named_tensors(result.model, record).items()}
    if any(found[name].shape != shape for name, shape in shapes.items()):
        raise _differ()
    return found


def _check_same(model: nn.Module, laid: Result) -> None:
    """Raises `TuiPruneError` where the network of the last round doesn't compute what the proved one does with its
    weights."""
    outputs = []
    formats = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    limit = max((TOLERANCES.get(one, 1e-4) for one in formats), default=1e-4)
    for network in (model, laid.model):
        with untouched(network) as twin:
            found = run(twin, laid.example_inputs, laid.example_kwargs)
        outputs.append([tensor.double() for tensor in tensors_in(found) if tensor.is_floating_point()])
    for one, other in zip(*outputs, strict=True):
        if one.shape != other.shape or float((one - other).abs().max()) > limit * float(one.abs().max()):
            raise _differ()


def _differ() -> TuiPruneError:
    return TuiPruneError(
        "What the rounds have left isn't one cut of the network that was opened, so nothing is saved: prune it in one."
    )
