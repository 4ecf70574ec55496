"""The commands that measure: what the layers can bear, and how long the network takes."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from tui_prune.cli import console, options
from tui_prune.planning.recipe import TARGETS
from tui_prune.report import tables


@options.recipe_options("criterion", "seed")
def sensitivity(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    ratio: Annotated[
        list[float] | None, typer.Option(metavar="R", help="Share of its channels that each layer loses; repeatable.")
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Only the errors by one pass over calibration data; evaluates nothing.")
    ] = False,
    chosen: Mapping[str, Any] = MappingProxyType({}),
    recipe_file: options.RecipeFile = None,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Show what each layer can bear: how wrong the network gets with it alone cut, and what the task says of that.

    The errors follow from one pass over the task's calibration data, for every width. What the task says is measured,
    and remembered, so that a scan that was stopped goes on.
    """
    from tui_prune.search.sensitivity import RATIOS
    from tui_prune.workers import backend_for

    backend = backend_for(jobs, cluster, device)
    recipe = options.recipe_from(recipe_file, chosen)
    session = console.open_session(
        model, weights, input_spec, device, recipe, task or console.bundled_task(model, weights)
    )
    ratios, report = tuple(ratio or RATIOS), dict[str, Any](model=session.opened.title)
    has = session.task
    scans = not errors and (has is None or has.evaluate is not None or has.calibration is None)
    if not scans or (has is not None and has.calibration is not None):
        with console.progress_line() as progress:
            report["errors"] = session.error_curves(progress).to_dict()
        if not as_json:
            console.print_lines(tables.error_lines(session.opened.title, report["errors"], ratios))
    if scans:
        if not as_json and "errors" in report:
            console.print_lines([""])
        with console.progress_line() as progress:
            report |= session.sensitivity(progress, ratios=ratios, backend=backend).to_dict()
        if not as_json:
            console.print_lines(tables.sensitivity_lines(session.opened.title, report))
    console.print_notes(() if has is None else has.remarks())
    if as_json:
        console.print_json(report)


@options.recipe_options(without=("ratio", "threshold", "criterion", *TARGETS))
def sweep(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    ratios: Annotated[
        str, typer.Option(metavar="FIRST:LAST:STEP|R,R", help="The ratios to try, such as 0.2:0.8:0.1.")
    ] = "0.2:0.8:0.1",
    criteria: Annotated[str, typer.Option(metavar="NAME,NAME", help="The criteria to try, such as l2,fpgm.")] = "l2",
    chosen: Mapping[str, Any] = MappingProxyType({}),
    recipe_file: options.RecipeFile = None,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
) -> None:
    """Cut by many recipes and show what each leaves and what the task says of it, and which are the best.

    What was measured is remembered, so that a sweep that was stopped goes on.
    """
    from tui_prune.search.sweep import grid, parse_ratios
    from tui_prune.workers import backend_for

    backend = backend_for(jobs, cluster, device)
    base = options.recipe_from(recipe_file, chosen)
    recipes = grid(base, [name.strip() for name in criteria.split(",")], parse_ratios(ratios))
    session = console.open_session(
        model, weights, input_spec, device, base, task or console.bundled_task(model, weights)
    )
    with console.progress_line() as progress:
        found = session.sweep(recipes, progress, backend=backend).to_dict()
    if as_json:
        console.print_json({"model": session.opened.title, **found})
    else:
        console.print_lines(tables.sweep_lines(session.opened.title, found))


def bench(
    model: options.Model,
    output: Annotated[
        str | None, typer.Argument(metavar="[OUT]", help="A pruned checkpoint of it to compare with.")
    ] = None,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Measure latency, memory and MACs on this device: of a network, and of what it was cut to."""
    from tui_prune.cost.bench import benchmark

    with console.progress_line() as progress:
        report, notes = benchmark(
            model, output, weights=weights, input_spec=input_spec, device=device, progress=progress
        )
    console.print_notes(notes)
    if as_json:
        console.print_json(report)
    else:
        console.print_lines(tables.bench_lines(report))


def latency(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    engine: Annotated[str, typer.Option(metavar="torch|onnxruntime", help="What runs the network there.")] = "torch",
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads of the CPU; all without it.")] = None,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="TABLE.json|SCRIPT.py",
            help="Write the table; or a script that measures it on another device, where only torch or onnxruntime is "
            "needed.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: options.Json = False,
) -> None:
    """Measure what the network and its layers take on a device, so that plans can be made for it anywhere.

    On the device itself --export TABLE.json writes the table. For a device without tui-prune, --export SCRIPT.py writes
    a script to be run there. prune and the app take the table as --latency-table.
    """
    from tui_prune.saving.whole_file import check_target
    from tui_prune.session.latency_work import is_script, save_text, script_of, table_of

    if export_to is not None:
        check_target(export_to, force=force)
    session = console.open_session(model, weights, input_spec, device, options.recipe_from(None, {}))
    with console.progress_line() as progress:
        work = session.latency_work(engine, progress)
        if export_to is not None and is_script(export_to):
            save_text(export_to, script_of(work), force=force)
            console.print_lines([f"Written to {export_to}. On the device: python {export_to.name} -o table.json"])
            return
        table = table_of(work, threads, device, progress)
    if export_to is not None:
        save_text(export_to, table, force=force)
    report = session.latency_report(table)
    if as_json:
        console.print_json({**report, "output": None if export_to is None else str(export_to)})
    else:
        console.print_lines(tables.latency_lines(report))
        console.print_lines([] if export_to is None else ["", f"Written to {export_to}."])
