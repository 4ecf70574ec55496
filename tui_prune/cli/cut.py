"""The commands about pruned checkpoints: write one, and check one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tui_prune.cli import console, options
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.report import tables


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
    ratio: options.Ratio = None,
    layer: options.Layer = None,
    threshold: options.Threshold = None,
    target_macs: options.TargetMacs = None,
    target_params: options.TargetParams = None,
    target_bytes: options.TargetBytes = None,
    target_latency: options.TargetLatency = None,
    min_channels: options.MinChannels = None,
    max_ratio: options.MaxRatio = None,
    align: options.Align = None,
    layer_align: options.LayerAlign = None,
    align_rounding: options.AlignRounding = None,
    criterion: options.Criterion = None,
    combine: options.Combine = None,
    normalise: options.Normalise = None,
    scope: options.Scope = None,
    lock: options.Lock = None,
    unlock: options.Unlock = None,
    residual: options.Residual = None,
    grouped: options.Grouped = None,
    heads: options.Heads = None,
    seed: options.Seed = None,
    recipe_file: options.RecipeFile = None,
    suggest: options.Suggest = False,
    reconstruct: options.Reconstruct = False,
    recalibrate: options.Recalibrate = False,
    finetune: options.Finetune = False,
    finalists: options.Finalists = 1,
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
    if suggest and (ratio is not None or layer or threshold is not None):
        raise UsageError("--suggest finds the ratios itself: leave --ratio, --layer and --threshold out.")
    if suggest and target_macs is None and target_params is None:
        raise UsageError("--suggest needs to know what may be left: give --target-macs R or --target-params R.")
    if suggest and (target_bytes is not None or target_latency is not None):
        raise UsageError("--suggest knows shares of MACs and parameters: leave other targets out.")
    if finalists > 1 and not (suggest and finetune):
        raise UsageError("--finalists compares suggestions after fine-tuning: give --suggest and --finetune, too.")
    recipe = options.recipe_from(
        recipe_file,
        ratio=ratio,
        layers=layer,
        threshold=threshold,
        target_macs=None if suggest else target_macs,
        target_params=None if suggest else target_params,
        target_bytes=target_bytes,
        target_latency=target_latency,
        min_channels=min_channels,
        max_ratio=max_ratio,
        align=align,
        layer_align=layer_align,
        align_rounding=align_rounding,
        criterion=criterion,
        combine=combine,
        normalise=normalise,
        scope=scope,
        lock=lock,
        unlock=unlock,
        residual=residual,
        grouped=grouped,
        heads=heads,
        seed=seed,
    )
    from tui_prune.report.comparison import check_export, export
    from tui_prune.saving.whole_file import check_target

    check_target(output, force=force)
    if export_to is not None:
        check_export(export_to, force=force)
    task = task or (console.bundled_task(model, weights) if suggest or reconstruct or recalibrate or finetune else None)
    # A recipe that is carried out at once is its own trial, as in `tui_prune.prune`; a search meets other widths too.
    session = console.open_session(model, weights, input_spec, device, recipe, task, probing=suggest)
    remarks: Sequence[str] = ()
    with console.progress_line() as progress:
        if suggest:
            criteria = None if criterion is None else (criterion,)
            found = session.suggest(
                progress,
                target_macs=target_macs,
                target_params=target_params,
                criteria=criteria,
                finalists=finalists,
            )
            session.apply(found)
        if session.recovered is not None:
            remarks = session.recovered.notes
        elif reconstruct or recalibrate or finetune:
            remarks = session.recover(
                progress, reconstruct=reconstruct, recalibrate=recalibrate, finetune=finetune
            ).notes
        elif session.task is not None and session.task.evaluate is not None:
            session.evaluate(progress)
        session.save(output, force=force, progress=progress)
    result = session.result()
    console.print_notes(remarks)
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
