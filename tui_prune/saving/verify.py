"""Checking a pruned checkpoint as a stranger would: with nothing but the file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tui_prune.archives.pruned_file import Checkpoint, read_checkpoint
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.loading.load_pruned import load_pruned
from tui_prune.progress import Progress, silent
from tui_prune.saving.probe import MASKED_ORIGINAL, relative_error, run_probe, tolerance


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """What came out of verifying a file."""

    path: str
    ok: bool
    """All checks that could be made are fine."""
    checks: tuple[Check, ...]
    """In the order in which they were made; after one that fails there may be none."""
    max_error: float | None = None
    """Relative, against the outputs that were saved. None: it didn't come to that."""
    params: int | None = None
    macs: int | None = None
    """As the report in the file has them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "output": self.path,
            "ok": self.ok,
            "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in self.checks],
            "max_error": self.max_error if self.max_error is None or math.isfinite(self.max_error) else None,
            "params": self.params,
            "macs": self.macs,
        }


def verify_checkpoint(path: str | Path, model: nn.Module | None = None, *, progress: Progress = silent) -> VerifyReport:
    """Read the file, build and load the network, count its parameters, run it and compare with the saved outputs.

    `model` is a fresh network of the user's, where the checkpoint is of one; it is cut in place.

    Raises `UsageError` when there is no such file, or when a network of the user's is needed and not passed. A file
    that is broken or wrong is no error here: the report says so.
    """
    checks: list[Check] = []
    try:
        progress("read", 0.0)
        checkpoint = read_checkpoint(path)
        checks.append(Check("checksum", True, "The file is whole and as it was saved."))
        progress("build", 0.3)
        network = load_pruned(checkpoint, model)
        checks.append(Check("network", True, f"{checkpoint.origin.title} was built and the weights fit."))
    except (UsageError, Cancelled):
        raise
    except TuiPruneError as error:
        failed = Check("network" if checks else "checksum", False, str(error))
        return VerifyReport(str(path), ok=False, checks=(*checks, failed))
    progress("run", 0.6)
    params = sum(parameter.numel() for parameter in network.parameters())
    checks.append(_count_check(params, checkpoint))
    check, max_error = _output_check(network, checkpoint)
    checks.append(check)
    progress("run", 1.0)
    return VerifyReport(
        path=str(path),
        ok=all(check.ok for check in checks),
        checks=tuple(checks),
        max_error=max_error,
        params=params,
        macs=_reported(checkpoint, "macs"),
    )


def _count_check(params: int, checkpoint: Checkpoint) -> Check:
    reported = _reported(checkpoint, "params")
    if reported is None:
        return Check("parameters", True, f"It has {params} parameters; the report in the file doesn't say how many.")
    if params == reported:
        return Check("parameters", True, f"It has {params} parameters, as its report says.")
    return Check("parameters", False, f"It has {params} parameters, but its report says {reported}.")


def _output_check(network: nn.Module, checkpoint: Checkpoint) -> tuple[Check, float | None]:
    name = "outputs"
    probe = checkpoint.probe
    if probe is None:
        return Check(name, True, "The file has no example to compare with, because its input is too large."), None
    try:
        outputs = run_probe(network, checkpoint, probe)
    except Exception as error:  # a forward pass may raise anything
        return Check(name, False, f"The network doesn't run: {type(error).__name__}: {error}."), None
    if any(bool(output.isnan().any()) for output in outputs):
        return Check(name, False, "The network puts out NaN, so it is of no use. Save it again."), None
    difference, limit = relative_error(probe.outputs, outputs), tolerance(probe)
    whose = f"the {probe.reference}'s" if probe.reference == MASKED_ORIGINAL else "its own from when it was saved"
    detail = f"They differ from {whose} by {difference:.1e} of the largest; up to {limit:.0e} is rounding."
    return Check(name, difference <= limit, detail), difference


def _reported(checkpoint: Checkpoint, what: str) -> int | None:
    pair = checkpoint.report.get(what)
    after = pair.get("after") if isinstance(pair, dict) else None
    return after if isinstance(after, int) else None
