"""SVG in the looks of the app: elements by role, and a document that is whole in itself."""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

import numpy as np

from tui_prune.formatting import printable
from tui_prune.plots.palette import NOT_FINITE

LEFT, BELOW, ABOVE = 64, 26, 18
"""Points for the figures at the left of bars, below and above them."""
LETTER = 7.3
"""Points that a letter takes, roughly."""
EDGE, HEAD = 24, 62
"""Points around a drawing, and above it for its heading."""

GROUND = "#14171c"
INKS = {
    "bar": "#7f9fc4",
    "go": "#59626f",
    "mark": "#e5b567",
    "note": "#8b95a4",
    "strong": "#ccd1d9",
    "error": NOT_FINITE,
}
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def text(x: float, y: float, words: str, role: str, *, anchor: str = "start", size: int = 12) -> str:
    """A line of words."""
    weight = ' font-weight="bold"' if role == "strong" else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" fill="{INKS[role]}" font-size="{size}" text-anchor="{anchor}"{weight}'
        f' xml:space="preserve">{escape(printable(words))}</text>'
    )


def rect(x: float, y: float, width: float, height: float, color: str) -> str:
    """A filled rectangle; a colour or the name of a role."""
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{INKS.get(color, color)}"/>'


def points(colors: np.ndarray, palette: Sequence[str], x: float, y: float, size: float) -> list[str]:
    """A grid of squares. `colors` (height, width) are places in the palette; negative: nothing there."""
    runs: dict[int, list[str]] = {}
    for line, row in enumerate(colors):
        begin = np.flatnonzero(np.diff(row, prepend=row[0] - 1))
        for start, end in zip(begin, [*begin[1:], len(row)], strict=True):
            if row[start] >= 0:
                runs.setdefault(int(row[start]), []).append(f"M{start} {line}h{end - start}v1h{start - end}z")
    made = [f'<path fill="{palette[color]}" d="{"".join(drawn)}"/>' for color, drawn in sorted(runs.items())]
    return [f'<g transform="translate({_n(x)} {_n(y)}) scale({size})" shape-rendering="crispEdges">', *made, "</g>"]


def polygons(shapes: Iterable[tuple[np.ndarray, int]], palette: Sequence[str]) -> list[str]:
    """Polygons, the later over the earlier: corners (n, 2) and a place in the palette each.

    Each has a hair of its own colour around it, so that neighbours leave no gap.
    """
    drawn, used = [], set()
    for corners, color in shapes:
        used.add(color)
        places = " ".join(f"{_n(x)} {_n(y)}" for x, y in corners)
        drawn.append(f'<path class="p{color}" d="M{places}z"/>')
    looks = "".join(f".p{color}{{fill:{palette[color]};stroke:{palette[color]}}}" for color in sorted(used))
    return [f"<style>{looks}</style>", '<g stroke-width="0.4" stroke-linejoin="round">', *drawn, "</g>"]


def line(x: float, y: float, to_x: float, to_y: float, role: str) -> str:
    """A straight line."""
    return f'<path d="M{_n(x)} {_n(y)}L{_n(to_x)} {_n(to_y)}" stroke="{INKS[role]}"/>'


def steps(places: Sequence[float], tops: Sequence[float], ground: float, role: str) -> str:
    """Bars from the ground to their tops, between each place and the next."""
    drawn = "".join(
        f"M{_n(start)} {_n(ground)}V{_n(top)}H{_n(end)}V{_n(ground)}z"
        for start, end, top in zip(places, places[1:], tops, strict=False)
        if abs(top - ground) >= 0.05
    )
    return f'<path d="{drawn}" fill="{INKS[role]}"/>' if drawn else ""


def document(parts: Sequence[tuple[str, str, list[str], int]], width: int) -> str:
    """A picture of one part below the other: heading, figures, elements, and the height that they take in points."""
    made, top = [], 0.0
    for heading, figures, elements, height in parts:
        made.append(text(EDGE, top + 30, heading, "strong", size=15))
        made.append(text(EDGE, top + 48, figures, "note"))
        made.append(f'<g transform="translate({EDGE} {_n(top + HEAD)})">')
        made += [element for element in elements if element]
        made.append("</g>")
        top += HEAD + height + EDGE
    whole = width + 2 * EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_n(top)}" viewBox="0 0 {whole} {_n(top)}" '
        f'font-family="{FONT}">'
    )
    ground = f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>'
    return "\n".join([head, f"<title>{escape(printable(parts[0][0]))}</title>", ground, *made, "</svg>", ""])


def _n(value: float) -> str:
    """A number of points, as short as it can be written."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
