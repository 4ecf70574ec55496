"""Measurements that were made before on a machine of this kind, remembered in the user's cache folder.

A file that can't be read is ignored, and so is a folder that can't be written.
"""

import math
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tui_prune.config import folders
from tui_prune.files import read_json, update_json


def environment(device: torch.device) -> str:
    """What a measurement depends on beside the call itself: device, threads, version of torch."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return f"{device.type} {name}, torch {torch.__version__}"


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


class Remembered:
    """Seconds by call, of one environment; those of all lie in one file."""

    def __init__(self, environment: str) -> None:
        self._file = folders()["cache"] / "latency.json"
        self._environment = environment
        self._seconds: dict[str, float | None] = dict(_parsed(read_json(self._file)).get(environment, {}))

    def __contains__(self, call: str) -> bool:
        return call in self._seconds

    def __getitem__(self, call: str) -> float | None:
        return self._seconds[call]

    def add(self, seconds: dict[str, float | None]) -> None:
        """Remember measurements, beside what others have written meanwhile. What couldn't be measured (None) is
        remembered only here, not in the file."""
        self._seconds.update(seconds)
        known = {call: value for call, value in self._seconds.items() if value is not None}

        def with_known(content: Any) -> dict[str, dict[str, float]]:
            everything = _parsed(content)
            return {**everything, self._environment: everything.get(self._environment, {}) | known}

        update_json(self._file, with_known, indent=1)


def _parsed(content: Any) -> dict[str, dict[str, float]]:
    try:
        return {
            name: {call: float(value) for call, value in own.items() if 0 < float(value) < math.inf}
            for name, own in content.items()
        }
    except (ValueError, AttributeError, TypeError, OverflowError):
        return {}
