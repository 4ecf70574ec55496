"""From the command to the tree of a network, beside PyTorch's own import, build and one forward pass of it.

    python -m tests.benchmarks.opening [MODEL ...] [--starts N] [--json FILE]

Both are processes of their own, started in turns; the least of all starts counts. Ours runs in a pseudo-terminal of 160
by 50, until the screen shows the network's MACs. To be run on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.targets import Target, as_rows, at_most, line
from tests.benchmarks.terminal import ROOT, start

CLASSIFIERS = "resnet18 resnet50 mobilenet_v2 shufflenet_v2_x1_0 densenet201 efficientnet_b0 vit_b_16 swin_t".split()
DETECTORS = "fasterrcnn_resnet50_fpn ssdlite320_mobilenet_v3_large".split()
CLASSIFIER_LIMIT, DETECTOR_LIMIT = 1.25, 1.5
SIZE = "160x50"

BARE = """
import sys, torch, torchvision
name, detector = sys.argv[1], len(sys.argv) > 2
model = torchvision.models.get_model(name, **({"weights_backbone": None} if detector else {})).eval()
image = torch.rand(3, 224, 224)
with torch.no_grad():
    model([image] if detector else image[None])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of torchvision; ten of them without")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.models or [*CLASSIFIERS, *DETECTORS]:
            turns = [(ours(model, Path(folder)), bare(model)) for _ in range(asked.starts)]
            found[model] = min(turn[0] for turn in turns), min(turn[1] for turn in turns)
            seconds, beside = found[model]
            print(f"{model:32} {seconds:6.2f} s, bare {beside:6.2f} s: {seconds / beside:.2f}", flush=True)
    summary = targets(found)
    print("\n".join(map(line, summary)))
    if asked.json:
        asked.json.write_text(json.dumps({"seconds": found, "targets": as_rows(summary)}, indent=1) + "\n")


def ours(model: str, folder: Path) -> float:
    """Seconds until the app shows the network."""
    app = start("tui_prune", [model], SIZE, folder)
    try:
        return app.shows("MACs")
    finally:
        app.end()


def bare(model: str) -> float:
    """Seconds of a process that builds the network and runs it once."""
    started = time.perf_counter()
    detector = ("detector",) if is_detector(model) else ()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", BARE, model, *detector], check=True, env=environment)
    return time.perf_counter() - started


def is_detector(model: str) -> bool:
    """Whether a network of torchvision takes a list of images."""
    return "rcnn" in model or model.startswith(("ssd", "retinanet", "fcos"))


def targets(found: dict[str, tuple[float, float]]) -> list[Target]:
    """The worst of each kind."""
    shares = [(ours / bare, model) for model, (ours, bare) in found.items()]
    return [
        at_most(
            "opening over import, build and forward pass, classification, worst",
            [share for share in shares if not is_detector(share[1])],
            CLASSIFIER_LIMIT,
        ),
        at_most(
            "opening over import, build and forward pass, detection, worst",
            [share for share in shares if is_detector(share[1])],
            DETECTOR_LIMIT,
        ),
    ]


if __name__ == "__main__":
    main()
