"""What `tui-prune plot` does with a picture: shows it in the terminal, or writes it as SVG."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from xml.etree import ElementTree

from tui_prune import plots
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.formatting import printable
from tui_prune.report.gallery import Picture, View, document, pictures
from tui_prune.report.kinds import KINDS, Kind, kinds_of
from tui_prune.saving.whole_file import check_target, write_whole

if TYPE_CHECKING:
    from tui_prune.session.looking import Look

SVG_SIZE = (960, 640)
MARGIN = 3
"""Lines of the terminal that a drawing leaves free: for its title, and the next prompt."""
ENDLESS = 100_000
"""Lines, for a drawing that has as many as it needs."""
LARGEST_TERMINAL = (500, 200)
"""Columns and lines that a terminal is taken to have at most, whatever it or the environment says."""
LARGEST = 400_000
"""Characters of a drawing in text: some terminals full."""


def check_svg(path: Path, *, force: bool) -> None:
    """Whether a picture may be written there. Raises `UsageError`, and `TuiPruneError` as `check_target` does."""
    if path.suffix.casefold() != ".svg":
        raise UsageError(f"Pictures are written as SVG: name a file that ends in .svg; it was {path}.")
    check_target(path, force=force)


def show(
    look: "Look", kind: str, view: View, width: int | None, height: int | None, stream: TextIO | None = None
) -> list[str]:
    """The lines of the pictures of a kind, as wide and high as the terminal where nothing else is said. `stream` is
    where they will be printed; None: stdout.

    Raises `TuiPruneError` where there is no such picture of the place.
    """
    from rich.console import Console

    check_kind(look, kind)
    console = Console(file=stream)
    colored = console.is_terminal and not console.no_color
    colors = colored and console.color_system in ("256", "truecolor")
    columns, lines = map(min, shutil.get_terminal_size(_terminal_size(stream)), LARGEST_TERMINAL)
    columns = width or columns
    if columns * (height or 1) > LARGEST:
        raise UsageError(f"A drawing of {columns} columns and {height} lines is too large for text: name an SVG by -o.")
    made = pictures(look, kind, view, columns)
    room = max((height or lines - MARGIN + 1) // len(made) - 1, 1)
    if KINDS[kind].grows and height is None:
        room = ENDLESS
    said = []
    for picture in made:
        rows = picture.drawing.rows(columns, room, colors=colors)
        said += [printable(_title(look, picture)), *plots.terminal_text(rows, colored=colored).split("\n")]
    return said


def write_svg(
    look: "Look", kind: str, view: View, path: Path, size: tuple[int | None, int | None], *, force: bool
) -> Path:
    """Write the pictures of a kind, whole or not at all; the file that was written. Raises `TuiPruneError`."""
    check_kind(look, kind)
    width, height = (wanted or usual for wanted, usual in zip(size, SVG_SIZE, strict=True))
    text = document(look, kind, view, max(width, 200), max(height, 150))

    def check(part: Path) -> None:
        ElementTree.parse(part)

    return write_whole(path, lambda file: file.write(text.encode()), check, force=force)


def check_kind(look: "Look", kind: str) -> None:
    """Raises `TuiPruneError` that says why there is no picture of this kind, where there is none."""
    if kind in kinds_of(look):
        return
    name, details, known = look.path or "the network", look.details, KINDS[kind]
    missing = Kind.missing if details is None and not known.of_network else known.missing
    reason = (None if details is None else details.layer.locked) or "it has no group"
    raise TuiPruneError(missing.format(name=name, reason=reason))


def _terminal_size(stream: TextIO | None) -> tuple[int, int]:
    """Columns and lines of the terminal behind a stream; 80 by 24 where there is none."""
    try:
        columns, lines = os.get_terminal_size((stream or sys.stdout).fileno())
        return columns, lines
    except (OSError, ValueError, AttributeError):
        return 80, 24


def _title(look: "Look", picture: Picture) -> str:
    subject = f"{look.path} · {look.details.layer.kind}" if look.details is not None else look.path or picture.name
    return f"{subject} · {picture.figures}" if picture.figures else subject
