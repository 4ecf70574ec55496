"""Figures beside what is wanted of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Found = tuple[float, str]
"""A figure, and the network (or what else) that it is from."""


@dataclass(frozen=True)
class Target:
    """One figure over all networks, and whether it is where it should be."""

    name: str
    value: float | None
    wanted: str
    met: bool
    model: str = ""
    """The network that it is from, where it is from one."""


def at_least(name: str, found: Sequence[Found], wanted: float) -> Target:
    """The worst of some figures has to reach this. Not met where there are none."""
    value, model = min(found, default=(None, ""))
    return Target(name, value, f"≥ {wanted:g}", value is not None and value >= wanted, model)


def at_most(name: str, found: Sequence[Found], wanted: float) -> Target:
    """The worst of some figures may not exceed this. Not met where there are none."""
    value, model = max(found, default=(None, ""))
    return Target(name, value, f"≤ {wanted:g}", value is not None and value <= wanted, model)


def line(target: Target) -> str:
    """One target as a line of text."""
    of = f" ({target.model})" if target.model else ""
    value = "nothing measured" if target.value is None else f"{target.value:.2f}"
    return f"{target.name}: {value}{of}, wanted {target.wanted}: {'met' if target.met else 'not met'}"


def as_rows(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """For a benchmark's JSON, under the key "targets"."""
    return [asdict(target) for target in targets]
