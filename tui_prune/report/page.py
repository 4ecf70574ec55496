"""The report of a pruned checkpoint: one HTML page that needs nothing else, and no network, to be read.

The page is well-formed XML, every text in it is escaped, and it tells the browser to load nothing.
"""

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from torch import nn

from tui_prune import formatting, plots
from tui_prune.archives.pruned_file import Checkpoint, read_checkpoint
from tui_prune.cost.cost import CostModel, LayerCosts
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.grouping import build_graph
from tui_prune.graph.trace import record_trace
from tui_prune.loading.building import build
from tui_prune.loading.load_pruned import load_pruned
from tui_prune.plots import svg
from tui_prune.progress import Progress, silent
from tui_prune.report.tables import load_lines
from tui_prune.saving.probe import probe_arguments
from tui_prune.saving.whole_file import check_target, write_whole

_WIDTH, _TALL, _LOW = 920, 220, 130
_HISTOGRAMS = 12
"""Layers whose weights are drawn: those with the most."""
_BINS = 96
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --dim: #667080; --line: #d9dde3; --ground: #fff; --cut: #2f5f98; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ccd1d9; --dim: #8b95a4; --line: #333a45; --ground: #14171c; --cut: #7f9fc4; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--dim); }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.cut { color: var(--cut); font-weight: 600; } .dim { color: var(--dim); }
pre { padding: .8rem; border: 1px solid var(--line); overflow-x: auto; } svg { max-width: 100%; height: auto; }
td.name { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class _LayerCost:
    """Multiply-accumulates and parameters of a layer, before and after."""

    macs: tuple[int, int]
    params: tuple[int, int]


def write_report(
    source: str | Path,
    output: str | Path,
    *,
    model: Callable[[], nn.Module] | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write the report of a pruned checkpoint as an HTML page, whole or not at all.

    Args:
        source: The pruned checkpoint.
        output: The page to write.
        model: What makes a network of your own, for what its layers cost; without it their widths are drawn.
        force: Replace `output` if it exists.
        progress: Told how far it is; may raise `Cancelled` to stop.

    Returns:
        The file that was written.

    Raises:
        UsageError: There is no such checkpoint.
        TuiPruneError: It is damaged, or the page can't be written.
    """
    target = Path(output)
    check_target(target, force=force)
    progress("read", 0.0)
    checkpoint = read_checkpoint(source)
    progress("measure", 0.2)
    costs = _costs(checkpoint, model)
    progress("draw", 0.6)
    text = page(checkpoint, Path(source), costs)

    def check(part: Path) -> None:
        ElementTree.parse(part)

    written = write_whole(target, lambda file: file.write(text.encode()), check, force=force)
    progress("report", 1.0)
    return written


def page(checkpoint: Checkpoint, source: Path, costs: Mapping[str, _LayerCost]) -> str:
    """The page as text. `costs` of the layers may be empty."""
    report = checkpoint.report
    title = f"{_text(report, 'model') or checkpoint.origin.title}, pruned"
    parts = [
        f"<h1>{_e(title)}</h1>",
        f'<p class="dim">{_e(_proof(report))}</p>',
        _section("Before and after", _sums_table(report)),
        _section("Accuracy", _accuracy_table(report)),
        _section("Where the network was cut", _skyline(report, costs)),
        _section("Layers", _layer_table(report, costs)),
        _section("What was refitted", _reconstruction_table(report)),
        _section("What is locked, and why", _lock_table(report)),
        _section("Weights that stay", _histograms(checkpoint)),
        _section("Recipe", _recipe(checkpoint)),
        _section("To load it", _loading(checkpoint, source)),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>",
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{_e(title)}</title><style>{_STYLE}</style></head><body>",
            *(part for part in parts if part),
            "</body></html>",
            "",
        ]
    )


# What the layers cost.


def _costs(checkpoint: Checkpoint, make: Callable[[], nn.Module] | None) -> dict[str, _LayerCost]:
    """By layer; empty where the network can't be built or run here, which the page does without."""
    if make is None and not checkpoint.origin.buildable:
        return {}
    try:
        cut = load_pruned(checkpoint, None if make is None else make())
        uncut = build(checkpoint.origin) if make is None else make().eval()
        arguments = probe_arguments(checkpoint)
        before, after = (_measured(network.eval(), *arguments) for network in (uncut, cut))
    except Cancelled:
        raise
    except (TuiPruneError, UsageError):
        return {}
    names = dict.fromkeys((*before.params, *before.macs))
    return {
        name: _LayerCost(
            (before.macs.get(name, 0), after.macs.get(name, 0)), (before.params.get(name, 0), after.params.get(name, 0))
        )
        for name in names
    }


def _measured(network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> LayerCosts:
    graph = build_graph(record_trace(network, args, dict(kwargs)))
    return CostModel(graph).measure(np.ones(graph.classes.channels, bool))[1]


_Row = Sequence["str | _Cell"]

# Sections; one with nothing to say is left out.


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_e(title)}</h2>\n{content}</section>" if content else ""


def _proof(report: Mapping[str, Any]) -> str:
    equivalence = report.get("equivalence")
    if not isinstance(equivalence, Mapping):
        return ""
    if equivalence.get("kind") == "exact":
        error, precision = equivalence.get("max_error"), equivalence.get("precision", "")
        said = f"Verified: the cut network gave the masked original's numbers (largest relative error {error:.0e}"
        return f"{said} in {precision})." if isinstance(error, (int, float)) else ""
    return "Proved on the graph; its numbers can't be compared with a mask's."


def _sums_table(report: Mapping[str, Any]) -> str:
    rows: list[_Row] = []
    for name, title, in_words in (
        ("params", "parameters", formatting.count),
        ("macs", "MACs", formatting.count),
        ("bytes", "bytes", formatting.size),
    ):
        pair = _pair(report.get(name))
        if pair is not None:
            before, after = pair
            rows.append([title, _N(in_words(before)), _N(in_words(after)), _N(formatting.share(after, before))])
    latency = report.get("latency")
    if isinstance(latency, Mapping):
        device = latency.get("device")
        title = f"latency, predicted for {device}" if isinstance(device, str) else "latency"
        known = [latency.get("before"), latency.get("predicted" if latency.get("after") is None else "after")]
        seconds = [value for value in known if isinstance(value, float)]
        if len(seconds) == 2:
            rows.append(
                [title, *(_N(formatting.latency(one)) for one in seconds), _N(formatting.share(*seconds[::-1]))]
            )
    return _table(("", _N("before"), _N("after"), _N("left")), rows)


def _accuracy_table(report: Mapping[str, Any]) -> str:
    accuracy, evidence = report.get("accuracy"), report.get("evidence")
    if not isinstance(accuracy, Mapping) or not isinstance(accuracy.get("before"), (int, float)):
        return ""
    steps = report.get("recovered")
    recovered = formatting.in_turn([str(step) for step in steps]) if isinstance(steps, (list, tuple)) else ""
    rows: list[_Row] = []
    for name, title in (("before", "the original"), ("after", "cut"), ("recovered", recovered or "recovered")):
        score = accuracy.get(name)
        if not isinstance(score, (int, float)):
            continue
        found = evidence.get(name) if isinstance(evidence, Mapping) else None
        interval = count = compared = ""
        if isinstance(found, Mapping):
            with suppress(KeyError, TypeError, ValueError):
                low, high = found["interval"]
                interval = f"{100 * low:.1f} to {100 * high:.1f} %"
                count = f"{found['count']:,}"
                compared = "" if found.get("p") is None else f"{found['p']:.2g}"
        rows.append([title, _N(formatting.score(score, accuracy["before"])), _N(interval), _N(count), _N(compared)])
    header = ("network", _N("score"), _N("95 % interval"), _N("examples"), _N("p, against the original"))
    return _table(header, rows)


def _skyline(report: Mapping[str, Any], costs: Mapping[str, _LayerCost]) -> str:
    """All layers side by side, as high as what they cost, or as wide as they are."""
    layers = _layers(report)
    if costs:
        pairs = [costs[name].macs if name in costs else (0, 0) for name, *_ in layers]
        what, figure = "multiply-accumulates of each layer", formatting.count
    else:
        pairs = [(before, after) for *_, before, after in layers]
        what, figure = "channels of each layer", formatting.count
    if not any(before for before, _ in pairs):
        return ""
    before, after = (np.array([pair[side] for pair in pairs], float) for side in (0, 1))
    gone = np.maximum(before - after, 0.0)
    chart = plots.Chart(before, gone, 0.0, float(len(pairs)), figure, {0.0: "first", float(len(pairs)): "last"})
    words = f"{what}, in the order of the network; grey: what was cut"
    return svg.document([("Skyline", words, chart.svg(_WIDTH, _TALL), _TALL)], _WIDTH)


def _layer_table(report: Mapping[str, Any], costs: Mapping[str, _LayerCost]) -> str:
    rows: list[_Row] = []
    for name, kind, before, after in _layers(report):
        width = _N(formatting.change(str(before), str(after)), "cut" if before != after else "")
        cells: list[Any] = [_Name(name), kind, width]
        if costs:
            cost = costs.get(name)
            pairs = ((0, 0), (0, 0)) if cost is None else (cost.macs, cost.params)
            cells += [_N(formatting.change(*map(formatting.count, pair))) for pair in pairs]
        rows.append(cells)
    header: list[Any] = ["layer", "kind", _N("width")]
    return _table([*header, _N("MACs"), _N("parameters")] if costs else header, rows)


def _reconstruction_table(report: Mapping[str, Any]) -> str:
    found = report.get("reconstruction")
    layers = found.get("layers") if isinstance(found, Mapping) else None
    if not isinstance(layers, (list, tuple)):
        return ""
    rows = [
        [_Name(layer["name"]), _N(f"{layer['cut']:.3g}"), _N(f"{layer['left']:.3g}")]
        for layer in layers
        if isinstance(layer, Mapping) and {"name", "cut", "left"} <= set(layer)
    ]
    return _table(("layer", _N("error as it was cut"), _N("error that is left")), rows)


def _lock_table(report: Mapping[str, Any]) -> str:
    locks = report.get("locks")
    rows: list[_Row] = [
        [_Name(lock.get("layer", "")), str(lock.get("reason", "")), _Name(lock.get("where") or "")]
        for lock in (locks if isinstance(locks, (list, tuple)) else ())
        if isinstance(lock, Mapping)
    ]
    return _table(("layer", "reason", "line of code"), rows)


def _histograms(checkpoint: Checkpoint) -> str:
    weights = [
        (name, tensor)
        for name, tensor in checkpoint.tensors.items()
        if tensor.dim() > 1 and tensor.is_floating_point() and tensor.numel() > 1
    ]
    largest = {name for name, _ in sorted(weights, key=lambda pair: -pair[1].numel())[:_HISTOGRAMS]}
    parts = []
    for name, tensor in weights:
        if name in largest:
            bins = plots.binned(tensor, _BINS)
            shape = " × ".join(map(str, tensor.shape))
            figures = f"{shape}, mean {bins.mean:.3g}, deviation {bins.deviation:.3g}, zeros {bins.zeros}"
            parts.append((name, figures, plots.histogram(bins).svg(_WIDTH, _LOW), _LOW))
    return svg.document(parts, _WIDTH) if parts else ""


def _recipe(checkpoint: Checkpoint) -> str:
    rows = [[_Name(name), _Name(formatting.shown(value, 2000))] for name, value in checkpoint.recipe.items()]
    return _table(("field", "value"), rows)


def _loading(checkpoint: Checkpoint, source: Path) -> str:
    _, *lines = load_lines(checkpoint.origin, Path(source.name))
    code = "\n".join(line.removeprefix("    ") for line in lines if line)
    versions = ", ".join(f"{name} {version}" for name, version in checkpoint.versions.items())
    return f'<pre>{_e(code)}</pre>\n<p class="dim">Saved by {_e(versions)}.</p>'


# Values of a report, which may be anything that a file holds.


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _pair(value: Any) -> tuple[int, int] | None:
    pair = (value.get("before"), value.get("after")) if isinstance(value, Mapping) else (None, None)
    return pair if all(isinstance(number, int) for number in pair) else None  # type: ignore[return-value]


def _layers(report: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    layers = report.get("layers")
    found = []
    for layer in layers if isinstance(layers, (list, tuple)) else ():
        pair = _pair(layer)
        if pair is not None:
            found.append((str(layer.get("name", "")), str(layer.get("kind", "")), *pair))
    return found


# HTML.


@dataclass(frozen=True)
class _Cell:
    words: str
    looks: str


def _N(words: str, looks: str = "") -> _Cell:
    """A cell with a number."""
    return _Cell(words, f"n {looks}".strip())


def _Name(words: object) -> _Cell:
    """A cell with a name out of a network or a program."""
    return _Cell(str(words), "name")


def _table(header: Sequence[str | _Cell], rows: Iterable[Sequence[str | _Cell]]) -> str:
    lines = [_row(row, "td") for row in rows]
    if not lines:
        return ""
    return "\n".join(["<table><thead>", _row(header, "th"), "</thead><tbody>", *lines, "</tbody></table>"])


def _row(cells: Sequence[str | _Cell], tag: str) -> str:
    made = []
    for cell in cells:
        words, looks = (cell.words, f' class="{cell.looks}"') if isinstance(cell, _Cell) else (cell, "")
        made.append(f"<{tag}{looks}>{_e(words)}</{tag}>")
    return f"<tr>{''.join(made)}</tr>"


def _e(words: str) -> str:
    """A text as HTML shows it."""
    return html.escape("\n".join(formatting.printable(line) for line in words.split("\n")))
