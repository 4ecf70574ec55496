"""The error that is left of each layer: a bar for each, one below the other, beside what it was before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tui_prune.plots import svg
from tui_prune.plots.spans import Row, Span, blank, fitted

LEAST_NAME, MOST_NAME = 8, 40
FIGURES = 17
"""Columns of "12.3 % → 0.41 %"."""
SVG_ROW = 18
LEAST = 1e-6
"""Less is rounding."""


class Error(NamedTuple):
    """A layer's name, and its error before and after, as shares of what it should give."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class ErrorBars:
    """Layers in the order that they run in. Bars end at 100 %: what is off by more is as good as wrong."""

    layers: Sequence[Error]
    marked: str = ""
    """The layer that is being looked at; where not all have room, those around it are shown."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """A row for each layer: what is left is full, what was taken away is shaded."""
        if not self.layers or height < 1:
            return blank(width, height, "no layer was refitted" if not self.layers else "")
        name = max(LEAST_NAME, min(MOST_NAME, width // 3, max(len(layer.name) for layer in self.layers)))
        bar = max(0, width - name - FIGURES - 4)
        made = []
        for layer in self._around(height):
            mark, role = ("▸ ", "strong") if layer.name == self.marked else ("  ", "note")
            full = _length(layer.after, bar)
            gone = max(0, _length(layer.before, bar) - full)
            spans = [
                Span(mark, "mark"),
                Span(f"{_tail(layer.name, name)} ", role),
                Span("█" * full, "bar"),
                Span("░" * gone, "go"),
                Span(" " * (bar - full - gone)),
                Span(f" {_figures(layer):<{FIGURES}}", "note"),
            ]
            made.append(fitted(spans, width))
        return tuple(made)

    def svg(self, width: int, height: int) -> list[str]:
        """All layers, whatever height that takes."""
        if not self.layers:
            return [svg.text(width / 2, 20, "no layer was refitted", "note", anchor="middle")]
        name = svg.LETTER * min(MOST_NAME, max(len(layer.name) for layer in self.layers)) + 12
        bar = max(0.0, width - name - svg.LETTER * FIGURES - 12)
        made = []
        for line, layer in enumerate(self.layers):
            y = line * SVG_ROW
            made.append(svg.text(0, y + 10, _tail(layer.name, MOST_NAME).strip(), "note"))
            before, after = (bar * min(1.0, share) for share in (layer.before, layer.after))
            made.append(svg.rect(name, y, before, 11, "go"))
            made.append(svg.rect(name, y, min(after, bar), 11, "bar"))
            made.append(svg.text(name + bar + 6, y + 10, _figures(layer), "note"))
        return made

    def svg_height(self, width: int, height: int) -> int:
        """What all layers take."""
        return SVG_ROW * max(2, len(self.layers))

    def _around(self, count: int) -> Sequence[Error]:
        place = next((at for at, layer in enumerate(self.layers) if layer.name == self.marked), 0)
        start = max(0, min(place - count // 2, len(self.layers) - count))
        return self.layers[start : start + count]


def _length(share: float, width: int) -> int:
    """Cells of a bar; what isn't nothing shows."""
    return min(width, max(round(width * min(share, 1.0)), 1)) if share >= LEAST else 0


def _figures(layer: Error) -> str:
    return f"{_percent(layer.before)} → {_percent(layer.after)}"


def _percent(share: float) -> str:
    if share < LEAST:
        return "0 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %" if share < 9.995 else "> 999 %"


def _tail(name: str, width: int) -> str:
    return f"{name:<{width}}" if len(name) <= width else f"…{name[1 - width :]}"
