"""What a cut network takes on this device, as a share of the uncut one.

    python -m tests.benchmarks.cut_speed [MODEL ...] [--threads N] [--batch N] [--channels-last] [--json FILE]

Each network is cut to half its MACs with `align = "auto"`, and once more with `target_latency = 0.6`. Uncut and cut
networks run in turns, and the least time of each counts.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from tests.benchmarks.targets import Target, as_rows, at_least, at_most, line
from tui_prune.cost.on_target import fastest
from tui_prune.planning.recipe import Recipe
from tui_prune.session.session import Session

NETWORKS = "resnet18 resnet50 mobilenet_v2 densenet121 regnet_y_400mf vgg16_bn".split()
HALF = Recipe(target_macs=0.5, align="auto")
LATENCY = 0.6
LIMIT = 0.58
NEAR = 0.03
ENOUGH = 3.0
"""Seconds of runs for each network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="six of torchvision without")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found: dict[str, tuple[float, float]] = {}
    for model in asked.models or NETWORKS:
        session = Session.open(model)
        cut = []
        for recipe in (HALF, Recipe(target_latency=LATENCY)):
            session.apply(recipe)
            cut.append(session.cut().model)
        form = torch.channels_last if asked.channels_last else torch.contiguous_format
        (image,) = session.opened.example_inputs
        image = image.expand(asked.batch, *image.shape[1:]).contiguous(memory_format=form)
        networks = [network.eval().to(memory_format=form) for network in (session.opened.module, *cut)]
        whole, half, aimed = fastest([runner(network, image) for network in networks], lambda: None, ENOUGH)
        assert whole and half and aimed
        found[model] = half / whole, aimed / whole
        print(f"{model:20} half the MACs {half / whole:.2f}, target {LATENCY:g}: {aimed / whole:.2f}", flush=True)
    summary = targets(found)
    print("\n".join(map(line, summary)))
    if asked.json:
        settings = {"threads": asked.threads, "batch": asked.batch, "channels_last": asked.channels_last}
        written = {**settings, "shares": found, "targets": as_rows(summary)}
        asked.json.write_text(json.dumps(written, indent=1) + "\n")


def runner(network: nn.Module, image: torch.Tensor) -> Callable[[], None]:
    """A function that runs a network once."""

    def run() -> None:
        with torch.no_grad():
            network(image)

    return run


def targets(found: dict[str, tuple[float, float]]) -> list[Target]:
    """The mean share at half the MACs, and how many networks reach a target of latency."""
    mean = [(statistics.mean(half for half, _ in found.values()), "")] if found else []
    near = [(sum(aimed <= LATENCY + NEAR for _, aimed in found.values()) / len(found), "")] if found else []
    return [
        at_most("share of the time at half the MACs, mean", mean, LIMIT),
        at_least(
            f"share of the networks within {NEAR:g} of a target of latency",
            near,
            5 / 6,
        ),
    ]


if __name__ == "__main__":
    main()
