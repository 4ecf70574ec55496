"""A session's work in other processes: what a worker is told, and what it makes of that.

A worker opens the network itself, by what the user named, and takes the weights of this session's network from a file
that all of them map. That its channels are numbered alike is checked, since points speak of them by number.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tui_prune import paths
from tui_prune.archives.pruned_file import Checkpoint, parse_checkpoint
from tui_prune.copies.modules import named_tensors
from tui_prune.cost.latency_table import read_table
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.loading.open_model import open_model
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress
from tui_prune.search.curves import uncut
from tui_prune.search.sensitivity import Scanner
from tui_prune.session.evaluation import Evaluation
from tui_prune.tasks.evidence import Half
from tui_prune.tasks.registry import open_task
from tui_prune.workers import Setup

if TYPE_CHECKING:
    from tui_prune.session.session import Session
    from tui_prune.workers.backends import Work


@contextmanager
def remote_scanner(
    request: OpenRequest | None,
    evaluation: Evaluation,
    graph: Graph,
    recipe: Recipe,
    *,
    choosing: bool = False,
    reconstructing: bool = False,
) -> Iterator[Setup]:
    """What workers need to measure points of a scan, as long as the block lasts; raises as `remote_session` does.
    `choosing`: by the examples that choose; `reconstructing`: with refitted layers."""
    carrier = uncut(recipe).changed(criterion="l2")  # what goes is said by each point
    with remote_session(request, evaluation, graph, carrier) as told:
        yield Setup(__name__, "scanner", (*told, choosing, reconstructing))


@contextmanager
def remote_session(
    request: OpenRequest | None, evaluation: Evaluation, graph: Graph, recipe: Recipe
) -> Iterator[tuple[Any, ...]]:
    """What workers need to open the same session, as long as the block lasts: the arguments of `opened_again`.

    Raises `UsageError` where a worker couldn't open the network or the task, because nobody has named them.
    """
    task = evaluation.task
    if request is None or task is None or not task.spec or graph.gone is not None:
        raise UsageError(
            "Workers open the network and the task themselves, by their names: they can't where these are objects in "
            "memory, or where whole branches are cut. Leave --jobs and --cluster out."
        )
    with tempfile.TemporaryDirectory(prefix="tui-prune-") as folder:
        state = {name: tensor.detach().cpu() for name, tensor in named_tensors(evaluation.networks.opened.module)}
        file = Path(folder) / "network.pt"
        torch.save(state, file)
        device = request.device.partition(":")[0]  # which one of them is the worker's is its backend's matter
        told = {**request.to_dict(), "task": task.spec, "device": device}
        yield told, recipe.to_dict(), str(file), graph_key(graph)


def scanner(
    request: Mapping[str, Any], recipe: Mapping[str, Any], state: str, key: str, choosing: bool, reconstructing: bool
) -> Work:
    """In a worker: what turns the bytes of a mask over channels into score and change of the network cut so."""
    session = opened_again(request, recipe, state, key)
    plan, evaluation = session.plan, session.snapshot.evaluation
    task = evaluation.by(Half.CHOOSING if choosing else None)
    own = Scanner(evaluation.networks.subject, plan.graph, task, reconstructing=reconstructing)

    def measure(mask: bytes, progress: Progress) -> tuple[float, float] | None:
        return own.measure(plan, np.frombuffer(mask, bool), progress)

    return measure


def sweeper(request: Mapping[str, Any], recipe: Mapping[str, Any], state: str, key: str) -> Work:
    """In a worker: what turns a recipe into the fields of a `SweptPoint`."""
    session = opened_again(request, recipe, state, key)

    def measure(recipe: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        return session.search().swept(Recipe.from_dict(recipe), progress)

    return measure


def finalist(request: Mapping[str, Any], recipe: Mapping[str, Any], state: str, key: str) -> Work:
    """In a worker: what turns a recipe into what its network is worth once it is fine-tuned, and into that network."""
    session = opened_again(request, recipe, state, key)

    def tune(recipe: Mapping[str, Any], progress: Progress) -> tuple[float, bytes | None]:
        session.apply(Recipe.from_dict(recipe))
        worth, result = session.search().tuned(session.plan, progress)
        if result is None or not result.report.recovered:
            return worth, None
        packed = io.BytesIO()
        torch.save(session.packed(result).to_content(), packed)
        return worth, packed.getvalue()

    return tune


def unpacked(packed: bytes) -> Checkpoint:
    """The network that a worker has packed."""
    return parse_checkpoint(torch.load(io.BytesIO(packed), weights_only=True), Path("the network of a worker"))


def opened_again(request: Mapping[str, Any], recipe: Mapping[str, Any], state: str, key: str) -> Session:
    """A session of the same network, with the same weights, in a worker.

    Raises `TuiPruneError` where its channels are numbered in another way.
    """
    from tui_prune.session.session import Session

    asked = OpenRequest.from_dict(request)
    opened = open_model(asked.spec, weights=asked.weights, input_spec=asked.input_spec, device=asked.device)
    tensors = torch.load(state, weights_only=True, mmap=True)
    with torch.no_grad():  # before anything is computed from what a factory has drawn
        for name, tensor in named_tensors(opened.module):
            tensor.copy_(tensors[name])
    task = None if asked.task is None else open_task(asked.task)
    table = None if asked.latency_table is None else read_table(asked.latency_table)
    session = Session(opened, task=task, recipe=Recipe.from_dict(recipe), table=table)
    if graph_key(session.graph) != key:
        raise TuiPruneError(
            "A worker has traced another network than this process, so its code isn't the same in each run. "
            "Leave --jobs and --cluster out."
        )
    return session


def absolute(spec: str | Path | None) -> str | None:
    """What a user named, so that it means the same from another folder."""
    if spec is None:
        return None
    text = str(spec)
    path, colon, factory = text.rpartition(":") if ".py:" in text else (text, "", "")
    return f"{paths.absolute(path)}{colon}{factory}" if paths.exists(path) else text


def graph_key(graph: Graph) -> str:
    """What tells graphs apart whose channels have other numbers."""
    digest = hashlib.sha256(np.ascontiguousarray(graph.classes.channel).tobytes())
    for axis in graph.record.axes:
        digest.update(f"{axis.tensor}/{axis.dim}/{axis.size};".encode())
    return digest.hexdigest()
