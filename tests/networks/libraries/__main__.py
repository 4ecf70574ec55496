"""Networks of other libraries, cut by half: the guide's table, as Markdown, and all of it as JSON.

    python -m tests.networks.libraries [NAME ...] [--json FILE] [--again KIND ...] [--each] [--limit-seconds S]

NAME is `library` or `library:network`; without one, all networks of the libraries that are installed are run. Each
network has a process of its own, and what is saved is loaded in a second one. With `--json`, networks whose outcome is
in FILE already aren't run again, unless it is of a KIND ("wrong" is everything that isn't right).
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.coverage import KINDS, markdown
from tests.networks.libraries.process import sweep_in_a_process
from tests.networks.libraries.sweep import LITTLE, Outcome
from tests.networks.libraries.tables import networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--again", nargs="*", default=(), choices=(*KINDS, "wrong"), metavar="KIND")
    parser.add_argument("--each", action="store_true", help="a row for each network instead of each library")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="of one network")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [n for n in networks() if not asked.names or n.library in asked.names or n.title in asked.names]
    outcomes = _kept(asked.json)
    for network in chosen:
        before = outcomes.get(network.title)
        if before is not None and before.kind not in asked.again and (before.right or "wrong" not in asked.again):
            continue
        outcomes[network.title] = sweep_in_a_process(network, asked.limit_seconds)
        print(_summary(outcomes[network.title]), file=sys.stderr, flush=True)
        if asked.json:
            asked.json.write_text(json.dumps([vars(outcome) for outcome in outcomes.values()], indent=1) + "\n")
    shown = [outcomes[network.title] for network in chosen]
    print("\n".join(markdown(each_network(shown) if asked.each else each_library(shown))))


def _kept(path: Path | None) -> dict[str, Outcome]:
    if path is None or not path.exists():
        return {}
    return {f"{values['library']}:{values['name']}": outcome_from(values) for values in json.loads(path.read_text())}


def outcome_from(values: dict[str, Any]) -> Outcome:
    """An outcome as it was written to JSON."""
    return Outcome(**{**values, "problems": tuple(values["problems"]), "doubts": tuple(values["doubts"])})


def each_library(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A heading, a row for each library, and one for all."""
    heading = (
        *("library", "networks", *KINDS, "cut little", "loads", "trains", "other inputs"),
        *("parameters left at 50 %", "seconds", "forward passes"),
    )
    libraries = list(dict.fromkeys(outcome.library for outcome in outcomes))
    rows = [_row(name, [outcome for outcome in outcomes if outcome.library == name]) for name in libraries]
    return [heading, *rows, _row("all", outcomes)]


def _row(title: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    def tally(name: str) -> str:
        asked = [value for outcome in outcomes if (value := getattr(outcome, name)) is not None]
        return f"{sum(asked)} of {len(asked)}"

    left = [outcome.left for outcome in outcomes if outcome.left is not None]
    seconds = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
    passes = [outcome.passes for outcome in outcomes if outcome.passes is not None]
    return (
        title,
        str(len(outcomes)),
        *(str(sum(outcome.kind == kind for outcome in outcomes)) for kind in KINDS),
        str(sum(share > LITTLE for share in left)),
        *map(tally, ("loads", "trains", "resizes")),
        _median_and_range(left, "{:.0%}"),
        _median_and_range(seconds, "{:.1f}"),
        _median_and_range(passes, "{:.0f}"),
    )


def _median_and_range(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    middle, least, most = (form.format(f(values)).replace("%", " %") for f in (statistics.median, min, max))
    return f"{middle} ({least} to {most})"


def each_network(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """A heading and a row for each network."""
    rows = [
        (
            "network",
            "result",
            "error",
            "by hand",
            "left at 50 %",
            "seconds",
            "forward passes",
            "what is wrong, or stays",
        )
    ]
    for outcome in outcomes:
        rows.append(
            (
                f"{outcome.library}:{outcome.name}",
                outcome.kind,
                _error(outcome.max_error),
                _error(outcome.error_by_hand),
                "" if outcome.left is None else f"{outcome.left:.0%}".replace("%", " %"),
                "" if outcome.seconds is None else f"{outcome.seconds:.1f}",
                "" if outcome.passes is None else f"{outcome.passes:.0f}",
                "; ".join([*outcome.problems, *outcome.doubts, *(outcome.locks or {})]),
            )
        )
    return rows


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def _summary(outcome: Outcome) -> str:
    left = "?" if outcome.left is None else f"{outcome.left:.0%}"
    why = "; ".join([*outcome.problems, *outcome.doubts])
    spent = f"{outcome.seconds or 0:6.1f} s {outcome.passes or 0:6.0f} x"
    return f"{outcome.library}:{outcome.name:30} {outcome.kind:10} left {left:5} {spent}  {why}"


if __name__ == "__main__":
    main()
