"""The commands that measure: what the layers can bear, and how long the network takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from tui_prune.cli import console, options
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
    as_json: options.Json = False,
) -> None:
    """Show what each layer can bear: how wrong the network gets with it alone cut, and what the task says of that.

    The errors follow from one pass over the task's calibration data, for every width. What the task says is measured,
    and remembered, so that a scan that was stopped goes on.
    """
    from tui_prune.search.sensitivity import RATIOS

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
            report |= session.sensitivity(progress, ratios=ratios).to_dict()
        if not as_json:
            console.print_lines(tables.sensitivity_lines(session.opened.title, report))
    console.print_notes(() if has is None else has.remarks())
    if as_json:
        console.print_json(report)


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
