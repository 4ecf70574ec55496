"""`arrays:FILE.npz`: inputs as numpy saves them, with labels where there are any."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tui_prune import paths
from tui_prune.errors import Remedy, UsageError
from tui_prune.loading.opened import OpenedModel
from tui_prune.progress import Progress, silent
from tui_prune.tasks import building
from tui_prune.tasks.building import Counts, Parts, built, halved, spread
from tui_prune.tasks.feeding import outputs_of
from tui_prune.tasks.images import COMPARE, COMPARED
from tui_prune.tasks.judging import Measure, measure_of
from tui_prune.tasks.pictures import stamp
from tui_prune.tasks.spec import Option, TaskSpec
from tui_prune.tasks.task import Task

INPUTS, LABELS = ("inputs", "input", "x", "images", "data"), ("labels", "label", "y", "targets", "target")
OPTIONS = {
    **building.OPTIONS,
    "inputs": Option(str, "a name", f"of the array that the network takes ({', '.join(INPUTS)})"),
    "labels": Option(str, "a name", f"of the array of labels ({', '.join(LABELS)})"),
    "compare": COMPARE,
}


class Arrays:
    """Some rows of arrays as inputs of a network."""

    def __init__(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray | None, rows: Sequence[int]) -> None:
        """`inputs` by argument; a single one has the name ""."""
        self._inputs, self._labels, self._rows = inputs, labels, np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def labels(self) -> Tensor | None:
        """Of these rows."""
        return None if self._labels is None else torch.from_numpy(self._labels[self._rows])

    def ready(self, progress: Progress = silent) -> None:
        """They are, always."""

    def inputs(self, numbers: Sequence[int] | np.ndarray, device: torch.device) -> Any:
        """Some of these rows on a device; bytes are scaled to 0 to 1."""
        rows = self._rows[np.asarray(numbers)]
        found = {name: _tensor(values[rows], device) for name, values in self._inputs.items()}
        return found[""] if found.keys() == {""} else found

    def remarks(self) -> Iterator[str]:
        """Nothing."""
        return iter(())


def task(spec: TaskSpec, choices: Mapping[str, Any]) -> Task:
    """Read the arrays. Raises `UsageError` where there is no such file, or it isn't numpy's."""
    file = Path(spec.path)
    if not paths.is_file(file):
        raise UsageError(paths.not_a_file(file, spec.path, "file of arrays"))
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{file} can't be read as numpy's .npz of plain arrays: {error}.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        ) from error
    return Task(spec=str(spec), bind=lambda opened: _bound(spec, choices, opened, arrays))


def _bound(spec: TaskSpec, choices: Mapping[str, Any], opened: OpenedModel, arrays: Mapping[str, np.ndarray]) -> Task:
    counts = Counts.of(choices)
    labels = _named(arrays, choices, "labels", LABELS)
    inputs = _inputs(arrays, choices, opened)
    count = len(next(iter(inputs.values())))
    outputs = outputs_of(opened)
    measure = Measure(choices["compare"]) if "compare" in choices else measure_of(outputs)
    if labels is not None:
        whole = labels.dtype.kind in "iub"
        if whole and labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        fits = whole and labels.ndim == 1 and measure is Measure.TOP1
        if not (fits or (labels.dtype.kind == "f" and measure is not Measure.BOXES)):
            raise UsageError(
                f"The labels in {spec.path} ({labels.dtype}, {labels.shape}) are neither class numbers for the outputs "
                f"of {opened.title} nor outputs that it should give; labels= names another array, and without labels "
                "it is compared with the uncut network."
            )
        measure = Measure.TOP1 if fits else Measure.OUTPUTS
        labels = labels.astype(np.int64) if fits else labels
    sizes = {len(values) for values in (*inputs.values(), *(() if labels is None else (labels,)))}
    if len(sizes) > 1 or not count:
        raise UsageError(f"The arrays in {spec.path} hold different numbers of examples, or none.")
    groups = [list(range(count))]
    if labels is not None and measure is Measure.TOP1:
        groups = [np.flatnonzero(labels == one).tolist() for one in np.unique(labels)]
    here, there = halved(groups)
    tested = Arrays(inputs, labels, spread(here, counts.limit))
    fitted = Arrays(inputs, labels, spread(there, counts.train))
    parts = Parts(tested, fitted if len(fitted) else tested)
    compared = "labels" if labels is not None else COMPARED[measure]
    note = (
        f"{spec.kind}: {len(tested)} examples to evaluate on ({compared}), {len(parts.fitted)} others to calibrate and "
        "train."
    )
    return built(
        spec, opened, parts, counts, lambda batch: batch, measure,
        stamp=lambda: {"arrays": stamp([Path(spec.path)]), "how": measure.value}, notes=(note,),
    )  # fmt: skip


def _inputs(arrays: Mapping[str, np.ndarray], choices: Mapping[str, Any], opened: OpenedModel) -> dict[str, np.ndarray]:
    """By argument; "" for the only one."""
    single = _named(arrays, choices, "inputs", INPUTS)
    parameters = [name for name in inspect.signature(opened.module.forward).parameters if name in arrays]
    if "inputs" not in choices and len(parameters) > 1:
        return {name: arrays[name] for name in parameters}
    if single is None and len(parameters) == 1:
        single = arrays[parameters[0]]
    if single is None and len(arrays) == 1:
        single = next(iter(arrays.values()))
    if single is None:
        raise UsageError(f"Say which array the network takes with inputs=NAME; there are {', '.join(arrays)}.")
    return {"": single}


def _named(
    arrays: Mapping[str, np.ndarray], choices: Mapping[str, Any], option: str, usual: Sequence[str]
) -> np.ndarray | None:
    if option in choices and choices[option] not in arrays:
        raise UsageError(f"There is no array {choices[option]!r}; there are {', '.join(arrays)}.")
    name = choices.get(option) or next((name for name in usual if name in arrays), None)
    return None if name is None else arrays[name]


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor
