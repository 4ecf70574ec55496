"""What a change speaks of: a layer, all layers in some modules, or the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_prune.planning.recipe import matches

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan


@dataclass(frozen=True)
class Part:
    """A layer, or all layers that some patterns mean."""

    name: str
    patterns: tuple[str, ...]
    """The names under which a recipe speaks of it."""
    layers: tuple[str, ...]
    is_layer: bool
    """Whether it is a single layer, spoken of by its name."""


@dataclass(frozen=True)
class Selection:
    """Some parts of the network; without any it is all of it."""

    parts: tuple[Part, ...] = ()
    marked: int = 0
    """How many layers are marked; 0: it is what the cursor is on."""

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The names under which a recipe speaks of it."""
        return tuple(pattern for part in self.parts for pattern in part.patterns)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer for part in self.parts for layer in part.layers)

    @property
    def layer(self) -> str | None:
        """The layer, where it is a single one."""
        return self.parts[0].name if len(self.parts) == 1 and self.parts[0].is_layer else None

    @property
    def name(self) -> str:
        """What a question calls it."""
        if self.marked:
            return f"{self.marked} marked layers" if self.marked > 1 else "1 marked layer"
        return self.layer or " and ".join(f"all in {part.name}" for part in self.parts)


NETWORK = Selection()


def a_layer(name: str) -> Part:
    """A single layer."""
    return Part(name, (name,), (name,), True)


def named(plan: Plan, name: str | None) -> Selection:
    """What a recipe means by a name: a layer, or all that a module or a glob means; None: the network.

    Raises `UsageError` for a name that means nothing.
    """
    from tui_prune.planning.planner import check_layer  # with torch, which the keys of the app are known without

    if name is None:
        return NETWORK
    meant = tuple(layer.name for layer in plan.layers if layer.producer and matches(name, layer.name))
    if meant and not any(layer.name == name for layer in plan.layers):
        return Selection((Part(name, (name,), meant, False),))
    check_layer(plan, name)
    return Selection((a_layer(name),))
