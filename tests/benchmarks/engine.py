"""The engine beside its peer, Torch-Pruning: time, memory and whether the result is right.

    python -m tests.benchmarks.engine [MODEL ...] [--repeats N] [--json FILE]

Needs the extra `bench`. Each network has processes of its own, with limits of time and memory, and one thread: first
each side alone, for its peak of memory (above that of the loaded network) and for its result, then both sides in turns,
each time on a fresh copy, for the times, of which the best count. Both cut by half and leave the output layer alone.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import clock
from tests.benchmarks.figures import Figures, targets
from tests.benchmarks.targets import Target, as_rows, line

MODELS = (
    "nin plain_conv alexnet vgg16_bn resnet18 resnet50 resnext50_32x4d densenet121 densenet201 googlenet inception_v3 "
    "squeezenet1_0 mobilenet_v2 mobilenet_v3_large mnasnet1_0 shufflenet_v2_x1_0 efficientnet_b0 regnet_y_400mf "
    "convnext_tiny swin_t vit_b_16 maxvit_t"
).split()

ROOT = Path(__file__).parents[2]
"""The repository: child processes find this package there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of torchvision, or bundled")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=list(clock.CLOCKS), default="wall", help="cpu where the machine is busy")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--limit-gib", type=float, default=6.0, help="memory of a process, above the loaded libraries")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="of each side of a network")
    asked = parser.parse_args()
    if find_spec("torch_pruning") is None:
        parser.error("torch-pruning isn't installed; install it with: pip install -e '.[bench]'")
    console = Console(width=None if sys.stdout.isatty() else 200)
    found: list[Figures] = []
    for model in asked.models or MODELS:
        print(model, file=sys.stderr, flush=True)
        found.append(measure(model, asked.repeats, asked.clock, asked.limit_gib, asked.limit_seconds))
    console.print(table(found))
    summary = targets(found)
    for target in summary:
        console.print(line(target), highlight=False)
    if asked.json:
        asked.json.write_text(json.dumps(as_json(found, summary, asked.clock), indent=1) + "\n")


def measure(model: str, repeats: int, clock_name: str, gib: float, seconds: float) -> Figures:
    """All figures of one network. What fails on either side is said in `our_failure` and `peer_failure`."""
    limits = ("--limit-gib", str(gib))
    mine = run_child(("memory-ours", model, *limits), seconds)
    theirs = run_child(("memory-peer", model, *limits), seconds)
    found = {
        "our_failure": mine.pop("failure", ""),
        "our_peak": mine.get("our_peak"),
        "kind": mine.get("kind", ""),
        "peer_failure": theirs.pop("failure", ""),
        **{key: theirs.get(key) for key in ("peer_peak", "peer_equal", "peer_error", "peer_left")},
    }
    if found["peer_failure"]:
        found["peer_peak"] = None
    if not found["our_failure"]:
        with_peer = () if found["peer_failure"] else ("--peer",)
        settings = ("--repeats", str(repeats), "--clock", clock_name, *with_peer, *limits)
        times = run_child(("time", model, *settings), seconds * 2 * repeats)
        found["our_failure"] = times.pop("failure", "")
        found.update({key.replace(" ", "_"): value for key, value in times.items()})
    return Figures(model, **found)


def run_child(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """What the child process says; {"failure": why} where it says nothing."""
    command = [sys.executable, "-m", "tests.benchmarks.child", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environment, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"not done after {seconds:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        return {"failure": last}
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(found: Sequence[Figures]) -> Table:
    """Milliseconds, and MiB above the loaded network."""
    drawn = Table(title="ms, best of all repeats; MiB above the loaded network", title_justify="left")
    drawn.add_column("network")
    for name in ("forward", "trace", "plan", "cut", "replay", "sum", "verify", "again", "MiB", "left"):
        drawn.add_column(name, justify="right")
    drawn.add_column("result")
    for name in ("build", "step", "sum", "MiB", "left"):
        drawn.add_column(name, justify="right")
    drawn.add_column("peer's result", max_width=40)
    drawn.add_column("faster", justify="right")
    for f in found:
        drawn.add_row(
            f.model,
            *map(_ms, (f.forward, f.trace, f.plan, f.cut, f.replay, f.ours, f.verify)),
            _number(f.plan_again and f.plan_again * 1e3, 2),
            _number(f.our_peak, 0),
            _share(f.left),
            f.our_failure or f.kind,
            *map(_ms, (f.build, f.step, f.peer)),
            _number(f.peer_peak, 0),
            _share(f.peer_left),
            _peer_result(f),
            _number(f.ratio, 1),
        )
    return drawn


def as_json(found: Sequence[Figures], summary: Sequence[Target], clock_name: str) -> dict[str, Any]:
    """Plain values, with what they were measured with."""
    versions = {name: metadata.version(name) for name in ("torch", "torchvision", "torch-pruning")}
    return {
        "machine": {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "threads": 1,
            "clock": clock_name,
            **versions,
        },
        "units": {"time": "s", "peak": "MiB"},
        "networks": [dataclasses.asdict(figures) for figures in found],
        "targets": as_rows(summary),
    }


def _peer_result(f: Figures) -> str:
    if f.peer_failure:
        return f"fails: {f.peer_failure}"
    return "equal" if f.peer_equal else f"differs by {f.peer_error:.1g}"


def _ms(seconds: float | None) -> str:
    return _number(None if seconds is None else seconds * 1e3, 0)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


if __name__ == "__main__":
    main()
