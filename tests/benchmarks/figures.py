"""What was measured of each network, and what follows from it for the targets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FASTER = 3.0
"""Trace, plan, cut and replay are to be so many times faster than the peer's build and step, in the geometric mean."""
PLAN_AGAIN_FASTER = 50.0
TRACE_FORWARDS = 1.3
"""Trace, its own forward pass included, in forward passes, on networks of `LARGE_GMACS` and more."""
LARGE_GMACS = 4.0


@dataclass(frozen=True)
class Figures:
    """One network: seconds (best of all repeats), MiB, and what came of it."""

    model: str
    forward: float | None = None
    trace: float | None = None
    plan: float | None = None
    cut: float | None = None
    replay: float | None = None
    verify: float | None = None
    ours: float | None = None
    """Trace, plan, cut and replay."""
    plan_again: float | None = None
    our_peak: float | None = None
    kind: str = ""
    """"exact" or "structural"; empty where ours fails."""
    left: float | None = None
    """Share of the parameters."""
    gmacs: float | None = None
    our_failure: str = ""
    build: float | None = None
    step: float | None = None
    peer: float | None = None
    """Build and step."""
    peer_peak: float | None = None
    peer_equal: bool | None = None
    peer_error: float | None = None
    peer_left: float | None = None
    peer_failure: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is, where both can do the network."""
        return _quotient(self.peer, self.ours)

    @property
    def plan_again_ratio(self) -> float | None:
        return _quotient(self.peer, self.plan_again)

    @property
    def trace_forwards(self) -> float | None:
        return _quotient(self.trace, self.forward)

    @property
    def memory_ratio(self) -> float | None:
        """Our peak over the peer's."""
        return _quotient(self.our_peak, self.peer_peak)


@dataclass(frozen=True)
class Target:
    """One figure over all networks, and whether it is where it should be."""

    name: str
    value: float | None
    wanted: str
    met: bool
    model: str = ""
    """The network that it is from, where it is from one."""


def targets(all_figures: Sequence[Figures]) -> list[Target]:
    """The summary. A figure that no network gives is never met."""
    ratios = _found(all_figures, "ratio")
    again = _found(all_figures, "plan_again_ratio")
    large = [f for f in all_figures if f.gmacs is not None and f.gmacs >= LARGE_GMACS]
    forwards, memory = _found(large, "trace_forwards"), _found(all_figures, "memory_ratio")
    mean = math.exp(sum(math.log(value) for value, _ in ratios) / len(ratios)) if ratios else None
    return [
        Target("times faster, geometric mean", mean, f"≥ {FASTER:g}", mean is not None and mean >= FASTER),
        _worst("times faster, worst", min(ratios, default=None), f"≥ {1:g}", lambda value: value >= 1),
        _worst(
            "times faster when planning again, worst",
            min(again, default=None),
            f"≥ {PLAN_AGAIN_FASTER:g}",
            lambda value: value >= PLAN_AGAIN_FASTER,
        ),
        _worst(
            f"forward passes that a trace takes from {LARGE_GMACS:g} GMACs up, worst",
            max(forwards, default=None),
            f"≤ {TRACE_FORWARDS:g}",
            lambda value: value <= TRACE_FORWARDS,
        ),
        _worst("peak memory over the peer's, worst", max(memory, default=None), "≤ 1", lambda value: value <= 1),
    ]


def _worst(name: str, found: tuple[float, str] | None, wanted: str, met: Any) -> Target:
    if found is None:
        return Target(name, None, wanted, False)
    return Target(name, found[0], wanted, bool(met(found[0])), found[1])


def _found(all_figures: Sequence[Figures], name: str) -> list[tuple[float, str]]:
    values = [(getattr(figures, name), figures.model) for figures in all_figures]
    return [(value, model) for value, model in values if value is not None]


def _quotient(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
