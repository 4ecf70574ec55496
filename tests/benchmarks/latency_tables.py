"""How well a latency table predicts what cut networks take, on three "devices" of one machine.

    python -m tests.benchmarks.latency_tables [NETWORK…]

The devices are PyTorch with one thread and with two, and ONNX Runtime. For each, a table is measured; then networks are
cut by recipes that the table doesn't know, run as they are used (modules, exported models), each in turn with the uncut
one, and the least times are compared with what the table predicts. All times are the processor's, so that what else the
machine does counts less.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # or threads that wait for each other use up processor time

import torch

from tui_prune.cost import on_target
from tui_prune.cost.latency_table import parse_table
from tui_prune.planning.recipe import Recipe
from tui_prune.saving.exporting.formats import FORMATS
from tui_prune.session.latency_work import table_of
from tui_prune.session.session import Session

NETWORKS = ("resnet18", "mobilenet_v2", "vgg11_bn", "densenet121")
DEVICES = (("torch", 1), ("torch", 2), ("onnxruntime", 1))
RECIPES = (
    Recipe(ratio=0.2),
    Recipe(ratio=0.4, align=8),
    Recipe(ratio=0.6),
    Recipe(ratio=0.5, scope="global", max_ratio=0.9),
    Recipe(target_macs=0.5, align=8),
    Recipe(target_params=0.3),
    Recipe(ratio=0.3, criterion="random", seed=3),
)


def _module(module: Any, inputs: Any, threads: int) -> Callable[[], Any]:
    def run() -> None:
        torch.set_num_threads(threads)
        with torch.no_grad():
            module(*inputs)

    return run


def _exported(module: Any, inputs: Any, threads: int) -> Callable[[], Any]:
    import onnxruntime

    program = torch.export.export(module.eval(), tuple(inputs), strict=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    content = FORMATS["onnx"].pack(program, {}, None).content
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    fed = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, fed)


def main(networks: list[str]) -> None:
    """Print one line for each cut network on each device, and the median error."""
    on_target.keep_memory()
    on_target.ROUNDS = 60
    on_target.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[assignment]
    errors: dict[str, list[float]] = {}
    for name in networks:
        session = Session.open(name)
        graph, inputs = session.graph, session.opened.example_inputs
        cuts = {share: plan.keep for share, plan in session.snapshot.planning.of(graph).even_cuts(graph).items()}
        results = []
        for recipe in RECIPES:
            session.apply(recipe)
            results.append(session.cut())
        for engine, threads in DEVICES:
            device = f"{engine}, {threads} threads"
            table = table_of(session.latency_work(engine), threads, "cpu")
            model = parse_table(table, Path("table")).model(graph, cuts)
            make = _module if engine == "torch" else _exported
            uncut = make(session.opened.module, inputs, threads)
            whole = model.seconds(results[0].plan.keep | True)
            for recipe, result in zip(RECIPES, results, strict=True):
                before, after = on_target.fastest([uncut, make(result.model, inputs, threads)], lambda: None, 3.0)
                assert before and after
                measured, predicted = after / before, model.seconds(result.plan.keep) / whole
                error = abs(predicted - measured) / measured
                errors.setdefault(device, []).append(error)
                print(
                    f"{name:14} {device:24} {100 * measured:5.1f} % measured {100 * predicted:5.1f} % predicted "
                    f"error {100 * error:5.1f} %  {recipe}",
                    flush=True,
                )
    for device, found in errors.items():
        print(f"{device}: median error {100 * statistics.median(found):.1f} % of {len(found)} networks")
    every = [error for found in errors.values() for error in found]
    print(f"all: median error {100 * statistics.median(every):.1f} %, largest {100 * max(every):.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
