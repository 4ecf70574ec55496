"""What seconds are measured with."""

import time

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""With one thread both say the same on an idle machine; on a busy one only "cpu" says what a piece of work costs."""

_chosen = CLOCKS["wall"]


def choose(name: str) -> None:
    """Measure with this clock from now on."""
    global _chosen
    _chosen = CLOCKS[name]


def now() -> float:
    """Seconds since some time in the past."""
    return _chosen()
