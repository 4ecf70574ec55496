"""What the Histogram tab shows of a layer: drawings with a heading each, made off the event loop."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tui_prune import plots
from tui_prune.app.cells import Cell, Line, left
from tui_prune.wording import count, share

if TYPE_CHECKING:
    from tui_prune.session import LayerDetails

LEAST = 9
"""Lines that a drawing needs, its heading included; where they are fewer, the drawings take turns."""


class Picture(NamedTuple):
    """A heading, some figures beside it, and a function that draws in a width and a height."""

    name: str
    figures: str
    draw: Callable[[int, int], str]


def pictures(details: "LayerDetails", width: int, height: int, first: int = 0) -> tuple[Line, ...]:
    """The lines to show; where not all drawings have room, they start with the one numbered `first`."""
    made = _pictures(details, width)
    if not made:
        return ((Cell("Nothing to draw: the layer has no weights of its own.", "dim"),),)
    room = max(1, min(len(made), height // LEAST))
    start = first % len(made) if room < len(made) else 0
    lines: list[Line] = []
    for place in range(room):
        picture = made[(start + place) % len(made)]
        last = place == room - 1
        turn = f"{start + 1} of {len(made)}, space: next" if room < len(made) and not place else ""
        figures = left(picture.figures, width - 4 - len(picture.name) - len(turn) - 2)
        lines.append((Cell(f"{picture.name}  ", "strong"), Cell(f"{figures}  {turn}", "dim")))
        tall = height // room - (1 if last else 2)
        lines += [_styled(line) for line in picture.draw(width - 2, max(plots.LEAST_HEIGHT, tall)).split("\n")]
        lines += [] if last else [()]
    return tuple(lines)


def _pictures(details: "LayerDetails", width: int) -> list[Picture]:
    made = []
    if details.weights is not None:
        made.append(_histogram("weights", details.weights, width))
    if details.scores is not None:
        kept = np.ones(len(details.scores), bool) if details.kept is None else np.asarray(details.kept, bool)
        figures = f"{len(kept)} channels, {int(kept.sum())} stay"
        if not kept.all():
            figures += f", {int((~kept).sum())} go (shaded)"
        made.append(
            Picture(
                "channel scores",
                figures,
                lambda w, h: plots.scores(details.scores, details.kept, width=w, height=h),
            )
        )
    if details.norm_scales is not None:
        made.append(_histogram("batch norm scales", details.norm_scales, width))
    return made


def _histogram(name: str, values: Any, width: int) -> Picture:
    total = values.numel() if hasattr(values, "numel") else len(values)
    bins = plots.binned(values, plots.bins_for(width - 2, total))
    figures = f"{count(bins.total)} values"
    if bins.left_out < bins.total:
        figures += f", mean {bins.mean:.2g}, deviation {bins.deviation:.2g}"
    if bins.zeros:
        figures += f", {share(bins.zeros, bins.total)} zero"
    if bins.left_out:
        figures += f", {count(bins.left_out)} not finite"
    return Picture(name, figures, lambda w, h: plots.histogram(bins, width=w, height=h))


_PIECES = re.compile(r"[▀-▐▔-▟]+|░+|[^▀-▟]+")


def _styled(line: str) -> Line:
    """Bars in the colour of bars, the shaded ones and the figures quiet."""
    return tuple(
        Cell(piece, "bar" if "▀" <= piece[0] <= "▟" and piece[0] != "░" else "dim") for piece in _PIECES.findall(line)
    )
