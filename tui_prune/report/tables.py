"""What the command line prints for people: the same objects as `--json` gives, as lines of text."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_prune import formatting
from tui_prune.archives.origin import FILE

if TYPE_CHECKING:
    from tui_prune.archives.origin import Origin

WIDEST = 200
"""Characters of a cell; a longer name is abridged."""
_PROOFS = {
    "exact": "Verified: the cut network gives the masked original's numbers "
    "(largest relative error {error:.0e} in {precision})",
    "structural": "Proved on the graph; its numbers can't be compared with a mask's{operators}",
}


def inspection_lines(inspection: Mapping[str, Any]) -> list[str]:
    """The object of `inspect --json` as text: totals, layers, ties and locks."""
    lines = [
        f"{inspection['model']} · input {inspection['input']} · {formatting.count(inspection['params'])} parameters · "
        f"{formatting.count(inspection['macs'])} MACs · {formatting.size(inspection['bytes'])}",
        f"{formatting.share(inspection['cuttable_share'], 1)} of the parameters lie on channels that may be cut.",
    ]
    if inspection["dead_channels"]:
        lines.append(formatting.dead(inspection["dead_channels"]) + "; tui-prune prune --dead cuts them.")
    lines.append("")
    rows = [
        (layer["name"], layer["kind"], str(layer["width"]), *_costs(layer), layer["group"] or "", layer["locked"] or "")
        for layer in inspection["layers"]
    ]
    lines += table(("layer", "kind", "width", "params", "MACs", "group", "locked"), rows, right=(2, 3, 4))
    tied = [line for group in inspection["groups"] for line in _group_lines(group)]
    if tied:
        lines += ["", "Groups of more than one layer, or with blocks:", *tied]
    if inspection["branches"]:
        branches = [(f"  {branch['name']}", branch["where"] or "") for branch in inspection["branches"]]
        lines += [
            "",
            "Residual branches that go whole where one of their layers has a ratio of 1:",
            *table(("", ""), branches)[1:],
        ]
    return lines + _lock_lines(inspection["locks"])


def bench_lines(report: Mapping[str, Any]) -> list[str]:
    """The object of `bench --json` as text."""
    rows = []
    for title, name, in_words in (
        ("latency", "latency", formatting.latency),
        ("memory", "memory", formatting.size),
        ("MACs", "macs", formatting.count),
        ("parameters", "params", formatting.count),
        ("bytes", "bytes", formatting.size),
    ):
        before, after = report[name]["before"], report[name]["after"]
        cut = ("", "") if after is None else (in_words(after), formatting.share(after, before))
        rows.append((title, in_words(before), *cut))
    ends = ("before", "after", "") if report["output"] else ("", "", "")
    lines = table((str(report["model"]), *ends), rows, right=(1, 2, 3))
    shape = f"input {report['input']}, " if report["input"] else ""
    return [*lines, "", f"Measured with {shape}on {report['device']}."]


SLOWEST = 10
"""So many layers are listed."""


def latency_lines(report: Mapping[str, Any]) -> list[str]:
    """The object of `latency --json` as text: the network, its cuts, and the layers that take the longest."""
    whole = report["latency"]
    rows = [("whole network", formatting.latency(whole), "")]
    for one in report["networks"]:
        if one["share"] < 1:
            share = formatting.share(one["seconds"], whole)
            rows.append((f"with {100 * one['share']:.0f} % of its channels", formatting.latency(one["seconds"]), share))
    slowest = sorted(report["layers"], key=lambda layer: -layer["seconds"])[:SLOWEST]
    rows += [
        (one["name"], formatting.latency(one["seconds"]), formatting.share(one["seconds"], whole)) for one in slowest
    ]
    return [*table((str(report["model"]), "", ""), rows, right=(1, 2)), "", f"Measured on {report['device']}."]


def settings_lines(found: Mapping[str, Any]) -> list[str]:
    """The object of `config --json` as text: where things are, what is in them, and what is wrong with the settings."""
    config = found["config"]
    keys = f"{len(config['keys'])} of your own keys" if config["keys"] else "the keys as they come"
    said = f"theme {config['theme']}, {keys}" if config["exists"] else "none; tui-prune config --example prints one"
    rows = [("config", config["path"], said)]
    for name, words in (
        ("recipes", "recipes of your own, by name"),
        ("state", "sessions to go on with, recovered weights, scans"),
        ("cache", "what was measured on this device; may be deleted"),
        ("log", "reports of crashes"),
    ):
        kept = found[name]
        files = f"{kept['files']} file{'s' * (kept['files'] != 1)}, {formatting.size(kept['bytes'])}"
        rows.append((name, kept["path"], f"{words}: {files if kept['files'] else 'none'}"))
    lines = table(("", "", ""), rows)[1:]
    own = [f'  "{name}" = "{key}"' for name, key in config["keys"].items()]
    wrong = [f"! {problem}" for problem in config["problems"]]
    return [*lines, *([""] * bool(own)), *own, *([""] * bool(wrong)), *wrong]


def report_lines(report: Mapping[str, Any], notes: Mapping[str, str]) -> list[str]:
    """The object of `prune --json` as text: what changed, in all and layer by layer, what is locked, and the proof.

    `notes` says of some layers why they have their width.
    """
    lines = table(
        (str(report["model"]), "before", "after", ""),
        [
            (
                title,
                *_before_after(report[name], in_words),
                formatting.share(report[name]["after"], report[name]["before"]),
            )
            for title, name, in_words in (
                ("parameters", "params", formatting.count),
                ("MACs", "macs", formatting.count),
                ("bytes", "bytes", formatting.size),
            )
        ],
        right=(1, 2, 3),
    )
    lines += _found_lines(report)
    lines += _accuracy_lines(report)
    rows = [
        (layer["name"], layer["kind"], str(layer["before"]), str(layer["after"]), notes.get(layer["name"], ""))
        for layer in report["layers"]
        if layer["after"] != layer["before"] or notes.get(layer["name"])
    ]
    lines.append("")
    header = ("layer", "kind", "before", "after", "")
    lines += table(header, rows, right=(2, 3)) if rows else ["No layer's width changed."]
    lines += _lock_lines(report["locks"])
    equivalence = report["equivalence"]
    operators = ", ".join(equivalence.get("operators", ()))
    proof = _PROOFS[equivalence["kind"]].format(
        error=equivalence["max_error"],
        precision=equivalence["precision"],
        operators=f" ({operators})" if operators else "",
    )
    spent = formatting.seconds(sum(report["seconds"].values()))
    return [*lines, "", f"{proof}, in {spent}."]


def load_lines(origin: "Origin", path: Path) -> list[str]:
    """How to load what was saved, in Python."""
    title, imports, argument = f"Written to {path}. To load it:", [], ""
    if origin.kind == FILE:
        file, _, factory = origin.name.rpartition(":")
        imports, argument = [f"    from {Path(file).stem} import {factory}"], f", model={factory}()"
    return [title, "", "    import tui_prune", *imports, f"    model = tui_prune.load({str(path)!r}{argument})"]


def sensitivity_lines(model: str, found: Mapping[str, Any]) -> list[str]:
    """The object of `sensitivity --json` as text: what the task says of the network with each layer alone cut."""
    baseline = found["baseline"]
    first = f"{model} · {formatting.score(baseline, baseline)} as it is"
    if found["recalibrated"]:
        first += (
            f" · {formatting.score(found['reference'], baseline)} with batch norm recalibrated, as it is at each point"
        )
    header = ("cut alone", "width", *(f"{100 * ratio:.3g} %" for ratio in found["ratios"]), "")
    rows = []
    for curve in found["curves"]:
        at = {point["ratio"]: formatting.score(point["score"], baseline) for point in curve["points"]}
        cells = (at.get(ratio, "") for ratio in found["ratios"])
        tied = f"with {', '.join(curve['layers'][1:])}" if len(curve["layers"]) > 1 else ""
        rows.append((curve["layer"], str(curve["width"]), *cells, tied))
    return [first, "", *table(header, rows, right=range(1, len(header) - 1))]


def error_lines(model: str, found: Mapping[str, Any], ratios: Sequence[float]) -> list[str]:
    """The errors of `sensitivity --json` as text: by how much outputs are wrong with each layer alone cut."""
    whose = "the network's outputs" if found["of_outputs"] else "the layers that read it"
    first = f"{model} · error of {whose} by {found['criterion']}, cut and (refitted), from one pass"
    header = ("cut alone", "width", *(f"{100 * ratio:.3g} %" for ratio in ratios), "")
    rows = []
    for curve in found["curves"]:
        cells = []
        for ratio in ratios:
            at = [point for point in curve["points"] if point["ratio"] <= ratio + 1e-9]
            cells.append(f"{formatting.error(at[-1]['cut'])} ({formatting.error(at[-1]['left'])})" if at else "")
        tied = f"with {', '.join(curve['layers'][1:])}" if len(curve["layers"]) > 1 else ""
        rows.append((curve["layer"], str(curve["width"]), *cells, tied))
    return [first, "", *table(header, rows, right=range(1, len(header) - 1))]


def sweep_lines(model: str, found: Mapping[str, Any]) -> list[str]:
    """The object of `sweep --json` as text: each recipe, and apart those that no other one beats."""
    baseline = found["baseline"]

    def row(point: Mapping[str, Any]) -> tuple[str, ...]:
        if point["score"] is None:
            return (point["criterion"], f"{point['ratio']:g}", "", "", "", point["failure"])
        shares = (formatting.share(point[name], 1) if point[name] is not None else "" for name in ("macs", "params"))
        mark = "●" if point["best"] else ""
        return (point["criterion"], f"{point['ratio']:g}", *shares, formatting.score(point["score"], baseline), mark)

    header = ("criterion", "ratio", "MACs", "params", "score", "")
    best = sorted((one for one in found["points"] if one["best"]), key=lambda one: -one["macs"])
    lines = [f"{model} · {formatting.score(baseline, baseline)} as it is", ""]
    lines += table(header, map(row, found["points"]), right=(1, 2, 3, 4))
    lines += ["", "● No other one has as few MACs and a score as good:"]
    return [*lines, *table(header, map(row, best), right=(1, 2, 3, 4))]


def verification_lines(report: Mapping[str, Any]) -> list[str]:
    """The object of `verify --json` as text: what each check found that passed. One that didn't is told as an error."""
    rows = [(check["name"], "ok", check["detail"]) for check in report["checks"] if check["ok"]]
    return table(("", "", ""), rows)[1:]


def export_lines(report: Mapping[str, Any]) -> list[str]:
    """The object of `export --json` as text: what was written, what may vary, and how it compares."""
    opset = f", opset {report['opset']}" if report["opset"] else ""
    open_sizes = [words for name, words in (("batch", "batch size"), ("size", "input size")) if report["dynamic"][name]]
    varies = f"{' and '.join(open_sizes)} may vary" if open_sizes else "batch and input size are fixed"
    own, exported = (formatting.latency(report["seconds"][name]) for name in ("network", "export"))
    rows = [(f"  {one['input']}", f"{one['error']:.0e}") for one in report["compared"]]
    beside = [f"Its weights are in {report['weights']}."] if report.get("weights") else []
    return [
        f"Written to {report['output']}: {report['format']}{opset}, {formatting.size(report['bytes'])}; {varies}.",
        *beside,
        *(f"Its configuration: {change}" for change in report.get("config", ())),
        "Compared with the network, by the largest relative error on inputs of",
        *table(("", ""), rows)[1:],
        f"One forward pass takes {own} in PyTorch and {exported} exported.",
    ]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Columns two spaces apart, as wide as their widest cell; those numbered in `right` end at the same digit."""
    rows = [tuple(formatting.abridged(cell, WIDEST) for cell in row) for row in (header, *rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _costs(layer: Mapping[str, Any]) -> tuple[str, str]:
    return formatting.count(layer["params"]), formatting.count(layer["macs"])


def _before_after(values: Mapping[str, int], in_words: Any) -> tuple[str, str]:
    return in_words(values["before"]), in_words(values["after"])


def _found_lines(report: Mapping[str, Any]) -> list[str]:
    """What was found for what the recipe leaves open, and the latency that it asks for."""
    found, latency = report.get("found", {}), report.get("latency")
    lines = [f"Found: {', '.join(f'{name} {value:.6g}' for name, value in found.items())}"] if found else []
    if latency:

        def part(seconds: float) -> str:
            return formatting.share(seconds, latency["before"])

        predicted = f"{formatting.latency(latency['predicted'])} ({part(latency['predicted'])}) predicted"
        line = f"Latency: {formatting.latency(latency['before'])} before, {predicted}"
        if latency["after"] is None:
            return [*lines, f"{line} for {latency['device']}"]
        least, most = map(part, latency["between"])
        noise = "" if least == most else f", by its noise {least} to {most}"
        lines.append(f"{line}, {formatting.latency(latency['after'])} ({part(latency['after'])}{noise}) measured")
    return lines


def _accuracy_lines(report: Mapping[str, Any]) -> list[str]:
    accuracy, steps = report.get("accuracy"), formatting.in_turn(report.get("recovered", ()))
    lines = [f"After the cut was verified, its weights were {steps}."] if steps else []
    if accuracy:
        before, after, recovered = (_scored(report, name) for name in ("before", "after", "recovered"))
        said = before if accuracy["after"] is None else f"{before} → {after}"
        lines.insert(0, f"accuracy {said}")
        if steps:
            lines.insert(1, f"{steps}: {recovered}")
    return ["", *lines] if lines else []


def _scored(report: Mapping[str, Any], name: str) -> str:
    """An accuracy and, where that is known, what stands behind it."""
    accuracy, found = report["accuracy"], report.get("evidence", {}).get(name)
    said = formatting.score(accuracy[name], accuracy["before"])
    if found is None:
        return said
    said = f"{said} ±{formatting.half_width(found['interval'])} (n {found['count']:,})"
    if found["p"] is None:
        return said
    return f"{said}, {formatting.points(accuracy[name], accuracy['before'])}, {formatting.chance(found['p'])}"


def _group_lines(group: Mapping[str, Any]) -> list[str]:
    tied = len(group["layers"]) > 1
    if not tied and not group["blocks"]:
        return []
    title = f"  {group['name']}: {group['width']} channels"
    lines = [f"{title}, shared by {', '.join(group['layers'])}" if tied else title]
    for block in group["blocks"]:
        cells = ", ".join(str(count) for count in block["cells"])
        lines.append(f"    in {cells} blocks that must keep equally many: {', '.join(block['why'])}")
    return lines


def _lock_lines(locks: Sequence[Mapping[str, Any]]) -> list[str]:
    if not locks:
        return []
    rows = [(f"  {lock['layer']}", lock["reason"], lock["where"] or "") for lock in locks]
    return ["", "Locked:", *table(("", "", ""), rows)[1:]]
