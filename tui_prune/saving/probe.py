"""An input and what comes out for it: taken when a checkpoint is saved, compared when it is verified."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.archives.pruned_file import Checkpoint, Probe, SampledOutput
from tui_prune.errors import UsageError
from tui_prune.graph.nested import all_tensors_in, map_tensors, tensors_in
from tui_prune.graph.trace import call, untouched
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.surgery.verify import TOLERANCES

MASKED_ORIGINAL = "masked original"
CUT_NETWORK = "cut network"
LARGEST_INPUT = 2**20
"""Bytes; larger inputs are only described, where they can be made again."""
_LARGEST_UNREPEATABLE_INPUT = 2**26
_MOST_SAMPLES = 2**14
_USUAL_TOLERANCE = 1e-4
_OTHER_DEVICE_TOLERANCE = 2e-3
"""Between a GPU, which may round factors of a product to ten bits, and a CPU."""
_PLAIN = (bool, int, float, str, type(None))


def take_probe(
    model: nn.Module,
    inputs: tuple[Any, ...],
    keywords: Mapping[str, Any],
    input_spec: str,
    reference: Sequence[Tensor],
    *,
    exact: bool,
) -> Probe | None:
    """The probe of a cut network: its example inputs and the outputs that are right for them.

    These are `reference`, the masked original's, where the cut is exact. Elsewhere, and where the weights were changed
    since the cut was verified, they are the cut network's own, so that at least a file that changes is found. None: the
    inputs are too large or of a kind that can't be saved.
    """
    repeats = _repeats(inputs, input_spec) and not keywords
    limit = LARGEST_INPUT if repeats else _LARGEST_UNREPEATABLE_INPUT
    remembered = _remembered((inputs, dict(keywords)), limit)
    if remembered is None and not repeats:
        return None
    outputs = list(reference) if exact else []
    return Probe(
        inputs=remembered[0] if remembered else None,
        keywords=remembered[1] if remembered else {},
        outputs=tuple(sampled(output) for output in outputs or run(model, inputs, keywords)),
        reference=MASKED_ORIGINAL if outputs else CUT_NETWORK,
        device=next((tensor.device.type for tensor in tensors_in(inputs)), "cpu"),
    )


def probe_arguments(checkpoint: Checkpoint, input_spec: str | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the network of a checkpoint can be called with: the arguments that it remembers, or those of `input_spec`.

    Raises `UsageError` where neither is there.
    """
    probe = checkpoint.probe
    if input_spec is None and probe is not None and probe.inputs is not None:
        return tuple(probe.inputs), dict(probe.keywords)
    spec = input_spec or checkpoint.input_spec
    if not spec:
        raise UsageError(f"{checkpoint.path} doesn't say what its network takes: give --input, such as 1,3,224,224.")
    return make_example_inputs(spec)


def run_probe(model: nn.Module, checkpoint: Checkpoint, probe: Probe) -> list[Tensor]:
    """What the network puts out for the inputs of the checkpoint's probe, as they were saved or made again."""
    inputs = make_example_inputs(checkpoint.input_spec)[0] if probe.inputs is None else probe.inputs
    return run(model, inputs, probe.keywords)


def run(model: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> list[Tensor]:
    """The numbers that the network puts out in eval mode; it is as before afterwards."""
    with untouched(model) as twin:
        outputs = call(twin, inputs, keywords)
    return [tensor for tensor in all_tensors_in(outputs) if tensor.is_floating_point() or tensor.is_complex()]


def relative_error(expected: Sequence[SampledOutput], outputs: Sequence[Tensor]) -> float:
    """The largest difference as a share of the largest magnitude, over all outputs; infinite where shapes differ."""
    if len(expected) != len(outputs) or any(e.shape != tuple(o.shape) for e, o in zip(expected, outputs, strict=True)):
        return math.inf
    return max((_error(one, output) for one, output in zip(expected, outputs, strict=True)), default=0.0)


def tolerance(probe: Probe) -> float:
    """How large the relative error of a right network may be, in its precision and on this device."""
    own = max((TOLERANCES.get(output.samples.dtype, _USUAL_TOLERANCE) for output in probe.outputs), default=0.0)
    return own if probe.device == "cpu" else max(own, _OTHER_DEVICE_TOLERANCE)


def _remembered(arguments: tuple[Any, ...], limit: int) -> tuple[Any, ...] | None:
    """The arguments as they are saved, or None if they have more than `limit` bytes or aren't plain values."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(arguments))
    if size > limit or not _is_plain(arguments):
        return None
    return map_tensors(arguments, lambda tensor: tensor.detach().cpu().clone())


def _repeats(inputs: tuple[Any, ...], input_spec: str) -> bool:
    """Whether the inputs are those that `input_spec` makes."""
    if not input_spec:
        return False
    ours, theirs = list(tensors_in(make_example_inputs(input_spec)[0])), list(tensors_in(inputs))
    return len(ours) == len(theirs) and all(
        one.dtype == other.dtype and torch.equal(one, other.cpu()) for one, other in zip(ours, theirs, strict=True)
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _is_plain(list(value.values()))
    if type(value) in (list, tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (Tensor, *_PLAIN))


def sampled(output: Tensor) -> SampledOutput:
    """What is kept of an output to compare another with."""
    step = max(1, math.ceil(output.numel() / _MOST_SAMPLES))
    samples = output.detach().reshape(-1)[::step].cpu().clone()
    return SampledOutput(tuple(output.shape), step, samples, _largest(output))


def _largest(output: Tensor) -> float:
    magnitudes = _comparable(output).abs()
    return float(torch.where(magnitudes.isfinite(), magnitudes, 0.0).max()) if output.numel() else 0.0


def _error(expected: SampledOutput, output: Tensor) -> float:
    if not output.numel():
        return 0.0
    ours, theirs = _comparable(expected.samples), _comparable(output.reshape(-1)[:: expected.step].cpu())
    if bool((ours.isfinite() != theirs.isfinite()).any()):
        return math.inf
    difference = float(torch.where(ours.isfinite(), (ours - theirs).abs(), 0.0).max())
    return difference / expected.largest if expected.largest else difference


def _comparable(output: Tensor) -> Tensor:
    return output.detach() if output.is_complex() else output.detach().double()
