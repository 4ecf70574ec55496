"""The commands that only look: at the layers, at pictures of them, at the settings."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_prune import config
from tui_prune import guide as chapters
from tui_prune.cli import console, options
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.planning.recipe import Recipe
from tui_prune.report import tables
from tui_prune.report.kinds import KINDS, Needs

if TYPE_CHECKING:
    from tui_prune.session.session import Session

MOST = 10_000
"""Columns, lines or points of a picture."""


def inspect(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Show the layers, which of them are tied, what is locked and why."""
    session = console.open_session(model, weights, input_spec, device, Recipe())
    inspection = _inspection(session)
    if as_json:
        console.print_json(inspection)
    else:
        console.print_lines(tables.inspection_lines(inspection))


@options.recipe_options("ratio", "threshold", "criterion", "combine", "normalise", "scope", "seed")
def plot(
    model: options.Model,
    layer: Annotated[
        str,
        typer.Option(metavar="NAME", help="The layer to draw; for scales and costs also a module, or none for all."),
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="|".join(KINDS), help="; ".join(f"{name}: {kind.words}" for name, kind in KINDS.items()) + "."
        ),
    ] = "hist",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.svg", help="Write SVG instead of showing text.")
    ] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, max=MOST, help="Columns; points of an SVG.")] = None,
    height: Annotated[int | None, typer.Option(metavar="N", min=1, max=MOST, help="Lines; points of an SVG.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Heights of bars on a logarithmic scale.")] = False,
    zoom: Annotated[
        bool, typer.Option("--zoom", help="Histograms: the central 99 %. heat: each output by itself.")
    ] = False,
    angle: Annotated[int, typer.Option(metavar="DEGREES", help="surface: how far it is turned.")] = 30,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    chosen: Mapping[str, Any] = MappingProxyType({}),
    recipe_file: options.RecipeFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.svg if it exists.")] = False,
) -> None:
    """Draw a layer, as wide and high as the terminal, or as SVG."""
    from tui_prune.cli.printing import check_svg, show, write_svg
    from tui_prune.report.gallery import View

    if kind not in KINDS:
        raise UsageError(f"--kind must be one of {', '.join(KINDS)}; it is {kind!r}.")
    needs = KINDS[kind].needs
    if not layer and not KINDS[kind].of_network:
        raise UsageError("Say which layer to draw: --layer NAME; tui-prune inspect MODEL lists them.")
    if output is not None:
        check_svg(output, force=force)
    if needs is not Needs.SCORES and not any(
        (chosen.get("ratio"), chosen.get("threshold"), chosen.get("criterion"), recipe_file)
    ):
        chosen = {**chosen, "criterion": "random"}  # nothing is cut, so weights that can't be scored don't matter
    recipe = options.recipe_from(recipe_file, chosen)
    session = console.open_session(
        model, weights, input_spec, device, recipe, task or console.bundled_task(model, weights)
    )
    session.look(layer)
    if needs is Needs.ACTIVATIONS:
        with console.progress_line() as progress:
            session.measure_activations(progress)
    if needs is Needs.RECONSTRUCTION:
        _reconstruct(session)
    look, view = session.look(layer), View(log, zoom, angle)
    if output is not None:
        console.print_lines([f"Written to {write_svg(look, kind, view, output, (width, height), force=force)}."])
    else:
        console.print_drawing(show(look, kind, view, width, height, console.results()))


def _reconstruct(session: "Session") -> None:
    """Refit the layers of the present plan. Raises `UsageError` where nothing is cut, `TuiPruneError` where it fails or
    helps nothing."""
    if not session.plan.cuts:
        raise UsageError("Nothing is cut, so nothing is wrong in any layer: give --ratio R or --recipe FILE.toml.")
    if session.recovered is None or session.recovered.report.reconstruction is None:
        with console.progress_line() as progress:
            result = session.recover(progress, reconstruct=True, recalibrate=False)
        if result.report.reconstruction is None:
            raise TuiPruneError(" ".join(result.notes))


def settings(
    example: Annotated[
        bool, typer.Option("--example", help="Print a config file with every setting and every key.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show where your settings and all else that is kept for you are, what is in them, and what is wrong."""
    from tui_prune.app import keymap

    if example:
        console.print_lines(keymap.example())
        return
    found = config.found(keymap.check)
    if as_json:
        console.print_json(found)
    else:
        console.print_lines(tables.settings_lines(found))
    if found["config"]["problems"]:
        raise typer.Exit(1)


def guide(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]",
            help="The chapter to print; without one, the list of chapters.",
            autocompletion=lambda incomplete: [one for one in chapters.chapters() if one.startswith(incomplete)],
        ),
    ] = None,
) -> None:
    """Read the guide: recipes, criteria, targets, tasks, recovery, checkpoints and more, a chapter for each."""
    if topic is None:
        column = max(map(len, chapters.chapters())) + 2
        console.print_lines([f"{one.topic:{column}}{one.about}" for one in chapters.chapters().values()])
        return
    console.print_markdown(chapters.chapter(topic).text)


def _inspection(session: "Session") -> dict[str, Any]:
    """The object of `inspect --json`: the graph, with what each layer costs and what holds it."""
    from tui_prune.result import lock_rows

    plan, graph = session.plan, session.graph.to_dict()
    costs = {
        layer.name: {
            "params": layer.params.before,
            "macs": layer.macs.before,
            "bytes": layer.bytes.before,
            "locked": layer.locked,
        }
        for layer in plan.layers
    }
    return {
        "model": session.opened.title,
        "input": session.opened.input_spec,
        "recognised": None if session.opened.recognised is None else session.opened.recognised.to_dict(),
        "params": plan.before.params,
        "macs": plan.before.macs,
        "bytes": plan.before.bytes,
        "cuttable_share": graph["cuttable_share"],
        "dead_channels": session.dead_channels(),
        "layers": [{**layer, **costs[layer["name"]]} for layer in graph["layers"]],
        "groups": graph["groups"],
        "branches": [
            {"name": branch.name, "layers": list(branch.layers), "where": branch.where} for branch in session.branches
        ],
        "locks": list(lock_rows(session.graph)),
        "unreached": graph["unreached"],
    }
