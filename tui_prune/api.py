"""The Python functions: the same session as the app's and the command line's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any, overload

import torch
from torch import nn

from tui_prune.cost.latency_table import read_table
from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph
from tui_prune.graph.grouping import build_graph, rebuilt
from tui_prune.graph.trace import as_arguments, record_trace
from tui_prune.graph.units import Units
from tui_prune.loading.edits import apply_edits
from tui_prune.loading.fitting import device_of
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.plain_module import plain_module
from tui_prune.planning.fields import documentation
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, part, silent
from tui_prune.recovery.distillation import Training
from tui_prune.recovery.finetuning import Shown
from tui_prune.recovery.recover import recover as recover_result
from tui_prune.result import Accuracy, Result
from tui_prune.search.curves import ErrorCurves
from tui_prune.search.sensitivity import RATIOS, Sensitivity
from tui_prune.session.plans import Plans
from tui_prune.session.ranks import Launch
from tui_prune.session.rounds import Recovering
from tui_prune.session.rounds import prune_in_rounds as rounds_of
from tui_prune.session.session import Session
from tui_prune.surgery.fit import Subject, probe
from tui_prune.tasks.registry import open_task
from tui_prune.tasks.task import Task
from tui_prune.workers.ranks import Ranks


@torch.inference_mode(False)
def prune(
    model: nn.Module,
    example_inputs: Any,
    recipe: Recipe | None = None,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    inplace: bool = False,
    task: Task | str | Path | None = None,
    latency_table: str | Path | None = None,
    progress: Progress = silent,
    **fields: Any,
) -> Result:
    """Cut a network and prove the cut one equal to the masked original.

    `example_inputs` is what `forward` takes: a tensor, or a tuple of positional arguments. The choices are a `recipe`,
    or its fields as keywords (`ratio=0.5, align=8`), or both: keywords win. Criteria that need calibration data take it
    from a `task`: a task file, or `tui_prune.Task(calibration=lambda: batches)`. A latency is measured on this device,
    or planned by a `latency_table` that `tui-prune latency` has measured on another one.

    The model stays as it is, unless `inplace`: then it becomes the cut network, once that is proved. It isn't even
    run: a copy over its weights is, so its hooks write into copies of what they write into, and globals that its code
    uses are put back. The cut network has copies of the hooks, which refer to its own parts; in place, hooks stay.

    Raises `UsageError` for a wrong choice, `TuiPruneError` when the forward pass fails or the cut can't be proved.

    The fields of a recipe:
    """
    chosen = _recipe(recipe, fields)
    inputs = as_arguments(example_inputs)
    session = Session(
        _opened(model, inputs),
        example_kwargs=example_kwargs,
        task=_task(task),
        recipe=chosen,
        probing=False,
        table=None if latency_table is None else read_table(latency_table),
        progress=progress,
    )
    result = session.cut(progress)
    if inplace:
        _take_over(plain_module(model), result)
        return replace(result, model=model)
    return result


prune.__doc__ = f"{prune.__doc__ or ''}{indent(chr(10).join(documentation()), ' ' * 8)}\n"


@torch.inference_mode(False)
def prune_in_rounds(
    model: nn.Module,
    example_inputs: Any,
    task: Task | str | Path,
    recipe: Recipe | None = None,
    *,
    rounds: int = 3,
    reconstruct: bool = True,
    recalibrate: bool = False,
    finetune: bool = False,
    training: Training | None = None,
    procs: int = 1,
    example_kwargs: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    **fields: Any,
) -> Result:
    """Prune towards the recipe in several steps, and recover the network by the task after each of them.

    `rounds` is the number of steps. Each step chooses its channels on the network that the step before has recovered,
    as `recover` does, in `procs` processes where it fine-tunes.

    The result is one cut of the model, proved as a whole. Raises as `prune` and `recover` do.
    """
    session = _with_task(model, example_inputs, example_kwargs, task, _recipe(recipe, fields), progress)
    how = Recovering(reconstruct, recalibrate, finetune or training is not None, training, procs)
    return rounds_of(session, rounds, how, progress)


@torch.inference_mode(False)
def trace(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    grouped: str = "auto",
    heads: str = "width",
    probing: bool = True,
) -> Graph:
    """The channel graph of a model: groups, blocks and locks. The model isn't changed.

    `example_inputs` is what `forward` takes: a tensor, or a tuple of positional arguments. With `probing`, a cut is
    tried as well, so that sizes which the model's own code fixes are among the locks.

    Raises `TuiPruneError` when the forward pass fails, or for a model of a kind that can't be pruned.
    """
    model, inputs, kwargs = plain_module(model), as_arguments(example_inputs), dict(example_kwargs or {})
    graph = build_graph(record_trace(model, inputs, kwargs), Units(grouped, heads))
    return probe(Subject(model, inputs, kwargs), graph) if probing else graph


@torch.inference_mode(False)
def plan(graph: Graph, recipe: Recipe | None = None, *, task: Task | str | Path | None = None, **fields: Any) -> Plan:
    """The plan of a recipe for a traced model. Nothing is cut; takes milliseconds, unless calibration data of a `task`
    has to be run or this device to be measured first.

    Raises `UsageError` for a wrong choice, `TuiPruneError` when weights aren't finite.
    """
    chosen = _recipe(recipe, fields)
    if chosen.units != graph.units:
        graph = rebuilt(graph, units=chosen.units)
    return Plans(_task(task)).make(graph, chosen)


@overload
def _task(task: Task | str | Path) -> Task: ...
@overload
def _task(task: None) -> None: ...
def _task(task: Task | str | Path | None) -> Task | None:
    return open_task(task) if isinstance(task, (str, Path)) else task


def _task_of(result: Result, task: Task | str | Path) -> Task:
    """The task for the network that was cut."""
    found, original = _task(task), result.plan.graph.whole_model
    assert found is not None
    if found.bind is None:
        return found
    if original is result.model:
        raise UsageError(f"The network was cut in place, so there is no uncut one that {found.name} could be about.")
    opened = OpenedModel(
        title=result.report.model,
        origin=result.origin,
        module=original,
        example_inputs=result.example_inputs,
        example_kwargs=result.example_kwargs,
        input_spec=result.input_spec,
        weights=None,
    )
    return found.for_network(opened)


@torch.inference_mode(False)
def recover(
    result: Result,
    task: Task | str | Path,
    *,
    reconstruct: bool = False,
    recalibrate: bool = True,
    finetune: bool = False,
    training: Training | None = None,
    procs: int = 1,
    progress: Progress = silent,
    shown: Shown | None = None,
) -> Result:
    """Give a cut network its accuracy back by a task: a task file, or a `tui_prune.Task`.

    `reconstruct` refits each layer to what it gave before the cut (the function of this name does only that),
    `recalibrate` estimates batch-norm statistics anew on the task's calibration data, `finetune` runs its own loop or,
    where it has none, the built-in one, which learns from the uncut network and from labels where there are any;
    `training` says how long and how (`tui_prune.Training(steps=500, only="norms")`), and takes the built-in one.
    With `procs` above 1, so many processes fine-tune it together: one a CUDA device, or sharing the cores of the CPU.
    `result` stays as it is. `progress` may raise to stop; a fine-tuning that it stops gives the best state so far.
    `shown` sees each point that the loop reports.

    Raises `UsageError` where the task lacks the function that is needed, `TuiPruneError` when it fails.
    """
    known, original = _task_of(result, task), result.plan.graph.whole_model
    accuracy = result.report.accuracy
    if accuracy is None and known.evaluate is not None and result.model is not original:
        accuracy = Accuracy(known.score(original, part(progress, 0.0, 0.1)), None)
    elsewhere = None
    if procs != 1:
        elsewhere = Launch(Ranks(procs, device_of(original).type), known, training, original)
    return recover_result(
        result,
        known,
        reconstructing=reconstruct,
        recalibrating=recalibrate,
        tuning=finetune or training is not None,
        training=training,
        accuracy=accuracy,
        progress=part(progress, 0.1, 1.0),
        shown=shown,
        elsewhere=elsewhere,
    )


@torch.inference_mode(False)
def reconstruct(result: Result, batches: Iterable[Any], *, progress: Progress = silent) -> Result:
    """Refit each layer of a cut network to what it gave before the cut: without labels, without training.

    `batches` are inputs like those that the network is for, as a task's `calibration` yields them: tensors, tuples of
    positional arguments or dicts of keyword arguments, or pairs of these with targets, which aren't needed. A few
    hundred inputs are enough; at most 512 are used. A quarter of them is held out: each layer, and the whole, stays as
    it was cut where the refitted one is no better for these. `result` stays as it is; `report.reconstruction` of what
    is returned says what is left of the error, layer by layer.

    Raises `UsageError` where there are no inputs, or no uncut network any more; `TuiPruneError` when it fails on them.
    """
    task = Task(calibration=lambda: [batches] if isinstance(batches, torch.Tensor) else batches)
    return recover_result(result, task, reconstructing=True, recalibrating=False, progress=progress)


@torch.inference_mode(False)
def sensitivity(
    model: nn.Module,
    example_inputs: Any,
    task: Task | str | Path,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
    ratios: Sequence[float] = RATIOS,
    progress: Progress = silent,
    **fields: Any,
) -> Sensitivity:
    """How much each layer can bear: the task's score with each group alone cut at each ratio.

    Of the recipe only what isn't a ratio counts: criterion, locks and the like. What was measured is kept in the user's
    state folder, so that a scan that was stopped goes on.

    Raises `UsageError` for a wrong choice, `TuiPruneError` when the task fails.
    """
    session = _with_task(model, example_inputs, example_kwargs, task, _recipe(recipe, fields), progress)
    return session.sensitivity(progress, ratios=ratios)


@torch.inference_mode(False)
def error_curves(
    model: nn.Module,
    example_inputs: Any,
    task: Task | str | Path | Iterable[Any],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
    progress: Progress = silent,
    **fields: Any,
) -> ErrorCurves:
    """How wrong the network gets as each group is cut alone, at every width: without cutting, labels or `evaluate`.

    One pass over calibration data (at most 256 inputs) and a few gradients show it. `task` has calibration data, or is
    itself batches of inputs, as for `reconstruct`. Each point has the squared error of the outputs over their square,
    as it is cut and once the layers behind are refitted. Of the recipe only what isn't a ratio counts.

    Raises `UsageError` for a wrong choice or without calibration data, `TuiPruneError` when the network fails on it.
    """
    if not isinstance(task, (Task, str, Path)):
        batches = task
        task = Task(calibration=lambda: [batches] if isinstance(batches, torch.Tensor) else batches)
    session = _with_task(model, example_inputs, example_kwargs, task, _recipe(recipe, fields), progress)
    return session.error_curves(progress)


@torch.inference_mode(False)
def suggest(
    model: nn.Module,
    example_inputs: Any,
    task: Task | str | Path,
    *,
    target_macs: float | None = None,
    target_params: float | None = None,
    criteria: Sequence[str] | None = None,
    finalists: int = 1,
    thorough: bool = False,
    example_kwargs: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
    progress: Progress = silent,
    **fields: Any,
) -> Recipe:
    """A recipe for `prune` that leaves at most these shares of the MACs or parameters, each layer cut by what it can
    bear; the recipe's locks and alignment stay. `criteria` are those to choose from; None: the recipe's own where it
    isn't the default, and else those that suit.

    Where the task has calibration data, one pass over it says what layers can bear (`error_curves`); `evaluate`, if
    there is one, chooses among a few finalists whose layers were refitted. With `thorough` some hundred networks are
    evaluated. More than one of `finalists` are found so and fine-tuned by the task's loop, and the one that is best
    then is taken: for a network that will be trained again.

    Raises `UsageError` for a wrong choice or a target that can't be met, `TuiPruneError` when the task fails.
    """
    session = _with_task(model, example_inputs, example_kwargs, task, _recipe(recipe, fields), progress)
    return session.suggest(
        progress,
        target_macs=target_macs,
        target_params=target_params,
        criteria=criteria,
        finalists=finalists,
        thorough=thorough,
    )


def _with_task(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None,
    task: Task | str | Path,
    recipe: Recipe,
    progress: Progress,
) -> Session:
    opened = _opened(model, as_arguments(example_inputs))
    return Session(opened, example_kwargs=example_kwargs, task=_task(task), recipe=recipe, progress=progress)


def _recipe(recipe: Recipe | None, fields: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe(**fields) if recipe is None else recipe.changed(**fields)
    except TypeError as error:
        raise UsageError(f"Not a choice of a recipe: {error}.") from error


def _opened(model: nn.Module, inputs: tuple[Any, ...]) -> OpenedModel:
    return replace(open_model(model=model), example_inputs=inputs, example_kwargs={}, input_spec="")


@torch.no_grad()
def _take_over(model: nn.Module, result: Result) -> nn.Module:
    """Make a module what its cut copy is, keeping its parameter objects (an optimizer may hold them).

    Gradients of parameters whose shape changes are dropped.
    """
    parts = dict(model.named_modules())
    for name, cut in result.model.named_modules():
        own = parts[name]
        for key, parameter in cut._parameters.items():
            mine = own._parameters[key]
            if parameter is not None and mine is not None:
                if mine.shape != parameter.shape:
                    mine.grad = None
                mine.data = parameter.data
        for key, buffer in cut._buffers.items():
            own._buffers[key] = buffer
    apply_edits(model, result.edits)
    return model
