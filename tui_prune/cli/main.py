"""The command line: the same session as the app's, without a screen.

Each command imports what it needs when it runs, so that `--help` and a wrong option answer at once.
"""

import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tui_prune import __version__, paths
from tui_prune.cli import console, cut, measure, options, output, show
from tui_prune.errors import INTERRUPTED, TuiPruneError, UsageError
from tui_prune.loading.request import OpenRequest
from tui_prune.memory import said_of_memory
from tui_prune.planning.recipe import Recipe
from tui_prune.workers import backend_for

_WRONG_WORDS: type[BaseException] = typer.BadParameter.__mro__[2]
"""Click's own errors: typer has them from click, or brings them along."""


class _Commands(TyperGroup):
    """The commands, with `open` where none is named, and one place where errors become sentences and exit statuses."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {*self.commands, *(name for parameter in self.get_params(ctx) for name in parameter.opts)}
        completing_first = ctx.resilient_parsing and not args
        if not completing_first and (not args or args[0] not in own):
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            with paths.started_here():
                result = super().invoke(ctx)
            with console.written():
                sys.stdout.flush()
            return result
        except UsageError as error:
            console.print_error(str(error))
            raise typer.Exit(2) from None
        except TuiPruneError as error:
            console.print_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort, _WRONG_WORDS):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename is None:
                raise  # help couldn't be printed
            words = said_of_memory(error)
            if words is not None:
                console.print_error(words)
                raise typer.Exit(1) from None
            from tui_prune.app import crashes

            crashes.tell(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    subcommand_metavar="[MODEL] | COMMAND [ARGS]...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; the entry point of `tui-prune`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        app(prog_name="tui-prune")
        with console.written():
            sys.stdout.flush()
    except TuiPruneError as error:
        console.print_error(str(error))
    except OSError as error:  # help, which is printed by the parser
        console.print_error(f"The output can't be written: {error.strerror or error}.")
    else:
        return
    _drop_output()
    sys.exit(1)


def _drop_output() -> None:
    """Nobody takes it. Python flushes stdout once more when it exits, which must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    `tui-prune guide` explains the rest, chapter by chapter.
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
    latency_table: options.LatencyTable = None,
    device: options.Device = "cpu",
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
) -> None:
    """Open the app (what tui-prune does when no command is named)."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "The app needs a terminal for its input, its output and its errors; "
            "in a script use tui-prune inspect, prune, verify or plot."
        )
    recipe = Recipe.from_toml(recipe_file) if recipe_file else Recipe()
    backend_for(jobs, cluster, device)  # what can't be is said before the screen is there

    from tui_prune.app.main import run

    raise typer.Exit(
        run(OpenRequest(model, weights, input_spec, task, device, latency_table, jobs, cluster), recipe) or 0
    )


for _command in (
    show.inspect,
    cut.prune,
    measure.sensitivity,
    measure.sweep,
    cut.verify,
    output.export,
    output.report,
    show.plot,
    measure.bench,
    measure.latency,
):
    app.command()(console.reporting(_command))
app.command()(console.reporting(show.guide))
app.command(name="config")(console.reporting(show.settings))
