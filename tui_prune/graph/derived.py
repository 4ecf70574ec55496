"""What a network computes from its parameters and buffers alone, as programs that run again on other values.

A weight that is normalised (weight norm, spectral norm, or code of the same effect) is computed so in every forward
pass. Its labels say which channels it belongs to; its program says what it is worth once some of them are cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from tui_prune.graph.labels import Dims
from tui_prune.graph.nested import map_tensors
from tui_prune.graph.registry import MASKED, Call

Values = Mapping[str, Tensor]
"""Parameters and buffers by name."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of an operator; in place of tensors stand the `Derived` that they are."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Derived:
    """A tensor that is a parameter or buffer, or is computed from such alone."""

    sources: frozenset[str]
    """The parameters and buffers that it is computed from."""
    step: Step | None = None
    """None for a parameter or buffer itself."""
    place: int | None = None
    """Which of several outputs of the step it is."""
    measured: bool = False
    """Whether a norm, a sum or a product is taken on the way: then a cut changes what is left of it."""

    def compute(self, values: Values, known: dict[Step, Any] | None = None) -> Tensor:
        """The tensor, from these parameters and buffers. `known` holds what each step gave."""
        if self.step is None:
            (name,) = self.sources
            return values[name].detach()
        known = {} if known is None else known
        if self.step not in known:
            args, kwargs = (_resolved(part, values, known) for part in (self.step.args, self.step.kwargs))
            known[self.step] = self.step.func(*args, **kwargs)
        out = known[self.step]
        return out if self.place is None else out[self.place]


class DerivedUse(NamedTuple):
    """A measured weight where it meets what the network computes from its input."""

    weight: Derived
    labels: dict[Dims, Tensor]
    """The slots along its dimensions."""


@dataclass(eq=False)
class DerivedUses:
    """Where computed weights are used, in order."""

    measured: list[DerivedUse] = field(default_factory=list)
    direct: set[str] = field(default_factory=set)
    """Parameters and buffers that are also used in other ways, or are written over."""


def derive(call: Call, known: Sequence[tuple[Tensor, Derived]]) -> list[tuple[Tensor, Derived]]:
    """The outputs of a call all of whose tensors are `known`, and how they are computed."""
    by_tensor = {id(tensor): derived for tensor, derived in known}
    args, kwargs = map_tensors((call.args, call.kwargs), lambda tensor: by_tensor[id(tensor)])
    step = Step(call.func, args, kwargs)
    sources = frozenset().union(*(derived.sources for _, derived in known))
    measured = call.func._schema.name in MASKED or any(derived.measured for _, derived in known)
    if isinstance(call.out, Tensor):
        return [(call.out, Derived(sources, step, None, measured))]
    outputs = call.out if isinstance(call.out, (tuple, list)) else ()
    return [
        (tensor, Derived(sources, step, place, measured))
        for place, tensor in enumerate(outputs)
        if isinstance(tensor, Tensor)
    ]


def _resolved(value: Any, values: Values, known: dict[Step, Any]) -> Any:
    """The nested value with tensors in place of what they are derived from."""
    if isinstance(value, Derived):
        return value.compute(values, known)
    if isinstance(value, (list, tuple)):
        return type(value)(_resolved(item, values, known) for item in value)
    if isinstance(value, dict):
        return {key: _resolved(item, values, known) for key, item in value.items()}
    return value
