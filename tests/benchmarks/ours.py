"""What tui-prune does, in its stages."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tests.benchmarks import clock
from tui_prune.graph.graph import Graph
from tui_prune.graph.grouping import build_graph
from tui_prune.graph.trace import record_trace
from tui_prune.planning.criteria import score_groups
from tui_prune.planning.plan import Plan
from tui_prune.planning.planner import Planner, Scores
from tui_prune.planning.recipe import Recipe
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.fit import Fitted, Subject, fit
from tui_prune.surgery.flow import find_flows, widths_for
from tui_prune.surgery.surgery import cut_tensors
from tui_prune.surgery.verify import NotEqual, Verification, verify

Seconds = dict[str, float]


@dataclass(eq=False)
class Pruning:
    """One network, cut by half, and the seconds that each stage took."""

    plan: Plan
    fitted: Fitted
    planner: Planner
    scores: Scores
    verification: Verification
    seconds: Seconds = field(default_factory=dict)


def trace(model: nn.Module, inputs: tuple[Any, ...]) -> Graph:
    """The channel graph of a network."""
    return build_graph(record_trace(model, inputs, {}))


def prune(model: nn.Module, inputs: tuple[Any, ...], ratio: float) -> Pruning:
    """All that `tui_prune.prune` does, timed: trace, plan, cut with its replay, and verify.

    Seconds: "trace", "plan" (scores included), "cut and replay" (with what is tried where a plan doesn't fit the
    network's code), "verify".
    """
    seconds: Seconds = {}
    recipe = Recipe(ratio=ratio)
    with _timed(seconds, "trace"):
        graph = trace(model, inputs)
    with _timed(seconds, "plan"):
        graph = find_flows(graph, inputs, {}, widths_for(recipe))
        planner, scores = Planner(graph), score_groups(graph, recipe.criterion)
        plan = planner.plan(recipe, scores)

    def planning(changed: Graph) -> Plan:
        if changed is graph:
            return plan
        return Planner(changed).plan(recipe, score_groups(changed, recipe.criterion))

    subject, verified = Subject(model, inputs, {}), None
    with _timed(seconds, "cut and replay"):
        fitted = fit(subject, graph, planning, verifying=False)
    with _timed(seconds, "verify"), suppress(NotEqual):
        verified = verify(model, inputs, {}, fitted.plan, fitted.cut)
    if verified is None:  # what only the numbers show: what has to be locked is found by more trials
        with _timed(seconds, "cut and replay"):
            fitted = fit(subject, graph, planning)
        verified = fitted.verification
    assert verified is not None
    return Pruning(plan, fitted, planner, scores, verified, seconds)


def cut_once_more(model: nn.Module, pruning: Pruning) -> float:
    """Seconds that the cut alone takes, of "cut and replay"."""
    plan, seconds = pruning.fitted.plan, Seconds()
    with _timed(seconds, "cut"):
        tensors = named_tensors(model, plan.graph.record)
        with_tensors(model, cut_tensors(tensors, plan.graph, plan.keep).tensors, plan.graph.record)
    return seconds["cut"]


def plan_again(pruning: Pruning, ratio: float) -> float:
    """Seconds that a new plan takes once the ratio of one layer has changed."""
    graph = pruning.plan.graph
    layer = next(group.name for group in graph.groups if not group.fully_locked)
    seconds: Seconds = {}
    with _timed(seconds, "plan"):
        pruning.planner.plan(pruning.plan.recipe.changed(layers={layer: ratio}), pruning.scores)
    return seconds["plan"]


def output_layers(graph: Graph) -> list[str]:
    """The layers whose channels leave the network."""
    locked = {lock.layer for lock in graph.locks if lock.is_output}
    return [name for group in graph.groups if group.name in locked for name in group.layers]


@contextmanager
def _timed(seconds: Seconds, stage: str) -> Iterator[None]:
    started = clock.now()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + clock.now() - started
