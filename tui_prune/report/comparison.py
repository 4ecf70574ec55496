"""A plan as a file: as tables for people and programs, as both networks side by side, or as its recipe."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_prune.errors import UsageError
from tui_prune.formatting import change, count, share, size
from tui_prune.report.two_plans import PRESENT, signed
from tui_prune.saving.whole_file import check_target, write_whole

if TYPE_CHECKING:
    from tui_prune.planning.plan import LayerPlan, Pair, Plan
    from tui_prune.report.two_plans import Beside

FORMS = {
    ".md": "the table, as Markdown",
    ".txt": "both networks as PyTorch prints them, side by side",
    ".csv": "all layers, for a spreadsheet",
    ".json": "the report, as of prune --json",
    ".toml": "the recipe, for --recipe",
}
"""What is written, by the suffix of the file."""
_COLUMNS = ("layer", "kind", "width", "params", "MACs", "bytes", "cut")


def check_export(path: Path, *, force: bool = False) -> None:
    """Whether a plan may be written there. Raises `UsageError` for another suffix, and `TuiPruneError` as
    `check_target` does."""
    if path.suffix.casefold() not in FORMS:
        raise UsageError(f"Name a file that ends in {', '.join(FORMS)}; it was {path}.")
    check_target(path, force=force)


def export(
    path: Path,
    title: str,
    plan: "Plan",
    report: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    beside: "Beside | None" = None,
) -> Path:
    """Write a plan in the form that the suffix names, whole or not at all; gives the file that was written.

    `report`: of the cut, for .json; without one the plan's own is written, in which nothing was cut yet. `beside`:
    another plan, which a table in Markdown then compares it with. Raises
    `UsageError` and `TuiPruneError` as `check_export` does, and `TuiPruneError` when it can't be written.
    """
    check_export(path, force=force)
    text = export_text(path.suffix.casefold(), title, plan, report, beside)
    return write_whole(path, lambda file: file.write(text.encode()), lambda part: None, force=force)


def export_text(
    suffix: str, title: str, plan: "Plan", report: Mapping[str, Any] | None = None, beside: "Beside | None" = None
) -> str:
    """What `export` writes. Raises `TuiPruneError` where the cut network can't be printed."""
    if suffix == ".md":
        return markdown(title, plan, beside)
    if suffix == ".csv":
        return _csv(plan)
    if suffix == ".toml":
        return plan.recipe.to_toml()
    if suffix == ".json":
        return json.dumps(plan_report(title, plan) if report is None else dict(report), indent=2) + "\n"

    from tui_prune.report.prints import prints, side_by_side

    return side_by_side(prints(plan))


def markdown(title: str, plan: "Plan", beside: "Beside | None" = None) -> str:
    """The layers that put out channels, and the sums, as a table in Markdown: before and after the cut, or by another
    plan and by this one."""
    rows = _one_plan(title, plan) if beside is None else _two_plans(title, plan, beside)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _one_plan(title: str, plan: "Plan") -> list[tuple[str, ...]]:
    rows = [_COLUMNS, ("---", "---", *["---:"] * 5), *(_row(layer) for layer in plan.layers if layer.producer)]
    before, after = plan.before, plan.after
    sums = [
        f"**{change(words(one), words(other))}** ({share(other, one)})"
        for words, one, other in (
            (count, before.params, after.params),
            (count, before.macs, after.macs),
            (size, before.bytes, after.bytes),
        )
    ]
    return [*rows, (f"**{_escaped(title)}**", "", "", *sums, "")]


def _two_plans(title: str, plan: "Plan", beside: "Beside") -> list[tuple[str, ...]]:
    """Each layer's width by both plans and what they differ by, in bold; and the sums of both."""
    name, others = _escaped(beside.name), {layer.name: layer for layer in beside.plan.layers}
    rows = [("layer", "kind", "uncut", name, PRESENT, "by", "params", "MACs"), ("---", "---", *["---:"] * 6)]
    for layer in plan.layers:
        if layer.producer:
            other = others[layer.name]
            more = layer.after - other.after
            costs = ((other.params, layer.params), (other.macs, layer.macs))
            rows.append(
                (
                    _code(layer.name),
                    _escaped(layer.kind),
                    str(layer.before),
                    str(other.after),
                    str(layer.after),
                    f"**{signed(more)}**" if more else "",
                    *(change(count(one.after), count(now.after), "≠") for one, now in costs),
                )
            )
    for said, one in ((name, beside.plan), (PRESENT, plan)):
        shares = (one.after.params, one.before.params), (one.after.macs, one.before.macs)
        sums = (f"**{count(left)}** ({share(left, uncut)})" for left, uncut in shares)
        rows.append((f"**{_escaped(title)}**, {said}", *[""] * 5, *sums))
    return rows


def plan_report(title: str, plan: "Plan") -> dict[str, Any]:
    """A plan in the fields of `prune --json`. Nothing was cut for it, so there is no equivalence and no output."""
    from tui_prune.result import found_row, layer_rows, lock_rows

    found = found_row(plan)
    return {
        "model": title,
        "recipe": plan.recipe.to_dict(),
        "params": {"before": plan.before.params, "after": plan.after.params},
        "macs": {"before": plan.before.macs, "after": plan.after.macs},
        "bytes": {"before": plan.before.bytes, "after": plan.after.bytes},
        "layers": list(layer_rows(plan)),
        "locks": list(lock_rows(plan.graph)),
        "equivalence": None,
        "seconds": {"plan": round(plan.seconds, 4)},
        "output": None,
        **({"found": found} if found else {}),
        **({"targets": [asdict(reached) for reached in plan.reached]} if plan.reached else {}),
    }


def _row(layer: "LayerPlan") -> tuple[str, ...]:
    cut = layer.before - layer.after
    return (
        _code(layer.name),
        _escaped(layer.kind),
        change(str(layer.before), str(layer.after)),
        change(*map(count, layer.params)),
        change(*map(count, layer.macs)),
        change(*map(size, layer.bytes)),
        share(cut, layer.before) if cut else "locked" if layer.locked else "",
    )


def _code(name: str) -> str:
    """A module's name as Markdown shows it unchanged in a table."""
    return f"`{name.replace('|', chr(92) + '|')}`" if "`" not in name else _escaped(name)


def _escaped(words: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\|*_`<[" else letter for letter in words)


def _csv(plan: "Plan") -> str:
    names = ("params", "macs", "bytes")
    header = ["layer", "kind", "width_before", "width_after", "inputs_before", "inputs_after"]
    header += [f"{name}_{when}" for name in names for when in ("before", "after")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*header, "ratio", "locked", "note"])
    for layer in plan.layers:
        pairs: list[Pair] = [getattr(layer, name) for name in names]
        figures = [figure for pair in pairs for figure in pair]
        widths = (layer.before, layer.after, layer.in_before, layer.in_after)
        writer.writerow([layer.name, layer.kind, *widths, *figures, layer.ratio, layer.locked or "", layer.note])
    return text.getvalue()
