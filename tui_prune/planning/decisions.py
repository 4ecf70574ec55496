"""How a group came to its width, step by step: what a plan keeps of it to answer "why is this as wide as it is"."""

from dataclasses import dataclass
from typing import Literal

By = Literal["nothing", "lock", "unranked", "ratio", "threshold", "ranking"]


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
