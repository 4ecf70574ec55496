"""Cells: text with the name of a style. Every line of the app is made of them, and one function paints them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len as cell_len  # for those who draw with cells
from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tui_prune.formatting import printable


class Cell(NamedTuple):
    """Some text and how it looks: one of the styles below, which app.tcss gives colours, or colours of a drawing
    ("#rrggbb", "#rrggbb on #rrggbb")."""

    text: str
    style: str = "plain"


Line = tuple[Cell, ...]

STYLES = {
    "bar",  # bars of a drawing
    "changed",  # what the recipe changes
    "code",  # a line of somebody's code
    "cut-most",  # the hatched part of a bar, by how much is cut
    "cut-much",
    "cut-some",
    "cursor",  # lies over the row under the cursor
    "dim",  # what hasn't changed, and what explains
    "error",
    "header",
    "kept",  # the solid part of a bar
    "key",
    "mark",  # the mark of the row under the cursor
    "plain",
    "strong",
}
COMPONENT_CLASSES = {f"cell--{style}" for style in STYLES}


def text_of(cells: Iterable[Cell]) -> str:
    """The words of a line, without their looks."""
    return "".join(cell.text for cell in cells)


def width_of(cells: Iterable[Cell]) -> int:
    """How many columns of the terminal a line takes."""
    return sum(cell_len(cell.text) for cell in cells)


def left(text: str, width: int) -> str:
    """Text in `width` columns, at the left; an ellipsis where it's longer."""
    text = printable(text)
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return set_cell_size(text, width)


def shortened(text: str, width: int) -> str:
    """Text in at most `width` columns, with an ellipsis where it's longer."""
    return left(text, min(width, cell_len(text)))


def right(text: str, width: int) -> str:
    """Text in `width` columns, at the right."""
    text = printable(text)
    return left(text, width) if cell_len(text) > width else " " * (width - cell_len(text)) + text


def tail(text: str, width: int) -> str:
    """Text in `width` columns of which the end matters more than the start: "…3.downsample.0"."""
    text = printable(text)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size("…" + text, width) if width > 0 else ""


def wrap(text: str, width: int) -> list[str]:
    """Words broken into lines of at most `width` columns; a word that is longer is broken anywhere."""
    lines, line = [], ""
    for word in text.split():
        while cell_len(word) > width > 0:
            room = set_cell_size(word, width)
            lines += [line] * bool(line) + [room.rstrip()]
            line, word = "", word[len(room.rstrip()) :]
        joined = f"{line} {word}" if line else word
        if cell_len(joined) > width:
            lines.append(line)
            joined = word
        line = joined
    return [*lines, line] if line else lines


def changed_columns(old: Sequence[Cell], new: Sequence[Cell]) -> tuple[int, int] | None:
    """From which column to which two lines differ; None when they are the same."""
    if old == new:
        return None
    start = end = 0
    old_end = new_end = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        start += cell_len(one.text)
    old_end, new_end = width_of(old), width_of(new)
    end = max(old_end, new_end)
    if old_end == new_end:
        for one, other in zip(reversed(old), reversed(new), strict=False):
            if one != other:
                break
            end -= cell_len(one.text)
    return start, max(end, start + 1)


def paint(widget: Widget, cells: Sequence[Cell], width: int, over: str | None = None) -> Strip:
    """A line as a widget shows it, cut or filled to `width`. The style `over` lies over all of it.

    Blanks take the style of what is before them: each change of style costs some forty bytes on the line.
    """
    base = widget.rich_style
    cover = _style(widget, over) if over else Style.null()
    runs: list[tuple[str, str]] = []
    for text, style in cells:
        if runs and (style == runs[-1][1] or (not text.strip() and not _grounded(style, runs[-1][1]))):
            runs[-1] = (runs[-1][0] + text, runs[-1][1])
        elif text:
            runs.append((text, style))
    fill = width - width_of(cells)
    if runs and fill > 0 and not _grounded(runs[-1][1]):
        runs[-1] = (runs[-1][0] + " " * fill, runs[-1][1])
    segments = [Segment(printable(text), base + _style(widget, style) + cover) for text, style in runs]
    return Strip(segments).adjust_cell_length(width, base + cover)


def _grounded(*styles: str) -> bool:
    """Whether blanks show the difference between styles: one has a ground of its own."""
    return any(" on " in style for style in styles)


def _style(widget: Widget, name: str) -> Style:
    if name.startswith("#"):
        from tui_prune.plots import style_of

        return style_of(name)
    return widget.get_component_rich_style(f"cell--{name}", partial=True)
