"""What each layer costs, before and after: a row of bars for each, one below the other."""

from dataclasses import dataclass
from typing import NamedTuple

from tui_prune import formatting
from tui_prune.plots import svg
from tui_prune.plots.spans import Row, Span, blank, fitted

FIGURES = 13
"""Columns of "14.9M → 7.50M"."""
LEAST_NAME, MOST_NAME, LEAST_BAR = 8, 32, 3
SVG_ROW = 18


class Costs(NamedTuple):
    """A layer's name, and its MACs and parameters before and after."""

    name: str
    macs: tuple[int, int]
    params: tuple[int, int]


@dataclass(frozen=True)
class CostBars:
    """Layers in the order that they run in."""

    layers: tuple[Costs, ...]
    marked: str = ""
    """The layer that is being looked at; where not all have room, those around it are shown."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """A heading, and a row for each layer: what is left is full, what goes is shaded."""
        if not self.layers or height < 2:
            return blank(width, height, "no layers with weights" if not self.layers else "")
        name = min(MOST_NAME, max(len(layer.name) for layer in self.layers))
        name = max(LEAST_NAME, min(name, width - 2 * (LEAST_BAR + FIGURES) - 8))
        bar = (width - name - 2 * FIGURES - 8) // 2
        shown = self._around(height - 1)
        head = f"  {'layer':<{name}} {'MACs':<{max(bar, 0) + FIGURES + 2}} {'parameters'}"
        most = [max(layer.macs[0] for layer in self.layers), max(layer.params[0] for layer in self.layers)]
        made = [fitted([Span(head)], width)]
        for layer in shown:
            mark, role = ("▸ ", "strong") if layer.name == self.marked else ("  ", "note")
            spans = [Span(mark, "mark"), Span(f"{_tail(layer.name, name)} ", role)]
            for pair, top in zip((layer.macs, layer.params), most, strict=True):
                spans += [*_bar(pair, top, bar), Span(f" {_figures(pair):<{FIGURES}}  ", "note")]
            made.append(fitted(spans, width))
        return tuple(made)

    def svg(self, width: int, height: int) -> list[str]:
        """All layers, whatever height that takes."""
        if not self.layers:
            return [svg.text(width / 2, 20, "no layers with weights", "note", anchor="middle")]
        name = svg.LETTER * min(MOST_NAME, max(len(layer.name) for layer in self.layers)) + 12
        room = (width - name) / 2
        bar = room - svg.LETTER * FIGURES - 16
        made = [svg.text(name + side * room, 12, words, "note") for side, words in enumerate(("MACs", "parameters"))]
        most = [max(layer.macs[0] for layer in self.layers), max(layer.params[0] for layer in self.layers)]
        for line, layer in enumerate(self.layers):
            y = 24 + line * SVG_ROW
            role = "strong" if layer.name == self.marked else "note"
            made.append(svg.text(0, y + 10, _tail(layer.name, MOST_NAME).strip(), role))
            for side, (pair, top) in enumerate(zip((layer.macs, layer.params), most, strict=True)):
                start = name + side * room
                before, after = (bar * value / top if top else 0.0 for value in pair)
                made.append(svg.rect(start, y, before, 11, "go"))
                made.append(svg.rect(start, y, after, 11, "bar"))
                made.append(svg.text(start + before + 6, y + 10, _figures(pair), "note"))
        return made

    def svg_height(self, width: int, height: int) -> int:
        """What all layers take."""
        return 24 + SVG_ROW * max(1, len(self.layers))

    def _around(self, count: int) -> tuple[Costs, ...]:
        place = next((at for at, layer in enumerate(self.layers) if layer.name == self.marked), 0)
        start = max(0, min(place - count // 2, len(self.layers) - count))
        return self.layers[start : start + count]


def _bar(pair: tuple[int, int], most: int, width: int) -> list[Span]:
    """A bar in half cells; what costs anything shows."""
    width = max(width, 0)
    before, after = (min(2 * width, max(round(2 * width * value / most), 1)) if value else 0 for value in pair)
    full, half = divmod(after, 2)
    text = "█" * full + "▌" * half
    rest = -(-before // 2) - len(text)
    return [Span(text, "bar"), Span("░" * rest, "go"), Span(" " * (width - len(text) - max(rest, 0)))]


def _figures(pair: tuple[int, int]) -> str:
    before, after = map(formatting.count, pair)
    return f"{before:>5}" if before == after else f"{before:>5} → {after:>5}"


def _tail(name: str, width: int) -> str:
    return f"{name:<{width}}" if len(name) <= width else f"…{name[1 - width :]}"
