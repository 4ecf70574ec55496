"""What accuracy a cut keeps, beside Torch-Pruning at its best: the guide's table, and all of it as JSON.

    python -m tests.benchmarks.quality [--each] [--seeds N] [--networks NAME ...] [--budgets R ...] [--jobs N]
                                       [--json FILE]

Needs the extra `bench`; takes some 40 minutes of processor time, shared among `--jobs` processes. The bundled digits
network (`nin`), and a narrow ResNet-18 that is trained here on the same data, are cut to a share of their MACs, which
torch counts for both sides. Each cut network is tested as it is, after its batch norm is recalibrated, and after a
recovery, that is recalibrated and shortly fine-tuned. Both sides are recovered by the session, which keeps the best
state by the held-out images: the same batches, steps, learning rate and evaluations. The seed says which training
images are held out and which calibrate, in which order the others come, what the criterion `random` makes up, and how
the ResNet is trained.

Three methods see no label: l2 at the same ratio in each layer, with the layers refitted (in the column for what is
recalibrated) by the images that calibrate; at once, and in three rounds; and the criterion `reconstruction` with the
widths that error curves suggest. Their fine-tuning has no held-out images to choose the best state by, so it gives the
last.

Whatever is chosen is chosen on the held-out images, by accuracy and, where that is the same, by loss: the scope of each
criterion of ours, the recipe that is suggested, the state of a network that is kept, and the best of the peer's
settings, anew for each column. On both sides the `TUNED` best after recalibration are fine-tuned.
"""

import argparse
import copy
import dataclasses
import itertools
import json
import multiprocessing
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.digits_task import Digits, Score, score
from tests.benchmarks.small_resnet import trained
from tui_prune.graph.graph import Graph
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.recipe import Recipe
from tui_prune.recovery.recalibration import recalibrate
from tui_prune.recovery.recover import recover
from tui_prune.session.rounds import Recovering, prune_in_rounds
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task

NETWORKS = ("nin", "small_resnet")
BUDGETS = (0.5, 0.3, 0.2, 0.1)
STAGES = ("cut", "recalibrated", "tuned")
TUNED = 3
"""So many suggestions, and so many of the peer's settings, are fine-tuned: those that are best after recalibration."""
SUGGESTED, PEER = "suggested recipe", "Torch-Pruning, best setting"
RECONSTRUCTED, ROUNDS = "l2 in each layer alike, reconstructed", "the same in three rounds"
CURVES = "reconstruction, widths from curves, reconstructed"
NO_LABELS = (RECONSTRUCTED, ROUNDS, CURVES)
"""Neither labels nor an evaluation: layers are refitted by the images that calibrate."""


@dataclass(frozen=True)
class Figures:
    """One method on one network, with one seed and at one budget."""

    network: str
    seed: int
    budget: float
    method: str
    macs: float
    """Share that is left, after recalibration."""
    cut: float
    """Accuracy on the test images, 0 to 1."""
    recalibrated: float
    tuned: float
    chosen: str
    """What was chosen on the held-out images; for the peer at each stage."""


@dataclass(eq=False)
class Stages:
    """A cut network, as it is after each stage, and what the held-out images say of it there."""

    name: str
    macs: float
    networks: dict[str, nn.Module]
    held_out: dict[str, Score]

    @classmethod
    def of(cls, name: str, network: nn.Module, data: Digits) -> "Stages":
        """The first two stages; the network itself isn't changed."""
        stages = cls(name, macs(network, data), {}, {})
        stages.reached("cut", copy.deepcopy(network).eval(), data)
        recalibrated = copy.deepcopy(network).eval()
        recalibrate(recalibrated, data.task())
        stages.reached("recalibrated", recalibrated, data)
        return stages

    def tune(self, data: Digits) -> "Stages":
        """The last stage: the network as it was cut, whoever has cut it, as a session recovers it."""
        session = Session(opened(self.networks["cut"]), task=data.task())
        self.reached("tuned", session.recover(finetune=True).model, data)
        return self

    def reached(self, stage: str, network: nn.Module, data: Digits) -> None:
        """Note the network of a stage."""
        self.networks[stage] = network
        self.held_out[stage] = score(network, data.held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME")
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS, metavar="R", help="shares of the MACs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="networks and seeds at a time")
    parser.add_argument("--each", action="store_true", help="each criterion by itself, too; takes twice as long")
    parser.add_argument("--quick", action="store_true", help="only what sees no label; takes two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--cache", type=Path, default=Path(platformdirs.user_cache_dir("tui-prune")), help="for trained weights"
    )
    asked = parser.parse_args()
    if not asked.quick and find_spec("torch_pruning") is None:
        parser.error("torch-pruning isn't installed; install it with: pip install -e '.[bench]'")
    started = time.monotonic()
    found: list[Figures] = []
    for figures in all_measured(asked):
        found.append(figures)
        print(f"{_summary(figures)}  {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        found.sort(key=lambda figures: (asked.networks.index(figures.network), -figures.budget))
        if asked.json:
            asked.json.write_text(json.dumps(as_json(found), indent=1) + "\n")
    print("\n".join(markdown(found)))


def all_measured(asked: argparse.Namespace) -> Iterator[Figures]:
    """What is asked for on the command line, each as it is there; each network with each seed in a process."""
    units = list(itertools.product(asked.networks, range(asked.seeds)))
    with (
        multiprocessing.Manager() as manager,
        ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        ready: queue.Queue[Figures] = manager.Queue()
        running = [pool.submit(_measure, name, seed, asked, ready) for name, seed in units]
        while not all(future.done() for future in running) or not ready.empty():
            try:
                yield ready.get(timeout=1)
            except queue.Empty:
                continue
        for future in running:
            future.result()


def _measure(name: str, seed: int, asked: argparse.Namespace, ready: "queue.Queue[Figures]") -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    criteria = CRITERIA if asked.each else ()
    for figures in measured(name, seed, asked.budgets, asked.cache, criteria, quick=asked.quick):
        ready.put(figures)


def measured(
    name: str, seed: int, budgets: Sequence[float], cache: Path, criteria: Iterable[str], *, quick: bool = False
) -> Iterator[Figures]:
    """One network with one seed: reconstructed without labels, the suggested recipe, the peer, and each of these
    criteria by itself; `quick`: only the first."""
    data = Digits(seed)
    model = trained(data, cache) if name == "small_resnet" else open_model(name).module.eval()
    model.to(memory_format=torch.channels_last)
    held, now = score(model, data.held_out), score(model, data.test).accuracy
    yield Figures(name, seed, 1.0, "uncut", 1.0, now, now, now, f"held out {held.accuracy:.3f}")
    session = Session(opened(model), task=data.task())
    whole = macs(model, data)
    outputs = _output_layers(session.graph)

    def figures(method: str, budget: float, at: dict[str, Stages]) -> Figures:
        shares = [score(at[stage].networks[stage], data.test).accuracy for stage in STAGES]
        chosen = "; ".join(dict.fromkeys(at[stage].name for stage in STAGES))
        return Figures(name, seed, budget, method, at["recalibrated"].macs / whole, *shares, chosen)

    for budget in budgets:
        for method in NO_LABELS:
            yield figures(method, budget, dict.fromkeys(STAGES, _reconstructed(model, data, budget, method)))
        if quick:
            continue
        yield figures(SUGGESTED, budget, _suggested(session, data, budget))
        best_at = _peer(model, data, outputs, budget)
        yield figures(PEER, budget, best_at)
        for criterion in criteria:
            tried = []
            for scope in ("local", "global"):
                session.apply(Recipe(criterion=criterion, scope=scope, target_macs=budget, seed=seed))
                tried.append(Stages.of(scope, session.cut().model, data))
            best = max(tried, key=_by("recalibrated")).tune(data)
            yield figures(criterion, budget, dict.fromkeys(STAGES, best))


def _reconstructed(model: nn.Module, data: Digits, budget: float, method: str) -> Stages:
    """One of the methods that see no label; refitted in place of recalibrated, and fine-tuned after that."""
    label_free = Task(calibration=lambda: (inputs for inputs, _ in data.calibration()))
    session = Session(opened(model), task=label_free, recipe=Recipe(target_macs=budget))
    if method == CURVES:
        session.apply(Recipe(criterion="reconstruction"))
        session.apply(session.suggest(target_macs=budget))
    cut = session.cut()
    if method == ROUNDS:
        result = prune_in_rounds(session, 3, Recovering(reconstruct=True))
    else:
        result = recover(cut, label_free, reconstructing=True, recalibrating=False)
    stages = Stages(f"{session.recipe.criterion}, local", macs(result.model, data), {}, {})
    stages.reached("cut", cut.model, data)
    stages.reached("recalibrated", result.model, data)
    tuned = copy.deepcopy(result.model)
    data.tune(tuned, lambda *_, **__: None)
    stages.reached("tuned", tuned, data)
    return stages


def _suggested(session: Session, data: Digits, budget: float) -> dict[str, Stages]:
    """The recipe that is suggested for recalibration, and for fine-tuning the one of so many finalists."""
    session.apply(Recipe())
    plan = session.apply(session.suggest(target_macs=budget, thorough=True))
    recalibrated = Stages.of(plan.recipe.criterion, session.cut().model, data)
    session.apply(Recipe())
    plan = session.apply(session.suggest(target_macs=budget, finalists=TUNED))
    tuned = Stages.of(plan.recipe.criterion, session.cut().model, data)
    recovered = session.recovered
    tuned.reached("tuned", tuned.networks["cut"] if recovered is None else recovered.model, data)
    return {**dict.fromkeys(STAGES[:2], recalibrated), "tuned": tuned}


def _peer(model: nn.Module, data: Digits, outputs: Sequence[str], budget: float) -> dict[str, Stages]:
    """The peer's best network at each stage."""
    from tests.benchmarks.peer_settings import SETTINGS

    def count(network: nn.Module) -> float:
        return macs(network, data)

    tried = []
    for setting in SETTINGS:
        network = setting.cut(model, data, outputs, count, budget)
        if network is not None:
            tried.append(Stages.of(setting.name, network, data))
    best = {stage: max(tried, key=_by(stage)) for stage in STAGES[:2]}
    tuned = [stages.tune(data) for stages in sorted(tried, key=_by("recalibrated"), reverse=True)[:TUNED]]
    return {**best, "tuned": max(tuned, key=_by("tuned"))}


def opened(model: nn.Module) -> OpenedModel:
    """For a session; the network itself isn't changed by it."""
    return open_model(model=model, input_spec="1,3,32,32")


@torch.no_grad()
def macs(model: nn.Module, data: Digits) -> float:
    """Of one image, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        model(data.test.inputs[:1])
    return counter.get_total_flops() / 2


def _by(stage: str) -> Callable[[Stages], float]:
    """By what the held-out images say of a stage."""
    return lambda stages: stages.held_out[stage].worth


def _output_layers(graph: Graph) -> list[str]:
    from tests.benchmarks.ours import output_layers

    return output_layers(graph)


def markdown(found: Sequence[Figures]) -> list[str]:
    """A table: mean accuracy in percent and, behind ±, the standard deviation over the seeds."""
    titles = ("network", "MACs at most", "method", "MACs left", "cut", "recalibrated", "fine-tuned")
    lines = [f"| {' | '.join(titles)} |", f"| {' | '.join('---' for _ in titles)} |"]
    rows = dict.fromkeys((figures.network, figures.budget, figures.method) for figures in found)
    for row in rows:
        mine = [figures for figures in found if (figures.network, figures.budget, figures.method) == row]
        cells = [_spread([getattr(figures, stage) for figures in mine]) for stage in STAGES]
        left = f"{100 * np.mean([figures.macs for figures in mine]):.1f} %"
        lines.append(f"| {row[0]} | {_percent(row[1])} | {row[2]} | {left} | {' | '.join(cells)} |")
    return lines


def as_json(found: Sequence[Figures]) -> dict[str, object]:
    """Plain values, with what they were measured with."""
    versions = {name: metadata.version(name) for name in ("torch", "torch-pruning")}
    return {"versions": versions, "figures": [dataclasses.asdict(figures) for figures in found]}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _spread(values: Sequence[float]) -> str:
    percent = 100 * np.array(values)
    return f"{percent.mean():.1f} ± {percent.std(ddof=1 if len(values) > 1 else 0):.1f}"


def _summary(figures: Figures) -> str:
    shares = " ".join(f"{100 * getattr(figures, stage):5.1f}" for stage in STAGES)
    return (
        f"{figures.network:13} {figures.seed} {figures.budget:.1f} {figures.method:28} {100 * figures.macs:5.1f} % "
        f" {shares}  {figures.chosen}"
    )


if __name__ == "__main__":
    main()
