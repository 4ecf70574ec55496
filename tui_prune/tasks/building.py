"""A task made of examples: evaluating on some, calibrating and training on others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.graph.nested import tensors_in
from tui_prune.graph.trace import untouched
from tui_prune.loading.opened import OpenedModel
from tui_prune.progress import Progress, silent
from tui_prune.tasks.batches import batch_of, forward
from tui_prune.tasks.evidence import Half
from tui_prune.tasks.feeding import device_of
from tui_prune.tasks.judging import Measure, Tally, tally
from tui_prune.tasks.spec import Option, TaskSpec, whole_number
from tui_prune.tasks.task import Task

MOST_WORKERS = 8
REMEMBERED = 512_000_000
"""Bytes of the uncut network's outputs that are remembered; more are computed anew each time."""


def _workers() -> int:
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 2) - 1))


OPTIONS = {
    "batch": Option(whole_number, "a number of examples", "run through the network together (64)"),
    "limit": Option(whole_number, "a number of examples; 0 means all", "at most so many to evaluate on (2000)"),
    "train": Option(whole_number, "a number of examples; 0 means all", "at most so many to train on (2000)"),
    "calibration": Option(whole_number, "a number of examples", "so many of these to calibrate by (512)"),
}
PICTURE_OPTIONS = {
    "workers": Option(whole_number, "a number of processes; 0 means none", "that decode pictures"),
}


class Examples(Protocol):
    """Inputs of a network, with labels where there are any."""

    @property
    def labels(self) -> Tensor | None:
        """One for each."""

    def __len__(self) -> int: ...

    def ready(self, progress: Progress = silent) -> None:
        """Do what takes long, once."""

    def inputs(self, numbers: Sequence[int] | np.ndarray, device: torch.device) -> Any:
        """Some of them as a batch on a device: a tensor, or a dict of keyword arguments."""

    def remarks(self) -> Iterator[str]:
        """What there is to say of what was read."""


@dataclass(frozen=True)
class Counts:
    """How many examples are taken."""

    batch: int
    limit: int
    train: int
    calibration: int
    workers: int

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Counts:
        """By the user's choices."""
        workers = choices.get("workers")
        return cls(
            max(1, choices.get("batch", 64)),
            choices.get("limit", 2000),
            choices.get("train", 2000),
            max(1, choices.get("calibration", 512)),
            _workers() if workers is None else workers,
        )


def spread(groups: Sequence[Sequence[int]], most: int) -> list[int]:
    """At most so many (0: all) of the numbers in some groups, as evenly from each as can be, always the same ones."""
    generator = np.random.default_rng(0)
    orders = [[group[i] for i in generator.permutation(len(group))] for group in groups]
    longest = max(map(len, orders), default=0)
    chosen = [order[turn] for turn in range(longest) for order in orders if turn < len(order)]
    return sorted(chosen[:most] if most else chosen)


def halved(groups: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Each group in two halves by chance, always the same: to evaluate on, and to train on."""
    generator = np.random.default_rng(1)
    tested, fitted = [], []
    for group in groups:
        order = generator.permutation(len(group))
        middle = -(-len(group) // 2) if len(group) > 1 else 1
        tested.append([group[i] for i in order[:middle]])
        fitted.append([group[i] for i in order[middle:]])
    return tested, fitted


@dataclass(frozen=True, eq=False)
class Parts:
    """The examples of a task, by what they are for."""

    tested: Examples
    fitted: Examples
    """For training; the first of them in a shuffled order calibrate."""


def built(
    spec: TaskSpec,
    opened: OpenedModel,
    parts: Parts,
    counts: Counts,
    item: Callable[[Any], Any],
    measure: Measure,
    *,
    stamp: Callable[[], Mapping[str, Any]],
    notes: Sequence[str] = (),
) -> Task:
    """The task for one network. `item` makes arguments of a batch of examples; with labels the outputs are compared
    with these, else with what the uncut network puts out."""
    work = _Work(opened, parts, counts, item, measure)
    return Task(
        evaluate=work.evaluate,
        evaluate_half=work.evaluate,
        calibration=work.calibration,
        training=work.training,
        prepare=parts.tested.ready,
        spec=str(spec),
        stamp=stamp,
        notes=tuple(notes),
        remarks=work.remarks,
    )


class _Work:
    def __init__(
        self, opened: OpenedModel, parts: Parts, counts: Counts, item: Callable[[Any], Any], measure: Measure
    ) -> None:
        self._opened, self._parts, self._counts, self._item, self._measure = opened, parts, counts, item, measure
        self._uncut: dict[bytes, Any] = {}
        """What the uncut network makes of batches of the tested examples, by their numbers."""
        self._bytes = 0
        self._epochs = 0

    def remarks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._parts.tested.remarks(), *self._parts.fitted.remarks())))

    @torch.no_grad()
    def evaluate(self, model: nn.Module, half: Half | None = None) -> float:
        examples, compared = self._parts.tested, tally(self._measure)
        count, labels = len(examples), examples.labels
        numbers = np.arange(count) if half is None else half.of(count)
        with ExitStack() as opened:
            uncut: list[nn.Module] = []
            for batch in self._batches(numbers):
                found = self._run(model, batch)
                if labels is not None:
                    wanted: Any = labels[torch.from_numpy(batch)]
                elif batch.tobytes() in self._uncut:
                    wanted = self._uncut[batch.tobytes()]
                else:
                    if not uncut:
                        uncut.append(opened.enter_context(untouched(self._opened.module)))
                    wanted = self._remembered(batch, compared, self._run(uncut[0], batch))
                compared.add(found, wanted)
        return compared.score()

    def _remembered(self, batch: np.ndarray, compared: Tally, found: Any) -> Any:
        kept = compared.keep(found)
        size = sum(tensor.nbytes for tensor in tensors_in(kept))
        if self._bytes + size <= REMEMBERED:
            self._bytes += size
            self._uncut[batch.tobytes()] = kept
        return kept

    def _run(self, model: nn.Module, numbers: np.ndarray) -> Any:
        inputs = self._parts.tested.inputs(numbers, device_of(model))
        return forward(model, batch_of((self._item(inputs), None), model), "the task's examples")

    def _batches(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        size = self._counts.batch
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))

    def calibration(self) -> Iterator[Any]:
        order = np.random.default_rng(0).permutation(len(self._parts.fitted))
        yield from self._pairs(order[: self._counts.calibration])

    def training(self) -> Iterator[Any]:
        self._epochs += 1
        yield from self._pairs(np.random.default_rng(self._epochs).permutation(len(self._parts.fitted)))

    def _pairs(self, numbers: np.ndarray) -> Iterator[Any]:
        examples, device = self._parts.fitted, device_of(self._opened.module)
        labels = examples.labels
        for batch in self._batches(numbers):
            targets = None if labels is None else labels[torch.from_numpy(batch)]
            yield self._item(examples.inputs(batch, device)), targets
