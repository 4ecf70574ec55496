"""Pictures in folders: found, decoded once, and kept as bytes in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tui_prune.config import folders
from tui_prune.errors import Remedy, TuiPruneError, UsageError
from tui_prune.files import read_json, write_json
from tui_prune.progress import Progress, silent
from tui_prune.tasks.decoding import FEW, decode_in_processes, decode_into
from tui_prune.tasks.preprocessing import Preprocessing

_VERSION = 1
MOST_KEPT = 8_000_000_000
"""Bytes of decoded pictures that the cache folder holds; the oldest go first."""
NAMED = 3
"""Unreadable pictures that are named; the others are counted."""


@cache
def _suffixes() -> frozenset[str]:
    """Of files that Pillow can open."""
    from PIL import Image

    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def find_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted by their paths. Raises `UsageError` where the folder can't be looked at."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, inner, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            inner.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        here = Path(place)
        found += [here / name for name in files if name[0] != "." and Path(name).suffix.lower() in _suffixes()]
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} can't be looked into: {error.strerror}.")


class Pictures:
    """Some pictures with their labels, as inputs of a network."""

    def __init__(
        self, files: Sequence[Path], labels: Sequence[int] | None, preprocessing: Preprocessing, workers: int
    ) -> None:
        """Nothing is read before it is asked for."""
        self.files = tuple(files)
        self._all_labels = None if labels is None else np.asarray(labels, np.int64)
        self._preprocessing, self._workers = preprocessing, workers
        self._lock = threading.Lock()
        self._pixels: np.ndarray | None = None
        self._readable = np.zeros(0, np.int64)
        self.problems: dict[Path, str] = {}
        """Why pictures couldn't be read."""

    def ready(self, progress: Progress = silent) -> None:
        """Decode them, unless that was done before. Raises `TuiPruneError` where none can be read."""
        with self._lock:
            if self._pixels is None:
                pixels, problems = _decoded(self.files, self._preprocessing, self._workers, progress)
                self.problems = {self.files[place]: why for place, why in sorted(problems.items())}
                self._readable = np.array([n for n in range(len(self.files)) if n not in problems], np.int64)
                if not len(self._readable):
                    first, why = next(iter(self.problems.items()))
                    raise TuiPruneError(f"None of the {len(self.files)} pictures can be read; {first}: {why}.")
                self._pixels = pixels

    def __len__(self) -> int:
        """Those that can be read."""
        self.ready()
        return len(self._readable)

    @property
    def labels(self) -> Tensor | None:
        """Of those that can be read."""
        self.ready()
        return None if self._all_labels is None else torch.from_numpy(self._all_labels[self._readable])

    def inputs(self, numbers: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """Some of them, by their numbers among the readable ones, normalised, on a device."""
        self.ready()
        assert self._pixels is not None
        pixels = torch.from_numpy(self._pixels[self._readable[np.asarray(numbers)]])
        if device.type == "cuda":
            pixels = pixels.pin_memory().to(device, non_blocking=True)
        return self._preprocessing.normalised(pixels)

    def remarks(self) -> Iterator[str]:
        """What there is to say of those that couldn't be read."""
        if self.problems:
            named = "; ".join(f"{path}: {why}" for path, why in list(self.problems.items())[:NAMED])
            more = len(self.problems) - NAMED
            others = f"; and {more} more" if more > 0 else ""
            count = f"{len(self.problems)} of {len(self.files)} pictures"
            yield f"{count} can't be read and were left out ({named}{others})."


def stamp(files: Sequence[Path]) -> str:
    """What changes when one of some files does: names, sizes and times of change."""
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _decoded(
    files: Sequence[Path], preprocessing: Preprocessing, workers: int, progress: Progress
) -> tuple[np.ndarray, dict[int, str]]:
    """Bytes of pictures (N, channels, height, width) and, by number, why some couldn't be read."""
    geometry = preprocessing.geometry
    try:
        key = f"{_VERSION} {stamp(files)} {json.dumps(asdict(geometry))}"
    except OSError as error:
        raise TuiPruneError(
            f"{error.filename} can't be read: {error.strerror}.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        ) from error
    folder = folders()["cache"] / "pictures"
    kept = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    shape = (len(files), *geometry.shape)
    known = read_json(kept.with_suffix(".json"))
    if isinstance(known, dict):
        with suppress(OSError, ValueError):
            pixels = np.load(kept, mmap_mode="r")
            if pixels.shape == shape and pixels.dtype == np.uint8:
                os.utime(kept)
                return pixels, {int(place): str(why) for place, why in known.items()}
    part = _blank(folder, shape)
    problems: dict[int, str] = {}
    pixels = np.zeros(shape, np.uint8) if part is None else np.load(part, mmap_mode="r+")
    try:
        names = [os.fspath(file) for file in files]
        count = min(workers, -(-len(files) // FEW))
        if count < 2 or part is None:
            rows = decode_into(pixels, names, range(len(names)), geometry)
        else:
            rows = decode_in_processes(part, names, geometry, count)
        for done, (place, problem) in enumerate(rows, 1):
            progress("decode pictures", done / len(files))
            if problem:
                problems[place] = problem
        if part is not None:
            os.replace(part, kept)
            write_json(kept.with_suffix(".json"), problems)
            _tidy(folder, kept)
        return pixels, problems
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _blank(folder: Path, shape: tuple[int, ...]) -> Path | None:
    """A file of numpy's for that many bytes; None where none can be written."""
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(number)
        part = Path(name)
        np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):  # a full disk shows now, and not as a signal while pixels are written
            with open(part, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        return part
    except OSError:
        if part is not None:
            part.unlink(missing_ok=True)
        return None


def _tidy(folder: Path, newest: Path) -> None:
    """Let the oldest pictures go where there are too many."""
    with suppress(OSError):
        files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > MOST_KEPT and file != newest:
                file.unlink()
                file.with_suffix(".json").unlink(missing_ok=True)
