"""The commands about pruned checkpoints: write one, and check one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from tui_prune.cli import console, options
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.planning.recipe import TARGETS
from tui_prune.report import tables

SUGGESTED = ("target_macs", "target_params")
"""The targets that a suggestion can be asked for."""


@options.recipe_options()
def prune(
    model: options.Model,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="The pruned checkpoint to write; as OUT.safetensors it is a plain state dict to other programs.",
        ),
    ],
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    chosen: Mapping[str, Any] = MappingProxyType({}),
    recipe_file: options.RecipeFile = None,
    latency_table: options.LatencyTable = None,
    dead: options.Dead = False,
    suggest: options.Suggest = False,
    thorough: options.Thorough = False,
    reconstruct: options.Reconstruct = False,
    recalibrate: options.Recalibrate = False,
    finetune: options.Finetune = False,
    training: options.Training = None,
    procs: options.Procs = 1,
    rounds: options.Rounds = 1,
    finalists: options.Finalists = 1,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Also write the comparison (.md, .csv, .json), both networks printed (.txt), or the recipe (.toml).",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, and FILE, if they exist.")] = False,
    as_json: options.Json = False,
) -> None:
    """Cut a network, verify the cut one and write it as a pruned checkpoint.

    With --recipe, single options win over the file; layers, alignments, locks and unlocks are added to the file's.
    """
    if suggest and any(chosen.get(name) for name in ("ratio", "layers", "threshold")):
        raise UsageError("--suggest finds the ratios itself: leave --ratio, --layer and --threshold out.")
    if suggest and all(chosen.get(name) is None for name in SUGGESTED):
        raise UsageError("--suggest needs to know what may be left: give --target-macs R or --target-params R.")
    if suggest and any(chosen.get(name) is not None for name in set(TARGETS) - set(SUGGESTED)):
        raise UsageError("--suggest knows shares of MACs and parameters: leave other targets out.")
    if (jobs is not None or cluster is not None) and not suggest:
        raise UsageError("--jobs and --cluster are about how a recipe is found: give --suggest, too.")
    if thorough and not suggest:
        raise UsageError("--thorough is about how a recipe is found: give --suggest, too.")
    if finalists > 1 and not (suggest and finetune):
        raise UsageError("--finalists compares suggestions after fine-tuning: give --suggest and --finetune, too.")
    finetune = finetune or training is not None
    if procs > 1 and not finetune:
        raise UsageError("--procs is about how many processes fine-tune: give --finetune or --training, too.")
    if procs > 1 and finalists > 1:
        raise UsageError("--procs trains one network in several processes; finalists are shared out by --jobs N.")
    if rounds > 1 and suggest:
        raise UsageError("--rounds cuts by a recipe, and --suggest finds one for a single cut: leave one of them out.")
    if rounds > 1 and not (reconstruct or recalibrate or finetune):
        raise UsageError("--rounds recovers after each step: give --reconstruct, --recalibrate or --finetune, too.")
    if dead and (
        suggest or any(chosen.get(name) is not None for name in ("ratio", "layers", "threshold", "criterion", *TARGETS))
    ):
        raise UsageError(
            "--dead cuts what does nothing, and no more: leave ratios, targets, --criterion and --suggest out, and cut "
            "OUT further in a second run."
        )
    recipe = options.recipe_from(recipe_file, {**chosen, **dict.fromkeys(SUGGESTED)} if suggest else chosen)
    from tui_prune.recovery.distillation import Training

    if dead:
        from tui_prune.session.changes import dead_only

        recipe = dead_only(recipe)
    from tui_prune.report.comparison import check_export, export
    from tui_prune.saving.forms import check_form
    from tui_prune.saving.whole_file import check_target
    from tui_prune.session.rounds import Recovering, prune_in_rounds
    from tui_prune.workers import backend_for

    trained = None if training is None else Training.of(training)
    check_form(output)
    check_target(output, force=force)
    if export_to is not None:
        check_export(export_to, force=force)
    task = task or (console.bundled_task(model, weights) if suggest or reconstruct or recalibrate or finetune else None)
    # A recipe that is carried out at once is its own trial, as in `tui_prune.prune`; a search meets other widths too.
    session = console.open_session(
        model, weights, input_spec, device, recipe, task, probing=suggest, latency_table=latency_table
    )
    remarks: Sequence[str] = ()
    with console.progress_line() as progress:
        if suggest:
            shares = options.recipe_from(None, {name: chosen.get(name) for name in SUGGESTED})
            criterion = chosen.get("criterion")
            criteria = None if criterion is None else (criterion,)
            found = session.suggest(
                progress,
                target_macs=shares.target_macs,
                target_params=shares.target_params,
                criteria=criteria,
                finalists=finalists,
                thorough=thorough,
                backend=backend_for(jobs, cluster, device),
            )
            session.apply(found)
        if session.recovered is not None:
            remarks = session.recovered.notes
        elif rounds > 1:
            how = Recovering(reconstruct, recalibrate, finetune, trained, procs)
            remarks = prune_in_rounds(session, rounds, how, progress).notes
        elif reconstruct or recalibrate or finetune:
            remarks = session.recover(
                progress,
                reconstruct=reconstruct,
                recalibrate=recalibrate,
                finetune=finetune,
                training=trained,
                procs=procs,
            ).notes
        elif session.task is not None and session.task.evaluate is not None:
            session.evaluate(progress)
        session.save(output, force=force, progress=progress)
    result = session.result()
    console.print_notes((*remarks, *(() if session.task is None else session.task.remarks())))
    report = result.report.written_to(str(output)).to_dict()
    if export_to is not None:
        export(export_to, session.opened.title, result.plan, report, force=force)
    if as_json:
        console.print_notes(result.plan.notes)
        console.print_json(report)
    else:
        notes = {layer.name: layer.note for layer in result.plan.layers}
        console.print_lines(
            [*tables.report_lines(report, notes), "", *tables.load_lines(session.opened.origin, output)]
        )


def verify(
    checkpoint: Annotated[str, typer.Argument(metavar="OUT", help="A pruned checkpoint.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FACTORY", help="How to build a network that came from your own file."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Load a pruned checkpoint as a stranger would and check it again."""
    from tui_prune.loading.sources.factory_file import load_factory
    from tui_prune.saving.checkpoint import verify_checkpoint

    with console.progress_line() as progress:
        network = load_factory(model)() if model else None
        report = verify_checkpoint(checkpoint, network, progress=progress).to_dict()
    if as_json:
        console.print_json(report)
    else:
        console.print_lines(tables.verification_lines(report))
    for check in report["checks"]:
        if not check["ok"]:
            raise TuiPruneError(check["detail"])
