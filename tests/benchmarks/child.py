"""One network in a process of its own: so that time and memory can be limited, and peaks of memory be told apart.

    python -m tests.benchmarks.child time|memory-ours|memory-peer MODEL [--repeats N] [--peer] [--clock wall|cpu]

Prints one JSON object as its last line.
"""

import argparse
import copy
import gc
import json
import resource
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.benchmarks import clock, ours
from tests.exactness import TOLERANCE, largest_error, other_values, randomise_norms
from tui_prune.loading.open_model import open_model

RATIO = 0.5
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["time", "memory-ours", "memory-peer"])
    parser.add_argument("model")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--clock", choices=list(clock.CLOCKS), default="wall")
    parser.add_argument("--limit-gib", type=float, default=6.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    clock.choose(asked.clock)
    warnings.simplefilter("ignore")
    limit_memory(asked.limit_gib)
    model, inputs = build(asked.model)
    if asked.task == "time":
        found = measure_times(model, inputs, asked.repeats, with_peer=asked.peer)
    elif asked.task == "memory-ours":
        found = measure_our_memory(model, inputs)
    else:
        found = {}
        try:
            found = try_peer(model, inputs)
        except Exception as error:
            found["failure"] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")
    print(json.dumps(found))


def build(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """The network in eval mode, with random statistics so that a channel in the wrong place shows, and its input."""
    opened = open_model(name)
    model = randomise_norms(opened.module)
    for part in model.modules():  # A head that starts at zero would hide everything before it.
        if isinstance(part, nn.Linear) and not bool(part.weight.any()):
            nn.init.normal_(part.weight, std=0.05)
    return model, opened.example_inputs


def measure_times(model: nn.Module, inputs: tuple[Any, ...], repeats: int, *, with_peer: bool) -> dict[str, Any]:
    """Best of all repeats: seconds of each stage of both sides, in turns and on fresh copies of the same network."""
    outputs = ours.output_layers(ours.trace(model, inputs))
    rounds: list[dict[str, float]] = []

    def our_turn(found: dict[str, float]) -> None:
        mine = copy.deepcopy(model)
        gc.collect()
        pruning = ours.prune(mine, inputs, RATIO)
        found.update(pruning.seconds)
        found["ours"] = sum(pruning.seconds[stage] for stage in ("trace", "plan", "cut and replay"))
        found["cut"] = min(ours.cut_once_more(mine, pruning) for _ in range(2))
        found["plan again"] = min(ours.plan_again(pruning, RATIO + 0.01 * step) for step in range(1, 6))
        found.update(gmacs=pruning.plan.before.macs / 1e9, left=_left(pruning.fitted.cut.module, model))

    def their_turn(found: dict[str, float]) -> None:
        if with_peer:
            from tests.benchmarks import peer

            mine = copy.deepcopy(model)
            gc.collect()
            found.update(peer.prune(mine, inputs, RATIO, outputs))
            found["peer"] = found["build"] + found["step"]

    def forward_turn(found: dict[str, float]) -> None:
        gc.collect()
        with torch.no_grad():
            started = clock.now()
            model(*inputs)
            found["forward"] = clock.now() - started

    turns = [forward_turn, our_turn, forward_turn, their_turn]
    forward_turn({})
    for number in range(repeats):
        found: dict[str, float] = {}
        for turn in turns[:: 1 if number % 2 == 0 else -1]:
            turn(found)
        rounds.append(found)
    best = {stage: min(found[stage] for found in rounds) for stage in rounds[0]}
    replay = max(best.pop("cut and replay") - best["cut"], 0.0)
    return {**best, "replay": replay}


def measure_our_memory(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """MiB above the level before, at the highest; verify included."""
    ours.prune(*_tiny(), RATIO)  # loads the libraries that are loaded when first used
    level = start_of_peak()
    pruning = ours.prune(model, inputs, RATIO)
    return {
        "our_peak": (peak() - level) / MIB,
        "kind": pruning.verification.kind,
    }


def try_peer(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """MiB above the level before, at the highest, and how its result compares with the masked original."""
    from tests.benchmarks import peer

    outputs = ours.output_layers(ours.trace(model, inputs))
    original = copy.deepcopy(model)
    mine = copy.deepcopy(model)
    peer.prune(*_tiny(), RATIO, ["2"])
    level = start_of_peak()
    peer.prune(mine, inputs, RATIO, outputs)
    found = {"peer_peak": (peak() - level) / MIB}
    kept = peer.prune_and_remember(model, inputs, RATIO, outputs)
    new = other_values(inputs)
    with torch.no_grad():
        error = largest_error(model.eval()(*new), peer.masked(original, kept)(*new))
    return {**found, "peer_left": _left(mine, original), "peer_error": error, "peer_equal": error <= TOLERANCE}


def _tiny() -> tuple[nn.Module, tuple[Any, ...]]:
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)
    return nn.Sequential(*layers).eval(), (torch.randn(1, 3, 8, 8),)


def _left(cut: nn.Module, original: nn.Module) -> float:
    return sum(p.numel() for p in cut.parameters()) / sum(p.numel() for p in original.parameters())


def start_of_peak() -> int:
    """Forget earlier peaks, where the system can; the bytes in use now."""
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return peak()


def peak() -> int:
    """The most bytes that this process has held since `start_of_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory(gib: float) -> None:
    """No more address space than now and so much more (libraries that are loaded take a lot of it)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmSize:"))
        limit = int(line.split()[1]) * 1024 + int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
