"""What all commands do: open a session, say how far work is, print."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent

if TYPE_CHECKING:
    from tui_prune.session import Session


def bundled_task(model: str, weights: str | None) -> str | None:
    """The task that comes with a bundled network and its trained weights."""
    from tui_prune.opening.bundled_networks import bundled_task

    found = bundled_task(model, weights)
    return None if found is None else str(found)


def open_session(
    model: str, weights: str | None, input_spec: str | None, device: str, recipe: Recipe, task: str | None = None
) -> "Session":
    """Open a network with its recipe; what there is to note about it goes to stderr. Raises `TuiPruneError`."""
    from tui_prune.session import Session

    with progress_line() as progress:
        session = Session.open(
            model, weights=weights, input_spec=input_spec, device=device, task=task, recipe=recipe, progress=progress
        )
    print_notes(session.opened.notes)
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
        typer.echo(f"Note: {note}", err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """The one object of `--json`."""
    typer.echo(json.dumps(value, indent=2))


def print_lines(lines: Sequence[str]) -> None:
    """What people read."""
    for line in lines:
        typer.echo(line)
