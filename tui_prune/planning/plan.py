"""A plan: for each group the channels that stay, what follows for each layer, and how each group came to its width."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from tui_prune.formatting import shrunk
from tui_prune.planning.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

    from tui_prune.cost.cost import Cost
    from tui_prune.graph.graph import Graph


class Pair(NamedTuple):
    """A number before and after the cut."""

    before: int
    after: int

    @property
    def changed(self) -> bool:
        return self.before != self.after


class LockedBy(Enum):
    """What keeps a layer from being cut."""

    USER = auto()
    RESIDUAL = auto()
    """The recipe keeps residual streams."""
    NETWORK = auto()


class Noted(Enum):
    """What a note on a width is about."""

    NOTHING = auto()
    UNALIGNED = auto()
    UNRANKED = auto()
    LIMIT = auto()
    BLOCKS = auto()
    """As many in each block, or as the network's own code deals channels out."""
    ALIGNED = auto()
    SHARED = auto()
    """Its weight is another layer's."""
    GONE = auto()


class Note(NamedTuple):
    """Why a group or a layer has its width, where that needs saying."""

    about: Noted = Noted.NOTHING
    words: str = ""


@dataclass(frozen=True)
class LayerPlan:
    """What a plan means for one layer."""

    name: str
    kind: str
    group: int | None
    producer: bool
    before: int
    """Output channels before the cut."""
    after: int
    in_before: int
    in_after: int
    params: Pair
    macs: Pair
    bytes: Pair
    ratio: float
    """The ratio that applies to it."""
    own_ratio: bool
    """Whether the recipe names it, or a layer tied to it, with a ratio."""
    locked: str | None
    """Why nothing of it can be cut."""
    note: str
    """Why it has this width, where that needs saying."""
    locked_by: LockedBy | None = None
    noted: Noted = Noted.NOTHING
    """What the note is about."""


@dataclass(frozen=True)
class Reached:
    """A target of the recipe and what the plan makes of it."""

    target: str
    """The recipe's field: "target_macs"."""
    limit: float
    """The most that the target allows, in the unit of `before` and `after`."""
    before: float
    """Before the cut: a number of MACs, parameters or bytes; seconds."""
    after: float
    """After it; of the latency what the layers' own measurements predict."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Which channels stay, by a recipe; the model is not touched by it."""

    recipe: Recipe
    graph: Graph
    keep: np.ndarray
    """Bool, one per channel of the graph."""
    layers: tuple[LayerPlan, ...]
    before: Cost
    after: Cost
    notes: tuple[str, ...]
    """What couldn't be done as asked."""
    ratio: float = 0.0
    """The ratio of all groups that have none of their own: the recipe's, or what its targets have led to."""
    align: int = 1
    """The alignment of all groups that have none of their own: the recipe's, or what was measured."""
    reached: tuple[Reached, ...] = ()
    """The recipe's targets, and how near to them the plan comes."""
    decisions: tuple[Decision, ...] = ()
    """For each group of the graph, how it came to its width (`reasons.width_reason` says it in words)."""
    unaligned: np.ndarray | None = None
    """`keep`, if nothing were aligned."""
    seconds: float = 0.0
    """What planning took, without the scores."""

    def __repr__(self) -> str:
        """One line: the layers can be asked for, and the graph holds the whole network."""
        sums = (
            shrunk("parameters", self.before.params, self.after.params),
            shrunk("MACs", self.before.macs, self.after.macs),
        )
        return f"Plan({type(self.graph.model).__name__}: {', '.join(sums)}, {self.recipe})"

    @cached_property
    def _by_name(self) -> dict[str, LayerPlan]:
        found = {layer.name: layer for layer in self.layers}
        return found | {name: found[first] for name, first in self.graph.second_names.items()}

    def layer(self, name: str) -> LayerPlan:
        """The plan of one layer, by any of its names. Raises `KeyError` for a name that no layer has."""
        return self._by_name[name]

    @property
    def predicted_share(self) -> float:
        """Of the latency, what would be left by the layers' own measurements; 1 where the recipe has no such target."""
        found = next((one for one in self.reached if one.target == "target_latency"), None)
        return found.after / found.before if found is not None and found.before else 1.0

    @property
    def cuts(self) -> bool:
        """Whether anything is cut at all."""
        return self.graph.gone is not None or not bool(self.keep.all())


By = Literal["nothing", "lock", "unranked", "ratio", "threshold", "ranking"]


class Limit(Enum):
    """What leaves a family more channels than the ratio asks for."""

    NOTHING = auto()
    LOCKED = auto()
    LEAST = auto()
    """The recipe's `min_channels`."""
    MOST = auto()
    """The recipe's `max_ratio`."""
    STAYING = auto()
    ONE = auto()


@dataclass(frozen=True)
class FamilySteps:
    """The way of a family of cells to its width. All counts but `cells` are channels of one cell."""

    cells: int
    size: int
    free: int
    """The channels that a ratio is a share of."""
    asked: int
    """What the ratio, the threshold or the ranking alone would leave."""
    wanted: int
    """The same within the recipe's limits, and with what must stay."""
    stay: int
    """The same aligned: what stays in the end."""
    limit: str
    """In words, what has raised `wanted` over `asked`; empty where nothing has."""
    step: int
    """How many go at a time, for widths to be aligned."""
    limited: Limit = Limit.NOTHING
    """What `limit` is about."""


@dataclass(frozen=True)
class Decision:
    """What has decided on a group."""

    by: By
    ratio: float = 0.0
    """The ratio that applies."""
    own: str | None = None
    """The recipe's own entry for it, by its key: "layer1.*"."""
    align: int = 1
    families: tuple[FamilySteps, ...] = ()
    """Empty where nothing is cut, and where the group's own code deals channels out."""
    wanted: float | None = None
    """Of a group whose own code deals channels out, the width that was asked for."""
