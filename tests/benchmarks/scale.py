"""How trace, plan and step grow with a network's layers, channels and parameters.

    python -m tests.benchmarks.scale [--quick] [--json FILE]

Chains of residual blocks; processor time, the least of three runs. The exponent is that of the best power through the
figures from the middle on, where the fixed costs no longer count: 1 is linear.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.benchmarks.many_modules import Block
from tests.benchmarks.targets import Target, as_rows, at_most, line
from tui_prune.graph.grouping import build_graph
from tui_prune.graph.trace import record_trace
from tui_prune.planning.criteria import score_groups
from tui_prune.planning.planner import Planner
from tui_prune.planning.recipe import Recipe
from tui_prune.plots import bars

LIMIT = 1.15
"""An exponent; what sorts grows a little faster than its input."""
RUNS = 3
STAGES = ("trace", "plan", "step")


def layers(count: int) -> nn.Module:
    """So many modules with few channels."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *(Block(16) for _ in range(count // 4)))


def channels(width: int) -> nn.Module:
    """Few layers with so many channels, in kernels of one channel each but at the ends."""
    parts: list[nn.Module] = [nn.Conv2d(3, width, 1)]
    for _ in range(8):
        parts += [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(width, 4, 1))


def parameters(millions: int) -> nn.Module:
    """Linear layers that hold so many million parameters, with no memory behind them."""
    width = round((millions * 1e6 / 10) ** 0.5)
    parts: list[nn.Module] = [nn.Linear(8, width)]
    for _ in range(10):
        parts += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, 4)).to("meta")


AXES: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "layers": (layers, (500, 1000, 2000, 5000, 10000), (1, 3, 4, 4)),
    "channels": (channels, (1000, 2000, 4000, 8000, 16000), (1, 3, 4, 4)),
    "millions of parameters": (parameters, (60, 125, 250, 500, 1000), (1, 8)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only the three smaller sizes of each")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[int, dict[str, float]]] = {}
    for axis, (make, sizes, shape) in AXES.items():
        found[axis] = {}
        for size in sizes[: 3 if asked.quick else None]:
            found[axis][size] = measured(make(size).eval(), shape)
            words = ", ".join(f"{stage} {1e3 * found[axis][size][stage]:.1f} ms" for stage in STAGES)
            print(f"{axis} {size}: {words}", flush=True)
        print(picture(axis, found[axis]))
    summary = targets(found)
    print("\n".join(map(line, summary)))
    if asked.json:
        asked.json.write_text(json.dumps({"seconds": found, "targets": as_rows(summary)}, indent=1) + "\n")


def measured(model: nn.Module, shape: tuple[int, ...]) -> dict[str, float]:
    """Seconds of each stage."""
    device = next(model.parameters()).device
    inputs = (torch.zeros(shape, device=device),)
    graph = build_graph(record_trace(model, inputs, {}))
    recipe = Recipe(ratio=0.5, criterion="random" if device.type == "meta" else "l2")
    planner, scores = Planner(graph), score_groups(graph, recipe.criterion)
    name = graph.groups[0].name

    def step(number: int) -> None:
        planner.plan(recipe.changed(layers={name: 0.3 + 0.01 * number}), scores)

    return {
        "trace": least(lambda _: build_graph(record_trace(model, inputs, {}))),
        "plan": least(lambda _: Planner(graph).plan(recipe, score_groups(graph, recipe.criterion))),
        "step": least(step),
    }


def least(run: Callable[[int], object]) -> float:
    """The least processor time of some runs."""
    seconds = []
    for number in range(RUNS):
        started = time.process_time()
        run(number)
        seconds.append(time.process_time() - started)
    return min(seconds)


def exponents(found: dict[int, dict[str, float]]) -> dict[str, float]:
    """How each stage grows with the size."""
    sizes = list(found)[len(found) // 2 - 1 :]
    return {
        stage: float(np.polyfit(np.log(sizes), np.log([found[size][stage] for size in sizes]), 1)[0])
        for stage in STAGES
    }


def targets(found: dict[str, dict[int, dict[str, float]]]) -> list[Target]:
    """The worst growth of each stage."""
    every = {axis: exponents(sizes) for axis, sizes in found.items()}
    return [
        at_most(f"exponent of growth, {stage}", [(own[stage], axis) for axis, own in every.items()], LIMIT)
        for stage in STAGES
    ]


def picture(axis: str, found: dict[int, dict[str, float]]) -> str:
    """Milliseconds of each stage over the size, both logarithmic."""
    sizes = np.log10(list(found))
    drawn = []
    for stage in STAGES:
        taken = [1e3 * seconds[stage] for seconds in found.values()]
        heights = np.log10(taken)
        rows = bars.line(
            sizes,
            heights,
            limits=(float(sizes[0]), float(sizes[-1])),
            levels=(float(heights.min()), float(heights.max())),
            below=[(float(place), f"{size:,}") for place, size in zip(sizes, found, strict=True)],
            beside=[(float(heights[n]), f"{taken[n]:.3g}") for n in (0, -1)],
            size=(64, 10),
        )
        drawn += [f"{stage}, ms, over {axis}", *("".join(span.text for span in row) for row in rows)]
    return "\n".join(drawn)


if __name__ == "__main__":
    main()
