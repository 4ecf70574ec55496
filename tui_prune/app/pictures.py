"""What the Pictures tab shows: a line of the drawings that there are, and those that have room, with a heading each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tui_prune.app.cells import Cell, Line, left, width_of
from tui_prune.report.gallery import Picture, View, pictures
from tui_prune.report.kinds import KINDS, kinds_of

if TYPE_CHECKING:
    from tui_prune.session.looking import Look

STYLES = {"bar": "bar", "go": "dim", "mark": "changed", "note": "dim", "error": "error", "strong": "strong"}
"""The style of each ink of a drawing that is a role."""


class Page(NamedTuple):
    """Some pictures, and which kinds come before and after them."""

    lines: tuple[Line, ...]
    kinds: tuple[str, ...] = ()
    before: str = ""
    after: str = ""


def page(look: "Look", kind: str, view: View, width: int, height: int, *, colors: bool) -> Page:
    """The page with the pictures of a kind, or of the next kind that there is."""
    there, height = kinds_of(look), height - 1
    pages = _pages(there, height)
    if not pages:
        return Page(((Cell("Nothing to draw: there are no weights here.", "dim"),),))
    order = [*KINDS]
    later = [number for number, kinds in enumerate(pages) if order.index(kinds[-1]) >= order.index(kind)]
    number = later[0] if later else 0
    kinds = pages[number]
    turn = f"{number + 1} of {len(pages)}" if len(pages) > 1 else ""
    lines: list[Line] = [_names(there, kinds, width)]
    height += 1
    needed = sum(KINDS[one].rows for one in kinds)
    for one in kinds:
        made = pictures(look, one, view, width - 2)
        for picture in made:
            rows = (height - 1) * KINDS[one].rows // needed // len(made)
            last = one == kinds[-1] and picture is made[-1]
            rows = height - len(lines) if last else rows - 1
            lines += _lines(picture, KINDS[one].keys, turn, width, rows, colors)
            lines += [] if last else [()]
            turn = ""
    return Page(tuple(lines), kinds, pages[number - 1][0], pages[(number + 1) % len(pages)][0])


def _names(there: Sequence[str], shown: Sequence[str], width: int) -> Line:
    """The drawings that there are of this place, those on the page standing out."""
    cells: list[Cell] = []
    for kind in there:
        cells.append(Cell(f"[{KINDS[kind].name}]", "strong") if kind in shown else Cell(f" {KINDS[kind].name} ", "dim"))
    hint = "space: next"
    room = width - 2 - width_of(cells)
    return (*cells, Cell(" " * (room - len(hint)) + hint, "dim")) if room > len(hint) + 1 else tuple(cells)


def _pages(kinds: Sequence[str], height: int) -> list[tuple[str, ...]]:
    """Kinds side by side while they have room."""
    pages: list[tuple[str, ...]] = []
    for kind in kinds:
        if pages and sum(KINDS[one].rows for one in (*pages[-1], kind)) <= height:
            pages[-1] = (*pages[-1], kind)
        else:
            pages.append((kind,))
    return pages


def _lines(picture: Picture, keys: str, turn: str, width: int, rows: int, colors: bool) -> list[Line]:
    aside = ", ".join(filter(None, (turn, keys)))
    room = width - 4 - len(picture.name) - len(aside) - 2
    heading = Cell(f"{picture.name}  ", "strong"), Cell(f"{left(picture.figures, room)}  {aside}", "dim")
    drawn = picture.drawing.rows(width - 2, max(1, rows - 1), colors=colors)
    return [heading, *(tuple(Cell(text, STYLES.get(ink, ink)) for text, ink in row) for row in drawn)]
