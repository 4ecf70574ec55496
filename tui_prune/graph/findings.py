"""What only trials show of a model: added to the graph of a trace when it is built anew."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tui_prune.graph.record import Lock


@dataclass(frozen=True)
class Flow:
    """One width at which the model's own code deals a group's channels out, and how many each cell then gets.

    For groups whose cells can't all keep equally many (halves of 58 channels that are shuffled and halved again): what
    the code does at another width is found by running it (`surgery.flow`). Where the cells only differ in size, it
    follows from the blocks (`even_counts`).
    """

    width: int
    """Channels that each producer keeps."""
    counts: tuple[int, ...]
    """Channels that stay in each cell of the group's only family."""
    widths: tuple[int, ...] = ()
    """Where the counts follow from the group's blocks: the outputs that each producer keeps. Empty where they are what
    the model's code was seen to do."""

    @property
    def is_seen(self) -> bool:
        return not self.widths


@dataclass(frozen=True)
class Repair:
    """A size that a module keeps as an attribute, and the axis that it has to shrink with."""

    module: str
    attribute: str
    tensor: str
    dim: int
    path: tuple[str | int, ...] = ()
    """Where the attribute holds several numbers: the way to the size in it."""

    @property
    def place(self) -> tuple[str, str, tuple[str | int, ...]]:
        return self.module, self.attribute, self.path


@dataclass(frozen=True, eq=False)
class Findings:
    """All that trials have shown so far."""

    locks: tuple[tuple[np.ndarray, Lock], ...] = ()
    """Slots that can't be cut, and why."""
    flows: tuple[tuple[int, tuple[Flow, ...]], ...] = ()
    """The widths that uneven groups can have, by the first slot of their first producer."""
    links: tuple[np.ndarray, ...] = ()
    """Slots, one of each group, of groups that must keep the same share: attention works at its input's width."""
    repairs: tuple[Repair, ...] = ()
    fixed_sizes: frozenset[int] = frozenset()
    """The free sizes of the trace, by number, that the model's code has written down."""

    def with_fixed_sizes(self, locks: Mapping[int, tuple[np.ndarray, Lock]]) -> "Findings":
        """`locks`: by free size, its slots and what to say of them."""
        return replace(self, fixed_sizes=self.fixed_sizes | locks.keys(), locks=(*self.locks, *locks.values()))

    def with_lock(self, slots: np.ndarray, lock: Lock) -> "Findings":
        return replace(self, locks=(*self.locks, (slots, lock)))

    def with_link(self, *slots: np.ndarray) -> "Findings":
        return replace(self, links=(*self.links, *slots))

    def without_links(self, *slots: np.ndarray) -> "Findings":
        return replace(self, links=tuple(link for link in self.links if all(link is not own for own in slots)))

    def with_repairs(self, repairs: tuple[Repair, ...]) -> "Findings":
        """Of two repairs of one place the later counts."""
        return replace(self, repairs=tuple({repair.place: repair for repair in (*self.repairs, *repairs)}.values()))

    def without_repairs(self, repairs: Collection[Repair]) -> "Findings":
        return replace(self, repairs=tuple(repair for repair in self.repairs if repair not in repairs))
