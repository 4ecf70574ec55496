"""Recovered weights that wait beside the kept work: a pruned checkpoint, and laying one into the same cut made anew."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_prune.archives.origin import Edit
from tui_prune.archives.pruned_file import Checkpoint, Probe
from tui_prune.archives.safetensors_form import write_safetensors
from tui_prune.errors import TuiPruneError
from tui_prune.graph.nested import map_tensors
from tui_prune.loading.fitting import device_of, named_tensors
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.recovery.recover import FINE_TUNED, RECALIBRATED, RECONSTRUCTED, with_weights
from tui_prune.result import Accuracy, Reconstructed, Result
from tui_prune.saving.checkpoint import octets_of, tensors_and_positions
from tui_prune.saving.probe import relative_error, run_probe, tolerance


def octets(checkpoint: Checkpoint) -> int:
    """Bytes that a file of it has, or a few less."""
    return octets_of(checkpoint.tensors.values())


def fill(path: Path, checkpoint: Checkpoint) -> None:
    """Write a .safetensors file, which `load` reads like any other pruned checkpoint. Raises `TuiPruneError`."""
    write_safetensors(checkpoint.to_content(), path)


def lay_in(result: Result, checkpoint: Checkpoint) -> Result:
    """The result of a cut that was made anew, with the recovered weights of a checkpoint of the same cut.

    Raises `TuiPruneError` where it isn't the same cut, or the weights aren't what they were: then nothing of the
    checkpoint is taken.
    """
    tensors, kept = tensors_and_positions(result)
    other = next(_differences(tensors, checkpoint.tensors), None) or next(_other_positions(kept, checkpoint.kept), None)
    if other is None and _sizes(result.edits) != _sizes(checkpoint.edits):
        other = "its modules have other sizes"
    if other is not None:
        raise TuiPruneError(f"they are of another cut: {other}.")
    for name, tensor in checkpoint.tensors.items():
        by_design = ~tensors[name].isfinite()  # such as the mask of a causal attention
        if not bool((tensor.isfinite() | by_design).all()):
            raise TuiPruneError(f"{name} isn't finite.")
    steps, accuracy = _steps(checkpoint.report), _accuracy(checkpoint.report)
    left = Reconstructed.from_dict(checkpoint.report.get("reconstruction"))
    report = replace(result.report, recovered=steps, accuracy=accuracy, reconstruction=left)
    laid = with_weights(result, checkpoint.tensors, report)
    _check_laid(laid, checkpoint)
    return laid


def _differences(tensors: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Iterator[str]:
    """In words, where names, shapes or kinds of numbers aren't the same."""
    for name in {**tensors, **others}:
        mine, other = tensors.get(name), others.get(name)
        if mine is None or other is None:
            yield f"{name} is only in one of them"
        elif (mine.shape, mine.dtype) != (other.shape, other.dtype):
            yield f"{name} has the shape {tuple(other.shape)} there and {tuple(mine.shape)} here"


def _other_positions(kept: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Iterator[str]:
    for axis in {**kept, **others}:
        if axis not in kept or axis not in others or not torch.equal(kept[axis], others[axis]):
            yield f"other channels of {axis.rpartition('/')[0]} stay now"


def _sizes(edits: Iterable[Edit]) -> dict[str, Any]:
    """What a file has may be something that no set takes."""
    return {edit.place: edit.value for edit in edits}


def _steps(report: Mapping[str, Any]) -> tuple[str, ...]:
    steps = report.get("recovered")
    known = isinstance(steps, (list, tuple)) and all(
        step in (RECONSTRUCTED, RECALIBRATED, FINE_TUNED) for step in steps
    )
    if not known or not steps:
        raise TuiPruneError("they don't say how they were recovered.")
    return tuple(steps)


def _accuracy(report: Mapping[str, Any]) -> Accuracy | None:
    """What was measured; None where nothing was, or nothing that can be read."""
    said = report.get("accuracy")
    if not isinstance(said, Mapping):
        return None
    figures = [said.get(name) for name in ("before", "after", "recovered")]
    numbers = all(figure is None or _is_finite(figure) for figure in figures)
    before, after, recovered = figures
    return Accuracy(before, after, recovered) if numbers and before is not None else None


def _is_finite(figure: Any) -> bool:
    try:
        return isinstance(figure, (int, float)) and isfinite(figure)
    except OverflowError:  # a whole number that no float is large enough for
        return False


def _check_laid(laid: Result, checkpoint: Checkpoint) -> None:
    """Raises `TuiPruneError` where the network doesn't hold the weights, or puts out other numbers than with them."""
    stored = laid.model.state_dict().keys()
    for name, tensor in named_tensors(laid.model):
        if name in stored and not torch.equal(tensor.detach().cpu(), checkpoint.tensors[name]):
            raise TuiPruneError(f"{name} can't be laid into this network.")
    if checkpoint.probe is None:
        return
    device = device_of(laid.model)
    probe = _on(device, checkpoint.probe, checkpoint.input_spec)
    limit = max(tolerance(checkpoint.probe), tolerance(probe))
    try:
        error = relative_error(probe.outputs, run_probe(laid.model, checkpoint, probe))
    except Exception as failure:  # a forward pass may raise anything
        raise TuiPruneError(f"the network doesn't run with them: {type(failure).__name__}: {failure}.") from failure
    if not error <= limit:
        raise TuiPruneError(f"the network puts out other numbers with them than it did, by {error:.1e} of the largest.")


def _on(device: torch.device, probe: Probe, input_spec: str) -> Probe:
    """The probe with its inputs on a device."""
    inputs = make_example_inputs(input_spec)[0] if probe.inputs is None else probe.inputs
    moved = map_tensors((inputs, dict(probe.keywords)), lambda tensor: tensor.to(device))
    return replace(probe, inputs=moved[0], keywords=moved[1], device=device.type)
