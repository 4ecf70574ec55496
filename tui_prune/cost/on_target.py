"""Measure what calls and networks take on this device, with torch or ONNX Runtime alone.

`tui-prune latency MODEL --export measure.py` writes this file with the work below it; run that where the network is to
run: python measure.py -o table.json. So it imports nothing of tui-prune.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

FORMAT = "tui-prune latency table"
VERSION = 1
ROUNDS = 25
FEWEST_ROUNDS = 3
ENOUGH = 0.02
"""Seconds for each of some calls, after which the fewest rounds are enough."""
ENOUGH_WHOLE = 2.0
"""The same for a whole network."""
SHORTEST = 2e-4
"""Seconds. What takes less is timed several times in a row."""

Run = Callable[[], Any]


def measured(
    work: Mapping[str, Any], threads: int | None = None, device: str = "cpu", tell: Any = None
) -> dict[str, Any]:
    """Return the table of some work. `tell` is called with the share that is done."""
    keep_memory()
    engine = Engines[work["engine"]](threads, device)
    seconds: dict[str, float] = {}
    groups: list[Any] = list(work["calls"])
    for number, calls in enumerate(groups):
        if tell is not None:
            tell(0.8 * number / len(groups))
        fresh = [call for call in calls if call["key"] not in seconds]
        found = fastest([_made(engine.call, call) for call in fresh], engine.wait, ENOUGH)
        seconds.update({call["key"]: took for call, took in zip(fresh, found, strict=True) if took is not None})
    if tell is not None:
        tell(0.8)
    runs = [_made(engine.network, network) for network in work["networks"]]
    whole = fastest(runs, engine.wait, ENOUGH_WHOLE)
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": work["network"],
        "device": engine.words(),
        "seconds": seconds,
        "networks": [
            {"share": network["share"], "print": network["print"], "seconds": took}
            for network, took in zip(work["networks"], whole, strict=True)
            if took is not None
        ],
    }


def keep_memory() -> None:
    """Let this process keep the memory that it frees, where its C library can be told so.

    Otherwise a network that is just small enough may give its memory back and take it anew in each pass, and another
    one that is a little larger may not: differences that say nothing of the network.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**25)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError, TypeError):  # not glibc
        return


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As malloc.h has them."""


def fastest(
    runs: Sequence[Run | None], wait: Run, enough: float, failures: tuple[type[Exception], ...] = (Exception,)
) -> list[float | None]:
    """Return the least seconds that each of some functions takes; None for those that end in one of `failures`.

    All are run in turn in each round, so that what else the machine does meets them alike. That can only add to what a
    function takes, so the least is nearest to it.
    """
    best: list[float | None] = [None] * len(runs)
    for number, run in enumerate(runs):
        if run is not None:
            try:
                run()
                best[number] = timed(run, wait)
            except failures:  # an operator that can't have these shapes alone
                continue
    repeats = [max(1, round(SHORTEST / seconds)) if seconds else 1 for seconds in best]
    started = time.perf_counter()
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and time.perf_counter() - started > enough * len(runs):
            break
        for number, run in enumerate(runs):
            known = best[number]
            if run is not None and known is not None:
                best[number] = min(known, timed(run, wait, repeats[number]))
    return best


def timed(run: Run, wait: Run, repeats: int = 1) -> float:
    """Return the seconds that a run takes, of several in a row. `wait` ends when the device has done all of it."""
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - started) / repeats


def _made(make: Callable[[Any], Run | None], of: Any) -> Run | None:
    try:
        return make(of)
    except Exception:  # such as an operator that this version doesn't have
        return None


class Torch:
    """PyTorch, run operator by operator."""

    def __init__(self, threads: int | None, device: str) -> None:
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.wait: Run = {"cuda": torch.cuda.synchronize}.get(self.device.type, lambda: None)
        if threads is not None:
            torch.set_num_threads(threads)

    def words(self) -> str:
        """Return what it was measured on."""
        torch = self.torch
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"{_processor()}, {torch.get_num_threads()} threads"
        return f"{self.device.type} {name}, torch {torch.__version__}"

    def call(self, call: Mapping[str, Any]) -> Run | None:
        """Return what makes one call."""
        return self._function(call["torch"])

    def network(self, network: Mapping[str, Any]) -> Run | None:
        """Return what runs a whole network."""
        return self._function(network["torch"])

    def _function(self, program: Mapping[str, Any] | None) -> Run | None:
        """A program is the source of a function, and shapes, number formats and memory formats of its tensors."""
        if program is None:
            return None
        torch = self.torch
        names: dict[str, Any] = {"torch": torch, "device": self.device, "inf": float("inf"), "nan": float("nan")}
        exec(compile(program["source"], "program", "exec"), names)
        tensors = [self._tensor(*one) for one in program["tensors"]]
        function = names["program"]

        def run() -> None:
            with torch.no_grad():
                function(*tensors)

        return run

    def _tensor(self, shape: Sequence[int], dtype: str, form: str) -> Any:
        torch = self.torch
        kind = getattr(torch, dtype)
        if not kind.is_floating_point and not kind.is_complex:
            return torch.zeros(shape, dtype=kind, device=self.device)
        made = torch.rand(shape, device=self.device).add_(0.5).mul_(0.01).to(kind)
        if form == "channels_last":
            return made.contiguous(memory_format=torch.channels_last)
        return made.transpose(-1, -2).contiguous().transpose(-1, -2) if form == "transposed" else made


class OnnxRuntime:
    """ONNX Runtime on the CPU, or by another of its providers."""

    def __init__(self, threads: int | None, device: str) -> None:
        import onnxruntime

        self.module = onnxruntime
        self.wait: Run = lambda: None
        self.providers = [device] if device.endswith("Provider") else ["CPUExecutionProvider"]
        self.options = onnxruntime.SessionOptions()
        self.options.log_severity_level = 3
        self.threads = threads or _cores()
        self.options.intra_op_num_threads = self.threads

    def words(self) -> str:
        """Return what it was measured on."""
        on = f"{_processor()}, {self.threads} threads" if self.providers[0].startswith("CPU") else self.providers[0]
        return f"{on}, onnxruntime {self.module.__version__}"

    def call(self, call: Mapping[str, Any]) -> Run | None:
        """Return what makes one call."""
        return self.network(call)

    def network(self, network: Mapping[str, Any]) -> Run | None:
        """Return what runs a whole network: a model without the values of its weights, which are drawn here."""
        import numpy

        model = network["onnx"]
        if model is None:
            return None
        drawn = numpy.random.default_rng(0)
        content = base64.b64decode(model["model"])
        for name, shape in model["weights"]:
            values = (drawn.random(shape, numpy.float32) + numpy.float32(0.5)) * numpy.float32(0.01)
            content += _graph_with(name, shape, values.tobytes())
        session = self.module.InferenceSession(content, self.options, providers=self.providers)
        given = {}
        for value in session.get_inputs():
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            integer = "int" in value.type
            given[value.name] = numpy.zeros(shape, numpy.int64) if integer else drawn.random(shape, numpy.float32)
        return lambda: session.run(None, given)


Engines: dict[str, Any] = {"torch": Torch, "onnxruntime": OnnxRuntime}


def _graph_with(name: str, shape: Sequence[int], values: bytes) -> bytes:
    """A serialised ONNX model that has one weight and nothing else: appended to another, it is merged with that."""
    sizes = b"".join(_varint(1 << 3) + _varint(size) for size in shape)
    tensor = sizes + _varint(2 << 3) + _varint(1) + _field(8, name.encode()) + _field(9, values)
    return _field(7, _field(5, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(packed: str) -> None:
    """Measure, and write the table."""
    work = json.loads(zlib.decompress(base64.b64decode(packed)))
    parser = argparse.ArgumentParser(description=f"Measure {work['network']} on this device.")
    parser.add_argument("-o", "--output", default="table.json", metavar="FILE", help="the table to write")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the CPU; all without it")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; of ONNX Runtime a provider's name")
    chosen = parser.parse_args()

    def tell(done: float) -> None:
        print(f"\rmeasured {100 * done:.0f} %", end="", file=sys.stderr, flush=True)

    table = measured(work, chosen.threads, chosen.device, tell)
    with open(chosen.output, "w", encoding="utf-8") as file:
        json.dump(table, file, indent=1)
    print(f"\rWritten to {chosen.output}: {len(table['seconds'])} calls on {table['device']}.", file=sys.stderr)
