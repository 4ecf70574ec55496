"""All benchmarks, one after the other, and every target with "met" or "not met".

    python -m tests.benchmarks [NAME ...] [--json FILE]

Takes hours; those that compare times want a quiet machine. `--json` keeps all figures, by the benchmark's name: the
README and the guide have theirs from there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.targets import Target, line

ROOT = Path(__file__).parents[2]
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "engine": ("--clock", "cpu"),
    "opening": (),
    "terminal": (),
    "cut_speed": (),
    "scale": (),
}
"""Each a module of this package that writes its figures and "targets" to `--json FILE`, and how it is run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all without")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"{unknown[0]!r} isn't one of {', '.join(BENCHMARKS)}")
    found: dict[str, Any] = {}
    for name in asked.names or BENCHMARKS:
        print(f"\n{name}", flush=True)
        found[name] = run(name)
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1) + "\n")
    print()
    print("\n".join(summary(found)))
    sys.exit(0 if all_met(found) else 1)


def run(name: str) -> dict[str, Any]:
    """What a benchmark writes; {"failure": why} where it writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", *BENCHMARKS[name], "--json", str(file)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if not file.exists():
            return {"failure": f"ended with status {done.returncode}", "targets": []}
        content: dict[str, Any] = json.loads(file.read_text())
        return content


def summary(found: dict[str, Any]) -> list[str]:
    """A line for each target, by benchmark."""
    lines = []
    for name, figures in found.items():
        lines.append(f"{name}: {figures.get('failure', '')}".rstrip(" ").removesuffix(":"))
        lines += [f"  {line(Target(**target))}" for target in figures["targets"]]
    return lines


def all_met(found: dict[str, Any]) -> bool:
    """Whether each benchmark ran, and met all its targets."""
    return all("failure" not in own and all(target["met"] for target in own["targets"]) for own in found.values())


if __name__ == "__main__":
    main()
