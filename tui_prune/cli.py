"""The command line: the same session as the app's, without a screen.

Each command imports what it needs when it runs, so that `--help` and a wrong option answer at once.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tui_prune import __version__, config, options, tables
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.kinds import KINDS, NETWORK
from tui_prune.options import recipe_from
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.request import OpenRequest

if TYPE_CHECKING:
    from tui_prune.session import Session


class _Commands(TyperGroup):
    """The commands, with `open` where none is named, and one place where errors become sentences and exit statuses."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        own = {*self.commands, *(name for parameter in self.get_params(ctx) for name in parameter.opts)}
        completing_first = ctx.resilient_parsing and not args
        if not completing_first and (not args or args[0] not in own):
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except UsageError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        except TuiPruneError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader has gone. Python flushes stdout once more when it exits, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    subcommand_metavar="[MODEL] | COMMAND [ARGS]...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; the entry point of `tui-prune`."""
    sys.stdout.reconfigure(errors="replace")
    app(prog_name="tui-prune")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tui-prune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Structured channel pruning of PyTorch models.

    `tui-prune [MODEL]` opens the app, as `tui-prune open [MODEL]` does; without a MODEL it opens the bundled network.
    """


@app.command(name="open")
def open_app(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="As for the other commands; the bundled network without one.")
    ] = None,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    task: options.Task = None,
    recipe_file: options.RecipeFile = None,
    device: options.Device = "cpu",
) -> None:
    """Open the app (what tui-prune does when no command is named)."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "The app needs a terminal for its input, its output and its errors; "
            "in a script use tui-prune inspect, prune, verify or plot."
        )
    recipe = Recipe.from_toml(recipe_file) if recipe_file else Recipe()

    from tui_prune.app.main import run

    raise typer.Exit(run(OpenRequest(model, weights, input_spec, task, device), recipe) or 0)


@app.command()
def inspect(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Show the layers, which of them are tied, what is locked and why."""
    session = _open_session(model, weights, input_spec, device, Recipe())
    inspection = _inspection(session)
    if as_json:
        _print_json(inspection)
    else:
        _print_lines(tables.inspection_lines(inspection))


@app.command()
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
    seed: options.Seed = None,
    recipe_file: options.RecipeFile = None,
    suggest: options.Suggest = False,
    recalibrate: options.Recalibrate = False,
    finetune: options.Finetune = False,
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
    recipe = recipe_from(
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
        seed=seed,
    )
    from tui_prune.comparing.exports import check_export, export
    from tui_prune.saving.whole_file import check_target

    check_target(output, force=force)
    if export_to is not None:
        check_export(export_to, force=force)
    task = task or (_bundled_task(model, weights) if suggest or recalibrate or finetune else None)
    session = _open_session(model, weights, input_spec, device, recipe, task)
    remarks: Sequence[str] = ()
    with _progress() as progress:
        if suggest:
            criteria = None if criterion is None else (criterion,)
            found = session.suggest(progress, target_macs=target_macs, target_params=target_params, criteria=criteria)
            session.apply(found)
        if recalibrate or finetune:
            remarks = session.recover(progress, recalibrate=recalibrate, finetune=finetune).notes
        elif session.task is not None and session.task.evaluate is not None:
            session.evaluate(progress)
        session.save(output, force=force, progress=progress)
    result = session.result()
    _print_notes(remarks)
    report = result.report.written_to(str(output)).to_dict()
    if export_to is not None:
        export(export_to, session.opened.title, result.plan, report, force=force)
    if as_json:
        _print_notes(result.plan.notes)
        _print_json(report)
    else:
        notes = {layer.name: layer.note for layer in result.plan.layers}
        _print_lines([*tables.report_lines(report, notes), "", *tables.load_lines(session.opened.origin, output)])


@app.command()
def sensitivity(
    model: options.Model,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    ratio: Annotated[
        list[float] | None, typer.Option(metavar="R", help="Share of its channels that each layer loses; repeatable.")
    ] = None,
    criterion: options.Criterion = None,
    seed: options.Seed = None,
    recipe_file: options.RecipeFile = None,
    as_json: options.Json = False,
) -> None:
    """Show what each layer can bear: what the task says of the network with that layer alone cut.

    What was measured is remembered, so that a scan that was stopped goes on.
    """
    recipe = recipe_from(recipe_file, criterion=criterion, seed=seed)
    session = _open_session(model, weights, input_spec, device, recipe, task or _bundled_task(model, weights))
    with _progress() as progress:
        found = session.sensitivity(progress, **({"ratios": ratio} if ratio else {})).to_dict()
    if as_json:
        _print_json({"model": session.opened.title, **found})
    else:
        _print_lines(tables.sensitivity_lines(session.opened.title, found))


@app.command()
def verify(
    checkpoint: Annotated[str, typer.Argument(metavar="OUT", help="A pruned checkpoint.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FACTORY", help="How to build a network that came from your own file."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Load a pruned checkpoint as a stranger would and check it again."""
    from tui_prune.opening.factory_file import load_factory
    from tui_prune.saving.checkpoint import verify_checkpoint

    with _progress() as progress:
        network = load_factory(model)() if model else None
        report = verify_checkpoint(checkpoint, network, progress=progress).to_dict()
    if as_json:
        _print_json(report)
    else:
        _print_lines(tables.verification_lines(report))
    for check in report["checks"]:
        if not check["ok"]:
            raise TuiPruneError(check["detail"])


@app.command()
def plot(
    model: options.Model,
    layer: Annotated[
        str,
        typer.Option(metavar="NAME", help="The layer to draw; for scales and costs also a module, or none for all."),
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="|".join(KINDS), help="; ".join(f"{kind}: {words}" for kind, words in KINDS.items()) + "."
        ),
    ] = "hist",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.svg", help="Write SVG instead of showing text.")
    ] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, help="Columns; points of an SVG.")] = None,
    height: Annotated[int | None, typer.Option(metavar="N", min=1, help="Lines; points of an SVG.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Heights of bars on a logarithmic scale.")] = False,
    zoom: Annotated[
        bool, typer.Option("--zoom", help="Histograms: the central 99 %. heat: each output by itself.")
    ] = False,
    angle: Annotated[int, typer.Option(metavar="DEGREES", help="surface: how far it is turned.")] = 30,
    weights: options.Weights = None,
    input_spec: options.Input = None,
    device: options.Device = "cpu",
    task: options.Task = None,
    ratio: options.Ratio = None,
    threshold: options.Threshold = None,
    criterion: options.Criterion = None,
    combine: options.Combine = None,
    normalise: options.Normalise = None,
    scope: options.Scope = None,
    seed: options.Seed = None,
    recipe_file: options.RecipeFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.svg if it exists.")] = False,
) -> None:
    """Draw a layer, as wide and high as the terminal, or as SVG."""
    from tui_prune.gallery import View
    from tui_prune.printing import check_svg, show, write_svg

    if kind not in KINDS:
        raise UsageError(f"--kind must be one of {', '.join(KINDS)}; it is {kind!r}.")
    if not layer and kind not in NETWORK:
        raise UsageError("Say which layer to draw: --layer NAME; tui-prune inspect MODEL lists them.")
    if output is not None:
        check_svg(output, force=force)
    if kind != "scores" and not any((ratio, threshold, criterion, recipe_file)):
        criterion = "random"  # nothing is cut, so weights that can't be scored are no reason to refuse
    recipe = recipe_from(
        recipe_file,
        ratio=ratio,
        threshold=threshold,
        criterion=criterion,
        combine=combine,
        normalise=normalise,
        scope=scope,
        seed=seed,
    )
    session = _open_session(model, weights, input_spec, device, recipe, task or _bundled_task(model, weights))
    session.look(layer)
    if kind == "activations":
        with _progress() as progress:
            session.measure_activations(progress)
    look, view = session.look(layer), View(log, zoom, angle)
    if output is not None:
        typer.echo(f"Written to {write_svg(look, kind, view, output, (width, height), force=force)}.")
    else:
        for line in show(look, kind, view, width, height):
            typer.echo(line, color=True)  # it has colours only where they are wanted


@app.command()
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
    from tui_prune.measuring.bench import benchmark

    with _progress() as progress:
        report, notes = benchmark(
            model, output, weights=weights, input_spec=input_spec, device=device, progress=progress
        )
    _print_notes(notes)
    if as_json:
        _print_json(report)
    else:
        _print_lines(tables.bench_lines(report))


@app.command(name="config")
def config_command(
    example: Annotated[
        bool, typer.Option("--example", help="Print a config file with every setting and every key.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show where your settings and all else that is kept for you are, what is in them, and what is wrong."""
    from tui_prune.app import keymap

    if example:
        _print_lines(keymap.example())
        return
    found = config.found(keymap.check)
    if as_json:
        _print_json(found)
    else:
        _print_lines(tables.settings_lines(found))


def _bundled_task(model: str, weights: str | None) -> str | None:
    """The task that comes with a bundled network and its trained weights."""
    from tui_prune.opening.bundled_networks import bundled_task

    found = bundled_task(model, weights)
    return None if found is None else str(found)


def _open_session(
    model: str, weights: str | None, input_spec: str | None, device: str, recipe: Recipe, task: str | None = None
) -> "Session":
    from tui_prune.session import Session

    with _progress() as progress:
        session = Session.open(
            model, weights=weights, input_spec=input_spec, device=device, task=task, recipe=recipe, progress=progress
        )
    _print_notes(session.opened.notes)
    return session


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
        "layers": [{**layer, **costs[layer["name"]]} for layer in graph["layers"]],
        "groups": graph["groups"],
        "locks": list(lock_rows(session.graph)),
        "unreached": graph["unreached"],
    }


@contextmanager
def _progress() -> Iterator[Progress]:
    """A line on stderr that says how far the work is, gone when it ends; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield silent
        return

    shown = ""

    def show(stage: str, done: float) -> None:
        nonlocal shown
        text = f"{stage} {100 * done:.0f} %"
        if text != shown:
            shown = text
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        typer.echo(f"Note: {note}", err=True)


def _print_json(value: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line)
