"""The opened network as it was traced, and its graph for any recipe."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tui_prune.archives.pruned_file import checksum
from tui_prune.cost.cost import CostModel
from tui_prune.cost.latency_table import LatencyTable
from tui_prune.errors import TuiPruneError
from tui_prune.graph.branches import Branch, find_branches
from tui_prune.graph.graph import Gone, GoneLayer, Graph
from tui_prune.graph.grouping import build_graph, rebuilt, with_gone
from tui_prune.graph.trace import record_trace
from tui_prune.graph.units import Units
from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.plan import Plan
from tui_prune.planning.recipe import Recipe
from tui_prune.progress import Progress, silent
from tui_prune.surgery.fit import Subject, probe
from tui_prune.surgery.flow import flows_for
from tui_prune.surgery.shortening import shortened

Names = tuple[str, ...]
"""Of the residual branches that a graph is without."""

_NONE = np.zeros(0, np.int64)


class Networks:
    """The opened network, whole and without the residual branches that recipes let go.

    Graphs are traced once, at their first use. Nothing else changes: `learning` gives another one.
    """

    def __init__(
        self,
        opened: OpenedModel,
        kwargs: Mapping[str, Any],
        first: Recipe,
        *,
        probing: bool = True,
        table: LatencyTable | None = None,
        progress: Progress = silent,
    ) -> None:
        """Trace the network in the units of the `first` recipe. With `probing`, try a cut as well.

        Raises `TuiPruneError` when its forward pass fails, or where there is nothing to cut.
        """
        self.opened = opened
        self.latency_table = table
        """What calls take on the device that latencies are planned for; None: this one is measured."""
        self.subject = Subject(opened.module, opened.example_inputs, dict(kwargs))
        self._first, self._probing = first, probing
        started = time.perf_counter()
        progress("trace", 0.0)
        record = record_trace(opened.module, *self.subject.arguments)
        if not record.shapes.keys() & record.parameters:
            raise TuiPruneError(f"{opened.title} has no layers with weights, so there is nothing to cut.")
        graph = build_graph(record, first.units)
        self.trace_seconds = time.perf_counter() - started
        progress("try a cut", 0.5)
        if probing:
            graph = probe(self.subject, graph, progress)
        else:
            graph = flows_for(graph, *self.subject.arguments, first)
        self._whole = graph
        self._graphs: dict[tuple[Units, Names], Graph] = {(first.units, ()): graph}
        self._learned: Mapping[Recipe, Graph] = {}
        """With the locks that a cut by a recipe has found to be needed."""

    def learning(self, plan: Plan, graph: Graph, *, everywhere: bool) -> Networks:
        """The same, with the graph whose locks a cut by a plan has found; with `everywhere` it holds for other recipes,
        too."""
        other = copy.copy(self)
        other._learned = {**self._learned, plan.recipe: graph}
        if everywhere:
            other._graphs = {**self._graphs, (plan.recipe.units, names_of(plan.graph)): graph}
        return other

    def graph_for(self, recipe: Recipe) -> Graph:
        """The graph in a recipe's units, without the branches that it lets go. Raises `CannotGo`."""
        gone = self._branches_gone(recipe)
        key = recipe.units, tuple(branch.name for branch in gone)
        if key not in self._graphs:
            same = [graph for (_, names), graph in [*self._graphs.items()] if names == key[1]]
            near = next((graph for graph in same if graph.units.heads == recipe.heads), same[0] if same else None)
            made = self._shorten(recipe, gone) if near is None else rebuilt(near, units=recipe.units)
            self._graphs.setdefault(key, made)  # another thread may have been first: a graph is known by its identity
        return self._graphs[key]

    def graph_to_plan(self, recipe: Recipe) -> Graph:
        """The same with the locks that a cut by this very recipe has found."""
        return self._learned.get(recipe) or self.graph_for(recipe)

    def subject_of(self, graph: Graph) -> Subject:
        """The network that a graph is of, with its example inputs."""
        return self.subject if graph.gone is None else Subject(graph.model, *self.subject.arguments)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The residual branches that a ratio of 1 for one of their layers lets go whole, where the code allows it."""
        return find_branches(self.opened.module, self._whole.record, *self.subject.arguments)

    @cached_property
    def weights_digest(self) -> str:
        """What tells the opened weights from others; empty where they can't be read byte by byte."""
        module = self.opened.module
        try:
            return checksum({**dict(module.named_parameters()), **dict(module.named_buffers())})
        except (TuiPruneError, TypeError, RuntimeError):
            return ""

    def _branches_gone(self, recipe: Recipe) -> tuple[Branch, ...]:
        if 1 not in recipe.layers.values():
            return ()
        producers = {layer.name for layer in self._whole.layers if layer.producer}
        return tuple(
            branch
            for branch in self.branches
            if any(layer in producers and recipe.cuts_to_nothing(layer) for layer in branch.layers)
        )

    def _shorten(self, recipe: Recipe, gone: tuple[Branch, ...]) -> Graph:
        """The graph of the network without these branches."""
        whole, arguments = self._whole, self.subject.arguments
        short = shortened(self.opened.module, whole.record, *arguments, gone)
        subject = Subject(short, *arguments)
        graph = build_graph(record_trace(short, *arguments), recipe.units)
        graph = probe(subject, graph) if self._probing else flows_for(graph, *arguments, self._first)
        costs = CostModel(whole).measure(np.ones(whole.classes.channels, bool))[1]
        names = {layer.name for layer in graph.layers}
        layers = tuple(
            GoneLayer(
                replace(layer, group=None, outputs=_NONE, inputs=_NONE),
                place,
                *(table.get(layer.name, 0) for table in (costs.params, costs.macs, costs.bytes)),
            )
            for place, layer in enumerate(whole.layers)
            if layer.name not in names
        )
        return with_gone(graph, Gone(gone, layers, self.opened.module))


def names_of(graph: Graph) -> Names:
    """The names of the branches that a graph is without."""
    return () if graph.gone is None else tuple(branch.name for branch in graph.gone.branches)
