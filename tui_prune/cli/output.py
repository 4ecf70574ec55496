"""The commands that take a pruned checkpoint further: to other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from tui_prune.cli import console, options
from tui_prune.report import tables

_OwnNetwork = Annotated[
    str | None,
    typer.Option("--model", metavar="FILE.py:FACTORY", help="How to build a network that came from your own file."),
]


def export(
    checkpoint: Annotated[str, typer.Argument(metavar="OUT", help="A pruned checkpoint.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="onnx|pt2|py|transformers",
            help="The form; without it, what the suffix of FILE says. py: a Python file that needs no tui-prune, with "
            "its weights beside it. transformers: a folder for from_pretrained.",
        ),
    ] = None,
    model: _OwnNetwork = None,
    input_spec: options.Input = None,
    opset: Annotated[int | None, typer.Option(metavar="N", help="Of ONNX; without it, torch's own choice.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: options.Json = False,
) -> None:
    """Export a pruned checkpoint to ONNX, torch.export or a Python file, and compare that with its network."""
    from tui_prune.loading.sources.factory_file import load_factory
    from tui_prune.saving.exporting.export import export as export_checkpoint

    with console.progress_line() as progress:
        report = export_checkpoint(
            checkpoint,
            output,
            model=load_factory(model) if model else None,
            format=format,
            input_spec=input_spec,
            opset=opset,
            force=force,
            progress=progress,
        ).to_dict()
    if as_json:
        console.print_json(report)
    else:
        console.print_lines(tables.export_lines(report))


def report(
    checkpoint: Annotated[str, typer.Argument(metavar="OUT", help="A pruned checkpoint.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="The page to write.")],
    model: _OwnNetwork = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.html if it exists.")] = False,
) -> None:
    """Write what was done to a network as one HTML page, which needs nothing else to be read."""
    from tui_prune.loading.sources.factory_file import load_factory
    from tui_prune.report.page import write_report

    with console.progress_line() as progress:
        written = write_report(
            checkpoint, output, model=load_factory(model) if model else None, force=force, progress=progress
        )
    console.print_lines([f"Written to {written}."])
