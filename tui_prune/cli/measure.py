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
    chosen: Mapping[str, Any] = MappingProxyType({}),
    recipe_file: options.RecipeFile = None,
    as_json: options.Json = False,
) -> None:
    """Show what each layer can bear: what the task says of the network with that layer alone cut.

    What was measured is remembered, so that a scan that was stopped goes on.
    """
    recipe = options.recipe_from(recipe_file, chosen)
    session = console.open_session(
        model, weights, input_spec, device, recipe, task or console.bundled_task(model, weights)
    )
    with console.progress_line() as progress:
        found = (session.sensitivity(progress, ratios=ratio) if ratio else session.sensitivity(progress)).to_dict()
    console.print_notes(() if session.task is None else session.task.remarks())
    if as_json:
        console.print_json({"model": session.opened.title, **found})
    else:
        console.print_lines(tables.sensitivity_lines(session.opened.title, found))


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
