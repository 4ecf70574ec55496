"""Tracing a model: one forward pass beside which labels run, with the model left as it was."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tui_prune.channels.counting import CountingTracer
from tui_prune.channels.model_code import failing_line
from tui_prune.channels.modules import named_modules
from tui_prune.channels.record import TraceRecord, owner_of
from tui_prune.channels.tracer import Tracer
from tui_prune.errors import TuiPruneError


def record_trace(model: nn.Module, example_inputs: Sequence[Any], example_kwargs: Mapping[str, Any]) -> TraceRecord:
    """Run the model once in eval mode, and its training-only parts once more, and write down what happens.

    Raises `TuiPruneError` when the forward pass fails on the example input.
    """
    tracer = CountingTracer(model)
    with untouched(model):
        outputs = run(model, example_inputs, example_kwargs, tracer)
        record = tracer.finish(outputs)
        if record.unreached:
            _trace_training_parts(model, example_inputs, example_kwargs, tracer)
    return record


def run(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], tracer: Tracer | None = None) -> Any:
    """One forward pass, under a tracer if there is one. Raises `TuiPruneError` with the line that failed."""
    try:
        if tracer is None:
            return model(*inputs, **kwargs)
        tracer.mark_inputs((tuple(inputs), dict(kwargs)))
        with tracer:
            return model(*inputs, **kwargs)
    except TuiPruneError:
        raise
    except Exception as error:
        where = failing_line(error)
        message = str(error).strip().partition("\n")[0] or type(error).__name__
        place = f" at {where}" if where else ""
        raise TuiPruneError(
            f"The model's forward pass fails on the example input{place} ({type(error).__name__}: {message}). "
            "Give it an input of the right shape (--input), or mend the model."
        ) from error


def _trace_training_parts(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], tracer: Tracer) -> None:
    """Follow what only training runs (auxiliary heads): same tracer, all modules but norms and dropout in train mode.

    What it costs isn't the network's cost in use, so it isn't counted. A model that can't train like this is left at
    what eval mode has shown.
    """
    record = tracer.record
    counted = len(record.costs), len(record.activations)
    marks = len(record.ties), len(record.locked), len(record.blocks), len(record.grouped), len(record.producers)
    layers = dict(record.layers)
    for module in model.modules():
        quiet = isinstance(module, (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd))
        module.training = not quiet
    try:
        with tracer:
            outputs = model(*inputs, **kwargs)
        tracer.finish(outputs)
    except Exception:  # Nothing of a half-followed pass may count; the parts stay unreached, and what they may read.
        del record.ties[marks[0] :], record.locked[marks[1] :], record.blocks[marks[2] :]
        del record.grouped[marks[3] :], record.producers[marks[4] :]
        record.layers.clear()
        record.layers.update(layers)
        _lock_what_unreached_parts_may_read(tracer, counted[1])
    finally:
        del record.costs[counted[0] :], record.activations[counted[1] :]
        for module in model.modules():
            module.training = False


def _lock_what_unreached_parts_may_read(tracer: Tracer, activations: int) -> None:
    """An auxiliary head that a small image doesn't reach reads some tensor as wide as its first layer: none is cut."""
    record = tracer.record
    unreached = set(record.unreached)
    heads: dict[str, str] = {}
    for name, shape in record.shapes.items():
        if owner_of(name) in unreached and len(shape) > 1:
            heads.setdefault(name.partition(".")[0], name)
    for head, name in heads.items():
        width = record.shapes[name][1]
        for activation in record.activations[:activations]:
            for extent in activation.extents:
                if extent.size == width and extent.slots is not None and extent.slots.shape[1] == 1:
                    tracer.lock(extent.slots, f"{head} may read it, which the example input doesn't reach")


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode without gradients and leave it, its buffers and the random state as they were.

    Meanwhile attention's fused fast path is off, which hides the operators that labels follow, and so is TF32, which
    rounds more coarsely than a comparison allows.
    """
    modules = list({id(module): module for _, module in named_modules(model)}.values())
    training = [module for module in modules if module.training]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    model_devices = {buffer.device.index for _, _, buffer, _ in buffers if buffer.device.type == "cuda"}
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        for module in training:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(sorted(i for i in model_devices if i is not None)):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
        for module in training:
            module.training = True
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def as_arguments(example_inputs: Any) -> tuple[Any, ...]:
    """Positional arguments: a tuple as it is, anything else as the only one."""
    return example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
