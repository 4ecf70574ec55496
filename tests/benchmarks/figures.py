"""What was measured of each network, and what follows from it for the targets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.targets import Target, at_least, at_most

FASTER = 1.5
"""Trace, plan, cut and replay are to be so many times faster than the peer's build and step, on each network."""
FASTER_IN_THE_MEAN = 4.5
"""The same, as geometric mean over all."""
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


def targets(all_figures: Sequence[Figures]) -> list[Target]:
    """The summary. A figure that no network gives is never met."""
    ratios = _found(all_figures, "ratio")
    large = [f for f in all_figures if f.gmacs is not None and f.gmacs >= LARGE_GMACS]
    mean = math.exp(sum(math.log(value) for value, _ in ratios) / len(ratios)) if ratios else None
    return [
        at_least("times faster, geometric mean", [] if mean is None else [(mean, "")], FASTER_IN_THE_MEAN),
        at_least("times faster, worst", ratios, FASTER),
        at_least("times faster when planning again, worst", _found(all_figures, "plan_again_ratio"), PLAN_AGAIN_FASTER),
        at_most(
            f"forward passes that a trace takes from {LARGE_GMACS:g} GMACs up, worst",
            _found(large, "trace_forwards"),
            TRACE_FORWARDS,
        ),
        at_most("peak memory over the peer's, worst", _found(all_figures, "memory_ratio"), 1.0),
    ]


def _found(all_figures: Sequence[Figures], name: str) -> list[tuple[float, str]]:
    values = [(getattr(figures, name), figures.model) for figures in all_figures]
    return [(value, model) for value, model in values if value is not None]


def _quotient(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
