"""What all commands do: open a session, say how far work is, print."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import typer

from tui_prune.errors import TuiPruneError
from tui_prune.formatting import abridged, printable
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent

if TYPE_CHECKING:
    from tui_prune.session.session import Session


Command = TypeVar("Command", bound=Callable[..., None])

LONGEST = 2000
"""Characters of a line that a person reads; names in a file may have millions."""

READABLE = 110
"""Columns of formatted text, at most."""

_results: TextIO | None = None
"""Where the present command prints what it was asked for."""


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Keep stdout for what a command was asked for: what other code prints in the block goes to stderr.

    That holds for Python's `print` and, where stdout is the process's own, for what is written to its file descriptor.
    """
    global _results
    before, own = _results, sys.stdout
    try:
        number = own.fileno()
        kept = os.dup(number)
        os.dup2(sys.stderr.fileno(), number)
    except (OSError, ValueError, AttributeError):  # stdout is a buffer, or closed
        kept = None
    if kept is None:
        _results = own
    else:
        own.flush()
        _results = os.fdopen(kept, "w", encoding=own.encoding, errors=own.errors)
    try:
        with redirect_stdout(sys.stderr):
            yield
        with written():
            _results.flush()
    finally:
        if kept is not None:
            with suppress(OSError):  # a command that has failed may have printed before
                _results.flush()
            os.dup2(kept, number)
            with suppress(OSError):
                _results.close()
        _results = before


def reporting(command: Command) -> Command:
    """A command that runs with `stdout_for_results`."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with stdout_for_results():
            command(*args, **kwargs)

    return cast(Command, run)


def results() -> TextIO:
    """The stream for what the present command was asked for."""
    return sys.stdout if _results is None else _results


def bundled_task(model: str, weights: str | None) -> str | None:
    """The task that comes with a bundled network and its trained weights."""
    from tui_prune.loading.sources.bundled import bundled_task

    found = bundled_task(model, weights)
    return None if found is None else str(found)


def open_session(
    model: str,
    weights: str | None,
    input_spec: str | None,
    device: str,
    recipe: Recipe,
    task: str | None = None,
    *,
    probing: bool = True,
    latency_table: str | None = None,
) -> "Session":
    """Open a network with its recipe; what there is to note about it goes to stderr. `probing` as in `Session`.

    Raises `TuiPruneError`.
    """
    from tui_prune.session.session import Session

    with progress_line() as progress:
        session = Session.open(
            model,
            weights=weights,
            input_spec=input_spec,
            device=device,
            task=task,
            recipe=recipe,
            probing=probing,
            latency_table=latency_table,
            progress=progress,
        )
    print_notes((*session.opened.notes, *(() if session.task is None else session.task.notes)))
    return session


@contextmanager
def progress_line() -> Iterator[Progress]:
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


def print_notes(notes: Sequence[str]) -> None:
    """Notes go to stderr: stdout is for what was asked."""
    for note in notes:
        print_error(f"Note: {note}")


@contextmanager
def written() -> Iterator[None]:
    """Raise `TuiPruneError` where results can't be written. A reader that has closed the pipe is no failure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TuiPruneError(f"The output can't be written: {error.strerror or error}.") from error


def print_error(sentence: str) -> None:
    """A sentence on stderr, in one line, where there is anything left to say it on."""
    with suppress(OSError):
        typer.echo(abridged(printable(sentence.replace("\n", " ")), LONGEST), err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """The one object of `--json`."""
    with written():
        typer.echo(json.dumps(value, indent=2), file=results())


def print_lines(lines: Sequence[str]) -> None:
    """What people read."""
    with written():
        for line in lines:
            typer.echo(abridged(printable(line), LONGEST), file=results())


def print_drawing(lines: Sequence[str]) -> None:
    """Lines of a drawing, which have colours only where they are wanted."""
    with written():
        for line in lines:
            typer.echo(line, file=results(), color=True)


def print_markdown(text: str) -> None:
    """A text in Markdown, formatted for a terminal, and as it is anywhere else. Nothing of it is left out."""
    if not results().isatty():
        print_lines(text.splitlines())
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    styles = Theme({"markdown.code": "bold", "markdown.link": "underline"})  # others have grounds of their own
    screen = Console(file=results(), theme=styles)
    screen.width = min(screen.width, READABLE)
    with written():
        screen.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
