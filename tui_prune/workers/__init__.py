"""Where long work runs: in this process, in a pool of processes, or on a cluster. Knows no network.

Work is a `Setup`, which is made once in each worker and gives a function, and points, which that function turns into
values one by one. All backends give the same outcomes; only their order differs.
"""

from tui_prune.workers.backends import Backend, Here, Outcome, Setup, WorkerState, backend_for

__all__ = ["Backend", "Here", "Outcome", "Setup", "WorkerState", "backend_for"]
