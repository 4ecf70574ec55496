"""`python -m tests.attacks [--seed N] [--share S] [NAME...]`: make all attacks and print how many tries held."""

from __future__ import annotations

import argparse
import sys
import time

from tests.attacks import all_attacks
from tests.attacks.trying import ATTACKS, carry_out

SHOWN = 5
"""Tries of each attack that are told of."""


def main() -> int:
    """Print a table; the exit status is 1 where an attack has succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", help="Attacks; all where none is named: " + ", ".join(ATTACKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the tries of a whole run")
    given = parser.parse_args()
    chosen = [one for name, one in ATTACKS.items() if not given.names or any(word in name for word in given.names)]
    print(f"{'attack':32} {'tried':>7} {'held':>7} {'seconds':>8}  holds: what")
    tried = held = broken = 0
    for one in chosen:
        started = time.perf_counter()
        tally = carry_out(one, given.seed, max(1, round(one.count * given.share)))
        seconds = time.perf_counter() - started
        print(f"{one.name:32} {tally.tried:7,} {tally.held:7,} {seconds:8.1f}  {one.promise}", flush=True)
        for line in tally.broken[:SHOWN]:
            print(f"  {line}", flush=True)
        tried, held, broken = tried + tally.tried, held + tally.held, broken + len(tally.broken)
    print(f"{'all':32} {tried:7,} {held:7,}")
    return 1 if broken or not chosen else 0


if __name__ == "__main__":
    all_attacks()
    sys.exit(main())
