"""Measuring a network for a device: which of its calls, and which cut networks, and the script that does it there."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import getsource
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tui_prune.cost import on_target
from tui_prune.cost.cost import CostModel, SizedCall
from tui_prune.cost.latency import LatencyModel
from tui_prune.cost.latency_table import Collector, fingerprint, parse_table
from tui_prune.cost.programs import Unwritable, check, program_of_call, program_of_network
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.planning.plan import Plan
from tui_prune.progress import Progress, part, silent
from tui_prune.saving.whole_file import write_whole
from tui_prune.surgery.cut import Misfit, cut

ENGINES = ("torch", "onnxruntime")
SCRIPT = ".py"


def work_for(
    title: str,
    graph: Graph,
    arguments: tuple[Sequence[Any], Mapping[str, Any]],
    cuts: Mapping[float, Plan],
    engine: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What `cost.on_target` measures: the calls of a network at some widths, the network, and some cuts of it.

    Raises `UsageError` for an engine that isn't known, or whose packages are missing.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine must be one of {', '.join(ENGINES)}; it was {engine!r}.")
    collector = Collector(graph.model)
    model = LatencyModel(graph, collector)
    model.measure(part(progress, 0.0, 0.1))
    model.find_multiple(part(progress, 0.1, 0.2))
    calls = [[made for call in group if (made := _call(call, collector, engine))] for group in collector.groups]
    costs = CostModel(graph)
    networks, masks = [], {1.0: np.ones(graph.classes.channels, bool), **{s: plan.keep for s, plan in cuts.items()}}
    for number, (share, keep) in enumerate(masks.items()):
        progress("cut", 0.2 + 0.8 * number / len(masks))
        with suppress(Misfit, TuiPruneError):
            module = graph.model if share == 1 else cut(graph.model, *arguments, cuts[share]).module
            network = _network(module, arguments, engine)
            networks.append({"share": share, "print": fingerprint(costs.work(keep)), **network})
    return {"network": title, "engine": engine, "calls": [group for group in calls if group], "networks": networks}


def script_of(work: Mapping[str, Any]) -> str:
    """A Python file that measures some work, and needs only torch or onnxruntime."""
    packed = base64.b64encode(zlib.compress(json.dumps(work).encode(), 9)).decode()
    lines = "\n".join(f'    "{packed[place : place + 100]}"' for place in range(0, len(packed), 100))
    return f'{getsource(on_target)}\n\nWORK = (\n{lines}\n)\n\nif __name__ == "__main__":\n    main(WORK)\n'


def table_of(work: Mapping[str, Any], threads: int | None, device: str, progress: Progress = silent) -> dict[str, Any]:
    """Measure some work on this device. `progress` may raise to stop."""
    device = device if work["engine"] == "torch" else "cpu"
    before = torch.get_num_threads()
    try:
        return on_target.measured(work, threads, device, lambda done: progress("measure layers", done))
    finally:
        torch.set_num_threads(before)


def report_of(table: Mapping[str, Any], graph: Graph, cuts: Mapping[float, Plan]) -> dict[str, Any]:
    """What a network and its layers take by a table: the object of `latency --json`."""
    found = parse_table(table, Path("table"))
    model = found.model(graph, {share: plan.keep for share, plan in cuts.items()})
    whole = np.ones(graph.classes.channels, bool)
    layers = model.by_layer(whole)
    return {
        "model": found.network,
        "device": found.device,
        "latency": model.seconds(whole),
        "layers": [{"name": name, "seconds": seconds} for name, seconds in layers.items() if name],
        "networks": [{"share": one.share, "seconds": one.seconds} for one in found.networks],
    }


def save_text(path: Path, content: str | Mapping[str, Any], *, force: bool = False) -> None:
    """Write a script or a table, whole or not at all. Raises `TuiPruneError`; an existing file needs `force`."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    write_whole(path, lambda file: file.write(text.encode()), lambda part: None, force=force)


def _call(call: SizedCall, calls: Collector, engine: str) -> dict[str, Any] | None:
    fitting = calls.runnable(call)
    if fitting is None:
        return None
    key = calls.key(call)
    if engine == "onnxruntime":
        from tui_prune.saving.exporting.skeletons import skeleton_of_call

        skeleton = skeleton_of_call(fitting)
        return None if skeleton is None else {"key": key, "onnx": skeleton}
    form = "channels_last" if calls.channels_last else ""
    try:
        weight = "transposed" if calls.weight_lies_transposed(call) else ""
        return {"key": key, "torch": program_of_call(fitting, calls.dtype, form, weight)}
    except Unwritable:
        return None


def _network(module: nn.Module, arguments: tuple[Sequence[Any], Mapping[str, Any]], engine: str) -> dict[str, Any]:
    """Raises `TuiPruneError` where the network can't be written down."""
    if engine == "onnxruntime":
        from tui_prune.saving.exporting.skeletons import skeleton_of_network

        return {"onnx": skeleton_of_network(module, *arguments)}
    program = program_of_network(module, *arguments)
    check(program)
    return {"torch": program}


def is_script(path: Path) -> bool:
    """Whether a file of this name is to be the script, and not the table."""
    return path.suffix.casefold() == SCRIPT
