"""The Overview tab: what is left of the network, what it is worth, where its cost lies, and what to do next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tui_prune import formatting
from tui_prune.app.cells import Cell, Line, left, shortened, tail, width_of, wrap
from tui_prune.app.tree_cells import CUT, KEPT, cost_bar, cut_style, percent
from tui_prune.app.tree_facts import collapsed
from tui_prune.formatting import count, share, size
from tui_prune.plots.skyline import Column, places, skyline, sparks

if TYPE_CHECKING:
    from tui_prune.app.headlines import Score
    from tui_prune.app.outline import Node
    from tui_prune.planning.plan import LayerPlan, Plan

NAME, FIGURES = 12, 27
"""Widths in columns: the name of a gauge, and the figures behind it."""
LEAST_GAUGE, MOST_GAUGE = 8, 60
LEAST_SKYLINE, MOST_SKYLINE = 3, 20
LARGEST = 6
"""Layers that are listed by what is left of them, where there is room."""
ROOMY = 22
"""Lines from which there are empty ones between the parts."""
MANY = 3
"""Coupled layers that are named; more are counted."""
HERE, INSIDE = "▲", "▔"


@dataclass(frozen=True)
class LayerErrors:
    """What is wrong in each layer's outputs, by name, and after what."""

    words: str
    of: dict[str, float]


@dataclass(frozen=True, eq=False)
class Overview:
    """All that the Overview speaks of."""

    plan: "Plan"
    node: "Node | None"
    """The row that the tree's cursor is on."""
    score: "Score | None" = None
    interval: float | None = None
    """Half the width of the last accuracy's interval, in points of a hundred."""
    latency: tuple[float, float] | None = None
    """Seconds of a forward pass, uncut and cut, where it was measured."""
    errors: LayerErrors | None = None
    coupled: tuple[str, ...] = ()
    """The layers whose channels stand and fall with those of the present one."""
    next: str = ""
    """What to do now."""


def overview_lines(found: Overview, width: int, height: int) -> tuple[Line, ...]:
    """Return the lines of the Overview for a pane of this width and height, in cells."""
    gap: list[Line] = [()] if height >= ROOMY else []
    above = [*_gauges(found, width), *gap]
    below = [*gap, *_errors(found, width), *(gap if found.errors else []), *_here(found, width)]
    below += [*gap, *_next(found, width)]
    if height >= len(above) + len(below) + MOST_SKYLINE + LARGEST + 5:
        below = [*gap, *_largest(found.plan, width), *below]
    rows = min(max(height - len(above) - len(below) - 2, LEAST_SKYLINE), MOST_SKYLINE)
    return (*above, *_skyline(found, width, rows), *below)


def _gauges(found: Overview, width: int) -> list[Line]:
    before, after = found.plan.before, found.plan.after
    lines = [
        _gauge("MACs", before.macs, after.macs, count, width),
        _gauge("parameters", before.params, after.params, count, width),
        _gauge("bytes", before.bytes, after.bytes, size, width),
    ]
    if found.latency is not None:
        lines.append(_gauge("latency", *found.latency, formatting.latency, width))
    if found.score is not None:
        lines.append(_accuracy(found, found.score))
    return lines


def _gauge(name: str, before: float, after: float, words: Callable[[float], str], width: int) -> Line:
    columns = min(max(width - NAME - FIGURES - 2, LEAST_GAUGE), MOST_GAUGE)
    kept = round(columns * after / before) if before else 0
    style = cut_style(before, after)
    figures: Line = (Cell(words(before), "dim"),)
    if after != before:
        figures = (Cell(words(after), "changed"), Cell(f" of {words(before)}", "dim"))
        figures += (Cell(f"{share(after, before):>6}"),) if width_of(figures) <= FIGURES - 6 else ()
    bar = Cell(KEPT * kept, "kept"), Cell(CUT[style] * (columns - kept), style)
    return (Cell(left(name, NAME), "dim"), *(cell for cell in bar if cell.text), Cell("  "), *figures)


def _accuracy(found: Overview, score: "Score") -> Line:
    """The accuracy uncut, cut and recovered, as far as it was measured."""
    said = [Cell(left("accuracy" if 0 <= score.before <= 1 else "score", NAME), "dim")]
    said.append(Cell(f"{formatting.score(score.before, score.before)} uncut", "dim"))
    cuts = found.plan.cuts
    if score.after is not None:
        said += [Cell(" → ", "dim"), Cell(formatting.score(score.after, score.before), "changed"), Cell(" cut", "dim")]
    if score.recovered is not None:
        figure = Cell(formatting.score(score.recovered, score.before), "changed")
        said += [Cell(" → ", "dim"), figure, Cell(" recovered", "dim")]
    elif score.live is not None and cuts:
        figure = Cell(formatting.score(score.live, score.before), "changed")
        said += [Cell(" → ", "dim"), figure, Cell(" if reconstructed (R)", "dim")]
    if found.interval is not None:
        said.append(Cell(f"  ±{found.interval:.1f}", "dim"))
    if cuts and score.after is None and score.recovered is None and score.live is None:
        said.append(Cell("  cut: not measured yet (e)", "dim"))
    return tuple(said)


def _skyline(found: Overview, width: int, height: int) -> list[Line]:
    layers = _layers(found.plan)
    room = max(1, width - 2)
    columns = []
    for layer in layers:
        style = "error" if collapsed(layer) else cut_style(*layer.macs)
        columns.append(Column(*layer.macs, CUT[style], style))
    rows = [tuple(Cell(*span) for span in row) for row in skyline(columns, room, height)]
    where = places(len(layers), room)
    end = where.of(max(0, len(layers) - 1))[-1] + 1
    marks = [Cell(" ")] * end  # a cell for each column: moving the mark repaints no more than its way
    inside = set() if found.node is None or not found.node.path else set(found.node.layers) | {found.node.path}
    shown = [index for index, layer in enumerate(layers) if layer.name in inside]
    for index in shown:
        cells = where.of(index)
        for place in cells if len(shown) > 1 else (cells[len(cells) // 2],):
            marks[place] = Cell(INSIDE if len(shown) > 1 else HERE, "mark")
    return [(Cell("MACs of each layer, in order: kept, and cut (hatched)", "dim"),), *rows, tuple(marks)]


def _largest(plan: "Plan", width: int) -> list[Line]:
    """The layers that cost the most of what is left."""
    layers = sorted(_layers(plan), key=lambda layer: -layer.macs.after)[:LARGEST]
    names = min(max((cell_len(layer.name) for layer in layers), default=0), max(12, width // 3))
    most, columns = max((layer.macs.before for layer in layers), default=0), max(LEAST_GAUGE, width - names - 24)
    lines: list[Line] = [(Cell("where most of what is left lies", "dim"),)]
    for layer in layers:
        figure = percent(layer.macs.after / plan.before.macs if plan.before.macs else None)
        bar = cost_bar(*layer.macs, most, columns, "error" if collapsed(layer) else "")
        lines.append(
            (Cell(f"{tail(layer.name, names)}  "), *bar, Cell(f"  {count(layer.macs.after):>6} {figure:>5} %"))
        )
    return lines


def _errors(found: Overview, width: int) -> list[Line]:
    if found.errors is None:
        return []
    layers, of = _layers(found.plan), found.errors.of
    drawn = sparks([of.get(layer.name) for layer in layers], len(layers), max(1, width - 2))
    worst = max(of, key=lambda name: of[name])
    return [
        (Cell(f"error by layer, {found.errors.words}; worst ", "dim"), Cell(worst), Cell(f" {of[worst]:.2g}", "dim")),
        (Cell(drawn, "bar"),),
    ]


def _here(found: Overview, width: int) -> list[Line]:
    """Describe the row under the cursor: its kind, the share of it that is kept, and its coupled layers."""
    plan, node = found.plan, found.node
    if node is None:
        return []
    layer = plan.layer(node.path) if node.layer else None
    if layer is None:
        inside = set(node.layers)
        macs = [sum(layer.macs[side] for layer in plan.layers if layer.name in inside) for side in (0, 1)]
        if not node.path:
            macs = [plan.before.macs, plan.after.macs]
        name = node.path or node.label
        number = sum(one.producer for one in plan.layers if one.name in inside)
        said = f"  {node.class_name}, {number} layer{'' if number == 1 else 's'}"
        return [(Cell(shortened(name, width - 2), "strong"), Cell(said, "dim")), _part(plan, *macs)]
    lines: list[Line] = [(Cell(layer.name, "strong"), Cell(f"  {layer.kind}", "dim"))]
    lines.append(_width(plan, layer, width))
    lines.append(_part(plan, *layer.macs))
    others = [name for name in found.coupled if name != layer.name]
    if others:
        more = f" and {len(others) - MANY} more" if len(others) > MANY else ""
        said = f"coupled with {', '.join(others[:MANY])}{more} (T goes there)"
        lines.append((Cell(shortened(said, width - 2), "dim"),))
    return lines


def _width(plan: "Plan", layer: "LayerPlan", width: int) -> Line:
    """The channels; and the width that was asked, where alignment has made another one of it."""
    if layer.locked:
        return (Cell(f"{layer.before} channels  "), Cell(f"locked: {layer.locked}", "dim"))
    if layer.before == layer.after:
        return (Cell(f"{layer.before} channels", "dim"),)
    said = [Cell(f"{layer.before} → ", "dim"), Cell(str(layer.after), "error" if collapsed(layer) else "changed")]
    said.append(Cell(" channels", "dim"))
    asked = asked_width(plan, layer.name)
    if asked is not None and asked != layer.after:
        said.append(Cell(f"; asked for {asked}, alignment made it {layer.after}", "dim"))
        why = Cell(" (W says why)", "dim")
        said += [why] if width_of((*said, why)) < width else []
    elif collapsed(layer):
        said.append(Cell("; hardly anything of it is left", "error"))
    return tuple(said)


def asked_width(plan: "Plan", name: str) -> int | None:
    """The outputs that a layer would keep if nothing were aligned; None where that isn't known."""
    layer = plan.graph.layer(name)
    if plan.unaligned is None or layer is None or not len(layer.outputs):
        return None
    return int(plan.unaligned[layer.outputs].sum())


def _part(plan: "Plan", before: float, after: float) -> Line:
    """MACs of a part, and its share of the network's."""
    whole = plan.before.macs
    said = f"MACs {formatting.change(count(before), count(after))}"
    parts = formatting.change(percent(before / whole), percent(after / whole)) if whole else ""
    return (Cell(said, "dim"), Cell(f"; {parts} % of the network's" if parts else "", "dim"))


def _next(found: Overview, width: int) -> list[Line]:
    pieces = wrap(found.next, width - 8)[:2] if found.next else []
    return [(Cell("next  " if not number else "      ", "key"), Cell(piece)) for number, piece in enumerate(pieces)]


def next_step(plan: "Plan", *, has_task: bool, score: "Score | None", hint: str, saved: bool) -> str:
    """What to do now, in one sentence that names the keys."""
    gone = _collapsed(plan.layers)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return (
            f"{gone[0].name}{more} keeps {gone[0].after} of {gone[0].before} channels: move there; - cuts less, L locks"
        )
    if not plan.cuts:
        return "t says how large the network may be; r or + cuts the row under the bar, g all; B has presets"
    if saved:
        return "it is saved; P keeps this plan beside others, O opens another network"
    if hint:
        return f"{hint}; s saves"
    if not has_task:
        return "s verifies and saves it; e measures what it is worth (it asks for a task), R wins accuracy back"
    if score is None or score.after is None:
        return "s verifies and saves it; e measures what it is worth"
    return "s verifies and saves it; + goes on, 7 shows the trade-off"


def _collapsed(layers: "Iterable[LayerPlan]") -> "list[LayerPlan]":
    return [layer for layer in layers if layer.producer and collapsed(layer)]


def _layers(plan: "Plan") -> "Sequence[LayerPlan]":
    """Those that cost anything, in the order that they run in."""
    return [layer for layer in plan.layers if layer.macs.before]
