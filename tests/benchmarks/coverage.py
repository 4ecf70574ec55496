"""What can be cut of torchvision's networks: the guide's table, as Markdown, and all of it as JSON.

    python -m tests.benchmarks.coverage [MODEL ...] [--timm] [--json FILE] [--each] [--limit-seconds S]

With `--timm`, of each of timm's modules the smallest network instead, where timm is installed.

Each network has a process of its own and is cut by half; `tests/networks/sweep.py` says what is asked of it. With
`--json`, networks whose outcome is in FILE already aren't run again, so a sweep that was stopped goes on; which ones of
timm are the smallest is kept beside it.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.networks.process import NotDone, in_a_process
from tests.networks.sweep import Outcome, family_of, names, sweep, timm_names

KINDS = ("exact", "structural", "refused", "failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="of torchvision, or timm:NAME; all of torchvision's by default"
    )
    parser.add_argument("--timm", action="store_true", help="the smallest network of each of timm's modules")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--each", action="store_true", help="a row for each network instead of each family")
    parser.add_argument("--limit-seconds", type=float, default=1800.0, help="of one network")
    asked = parser.parse_args()
    outcomes = {} if asked.json is None else kept(asked.json)
    chosen = asked.models or (_smallest_of_timm(asked.json) if asked.timm else names())
    for name in chosen:
        if name in outcomes:
            continue
        outcomes[name] = _outcome(name, asked.limit_seconds)
        print(_summary(outcomes[name]), file=sys.stderr, flush=True)
        if asked.json:
            asked.json.write_text(json.dumps([outcome.to_dict() for outcome in outcomes.values()], indent=1) + "\n")
    shown = [outcomes[name] for name in chosen]
    rows = each_network(shown) if asked.each else each_family(shown)
    print("\n".join(markdown(rows)))


def kept(path: Path) -> dict[str, Outcome]:
    """The outcomes in a file, by name."""
    found = json.loads(path.read_text()) if path.exists() else []
    return {
        values["name"]: Outcome(
            **{**values, "problems": tuple(values["problems"]), "untried": tuple(values["untried"])}
        )
        for values in found
    }


def _smallest_of_timm(path: Path | None) -> list[str]:
    """The names, which take minutes to find, as a list beside the outcomes where it is there already."""
    if path is None:
        return timm_names()
    listed = path.with_suffix(".names")
    if not listed.exists():
        listed.write_text("\n".join(timm_names()) + "\n")
    return listed.read_text().split()


def each_family(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A heading, a row for each family, and one for all."""
    rows = [("family", "networks", *KINDS, "largest error", "parameters that can be cut", "parameters left at 50 %")]
    families = list(dict.fromkeys(outcome.family for outcome in outcomes))
    for family in families:
        rows.append(_row(family, [outcome for outcome in outcomes if outcome.family == family]))
    return [*rows, _row("all", outcomes)] if len(families) > 1 else rows


def each_network(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A heading and a row for each network."""
    rows = [("network", "result", "error", "can be cut", "left at 50 %", "seconds", "what stays, and why")]
    for outcome in outcomes:
        rows.append(
            (
                outcome.name,
                outcome.kind,
                "" if outcome.max_error is None else f"{outcome.max_error:.0e}",
                _share(outcome.cuttable),
                _share(outcome.left),
                f"{sum(outcome.seconds.values()):.1f}" if outcome.seconds else "",
                "; ".join([*outcome.problems, *(outcome.locks or {})]),
            )
        )
    return rows


def markdown(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table; the first row is its heading."""
    heading, *others = rows
    lines = [heading, tuple("---" for _ in heading), *others]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _row(title: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    def found(name: str) -> list[float]:
        return [value for outcome in outcomes if (value := getattr(outcome, name)) is not None]

    return (
        title,
        str(len(outcomes)),
        *(str(sum(outcome.kind == kind for outcome in outcomes)) for kind in KINDS),
        f"{max(found('max_error')):.0e}" if found("max_error") else "",
        _range(found("cuttable")),
        _range(found("left")),
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{_share(statistics.median(values))} ({_share(min(values))} to {_share(max(values))})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}".replace("%", " %")


def _summary(outcome: Outcome) -> str:
    spent = sum(outcome.seconds.values()) if outcome.seconds else 0.0
    why = "; ".join(outcome.problems)
    return f"{outcome.name:45} {outcome.kind:10} left {_share(outcome.left) or '?':5} {spent:7.1f} s  {why}"


def _outcome(name: str, seconds: float) -> Outcome:
    try:
        return in_a_process(_swept, name, seconds=seconds)
    except NotDone as error:
        return Outcome(name, family_of(name), "failed", problems=(str(error),))


def _swept(name: str) -> Outcome:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        return sweep(name)
    except Exception as error:
        return Outcome(name, family_of(name), "failed", problems=(f"{type(error).__name__}: {error}",))


if __name__ == "__main__":
    main()
