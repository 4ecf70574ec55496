"""Two plans of one network beside each other, width by width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan

PRESENT = "now"
"""What the present plan is called beside another one."""


@dataclass(frozen=True)
class Beside:
    """A plan that the present one is compared with."""

    name: str
    plan: Plan


def differing(one: Plan, other: Plan) -> tuple[str, ...]:
    """The layers that put out channels of their own and keep more of them by one plan than by the other."""
    widths = {layer.name: layer.after for layer in other.layers}
    return tuple(layer.name for layer in one.layers if layer.producer and layer.after != widths[layer.name])


def signed(number: int, words: Callable[[float], str] = str) -> str:
    """A difference with its sign: "+16", "−1.02k"."""
    return ("−" if number < 0 else "+") + words(abs(number))
