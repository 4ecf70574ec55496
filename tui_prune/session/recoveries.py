"""Recovered networks of one session: the latest few plans' stay, and come back when the choices do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.graph.graph import Graph
from tui_prune.planning.plan import Plan
from tui_prune.result import Result
from tui_prune.saving.checkpoint import tensors_and_positions
from tui_prune.session.words import in_words

MOST = 4
"""Recovered networks that are held."""


@dataclass(frozen=True, eq=False)
class Recoveries:
    """The recovered networks that are held. Each change gives another one."""

    held: tuple[Result, ...] = ()
    """The latest last; of networks with the same channels only the latest."""
    files: Mapping[nn.Module, Path] = field(default_factory=dict)
    """Those that the user has saved, and where."""

    def of(self, plan: Plan) -> Result | None:
        """The recovered network of a plan, or of one that leaves the same of the network."""
        return next((found for found in self.held if _same_cut(found.plan, plan)), None)

    def file(self, found: Result) -> Path | None:
        """The checkpoint that the user has saved a recovered network to."""
        return self.files.get(found.model)

    def holding(self, result: Result) -> Recoveries:
        """One more, in the place of an earlier one of the same plan, or of the one that has to go."""
        gone = self._to_go(result)
        held = (*(found for found in self._others(result) if found is not gone), result)
        models = {found.model for found in held}
        return Recoveries(held, {model: file for model, file in self.files.items() if model in models})

    def noted(self, result: Result) -> Result:
        """A recovered network, with a note where another one, that isn't saved, has to go for it."""
        gone = self._to_go(result)
        if gone is None or self.file(gone) is not None:
            return result
        note = f"the recovered weights of {in_words(gone.plan.recipe)} were let go of: {MOST} plans' are kept."
        return replace(result, notes=(*result.notes, note))

    def saved(self, result: Result, file: Path) -> Recoveries:
        """The same, one of them being saved now."""
        return replace(self, files={**self.files, result.model: file})

    def recognising(self, found: Result, checkpoint: Checkpoint) -> Recoveries:
        """The same, one of them being saved if a checkpoint of the user's holds it."""
        tensors, others = tensors_and_positions(found)[0], checkpoint.tensors
        same = tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)
        return self.saved(found, checkpoint.path) if same else self

    def without_scores(self) -> Recoveries:
        """The same, of which no task has said anything."""
        held = tuple(replace(found, report=replace(found.report, accuracy=None)) for found in self.held)
        return replace(self, held=held)

    def _others(self, result: Result) -> list[Result]:
        return [found for found in self.held if not _same_cut(found.plan, result.plan)]

    def _to_go(self, result: Result) -> Result | None:
        """The one that has no room beside another: the oldest, those first that the user has saved."""
        others = self._others(result)
        if len(others) < MOST:
            return None
        return next((found for found in others if self.file(found) is not None), others[0])


def _same_cut(one: Plan, other: Plan) -> bool:
    """Whether two plans of one network leave the same of it."""
    if one.graph is other.graph:
        return np.array_equal(one.keep, other.keep)
    same = one.graph.record is other.graph.record and one.recipe.units == other.recipe.units
    return same and np.array_equal(_slots(one.graph, one.keep), _slots(other.graph, other.keep))


def _slots(graph: Graph, keep: np.ndarray) -> np.ndarray:
    return keep[graph.classes.channel]
