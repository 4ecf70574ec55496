"""What the tracer knows of each tensor that it has seen, found by the tensor's identity while it lives."""

import weakref
from typing import NamedTuple

from torch import Tensor

from tui_prune.graph.derived import Derived
from tui_prune.graph.labels import Labels
from tui_prune.graph.model_code import Line

NOTHING: Labels = {}
"""The labels of a tensor that carries none; never written to."""


class Positions(NamedTuple):
    """The channels among which a tensor's values are positions, and the operator that has found them."""

    ids: Tensor
    operator: str


class Contracted(NamedTuple):
    """The slots of the first factor of the products that a tensor sums up."""

    slots: Tensor
    squared: bool
    """Whether the second factor carries the same slots: what multiplies these multiplies the products twice."""


class Carried:
    """Of one tensor: its labels, its name where it is a parameter or buffer, how it is computed where that takes only
    such, whether it is (of) the model's input, whether its values were never computed, the channels whose positions its
    values are, the slots of the first factor of the products that it sums up, whether it is computed from what carries
    labels, and the dimensions along which its values are the same, with the line that has made it so and the labels of
    its own that it has got there."""

    __slots__ = (
        *("_tensor", "alike", "computed", "contracted", "derived", "free", "hollow", "is_input", "labels", "made_at"),
        *("name", "positions"),
    )

    def __init__(self, tensor: object) -> None:
        self._tensor = tensor
        self.labels: Labels = NOTHING
        self.name: str | None = None
        self.derived: Derived | None = None
        self.is_input = False
        self.hollow = False
        self.positions: Positions | None = None
        self.alike: frozenset[int] = frozenset()
        self.made_at: Line | None = None
        self.free: dict[int, Tensor] = {}
        self.contracted: Contracted | None = None
        self.computed = False


class CarriedByTensor:
    """Entries by identity of tensor: of parameters and buffers they keep it alive, of others they go with it."""

    def __init__(self) -> None:
        self._found: dict[int, Carried] = {}
        self.get = self._found.get
        """The entry under `id(tensor)`, or None."""

    def hold(self, tensor: Tensor, name: str) -> Carried:
        """A new entry for a parameter or buffer."""
        entry = self._found[id(tensor)] = Carried(tensor)
        entry.name = name
        entry.derived = Derived(frozenset([name]))
        return entry

    def note(self, tensor: Tensor) -> Carried:
        """The entry of a tensor, made where there is none."""
        key = id(tensor)
        entry = self._found.get(key)
        if entry is None:
            found = self._found
            entry = found[key] = Carried(weakref.ref(tensor, lambda _: found.pop(key, None)))
        return entry

    def forget(self, tensor: Tensor) -> None:
        """The tensor carries nothing."""
        entry = self._found.get(id(tensor))
        if entry is not None:
            entry.labels = NOTHING
