"""Tracing a model: one forward pass beside which labels run, with the model left as it was."""

import gc
import inspect
import random
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tui_prune.copies.modules import named_modules, named_tensors
from tui_prune.copies.outside import Outside
from tui_prune.copies.stand_in import stand_in
from tui_prune.errors import Remedy, TuiPruneError, ordinary_errors
from tui_prune.graph.counting import CountingTracer
from tui_prune.graph.derived import DerivedUses
from tui_prune.graph.elsewhere import check_that_it_runs_its_layers
from tui_prune.graph.hollow import ValuesNeeded
from tui_prune.graph.model_code import failing_line
from tui_prune.graph.nested import all_tensors_in, map_tensors
from tui_prune.graph.record import TraceRecord, owner_of
from tui_prune.graph.tracer import Tracer

SEED = 0

_postponing: list[None] = []
"""One entry for each run that postpones the collection of garbage."""


@contextmanager
def collecting_later() -> Iterator[None]:
    """Postpone the collection of garbage. A pass makes many small objects, few of them garbage; each full collection
    would look at all that the process holds, torch itself included."""
    if not gc.isenabled() and not _postponing:  # the user's own choice
        yield
        return
    _postponing.append(None)
    gc.disable()
    try:
        yield
    finally:
        _postponing.pop()
        if not _postponing:
            gc.enable()


@collecting_later()
def record_trace(model: nn.Module, example_inputs: Sequence[Any], example_kwargs: Mapping[str, Any]) -> TraceRecord:
    """Run the model once in eval mode, and its training-only parts once more, and write down what happens.

    Raises `TuiPruneError` when the forward pass fails on the example input.
    """
    with suppress(Exception, SystemExit, ValuesNeeded):  # whatever stops it, the values will tell
        return _record(model, example_inputs, example_kwargs, hollow=True)
    return _record(model, example_inputs, example_kwargs, hollow=False)


def _record(
    model: nn.Module, example_inputs: Sequence[Any], example_kwargs: Mapping[str, Any], *, hollow: bool
) -> TraceRecord:
    with untouched(model) as twin:
        tracer = CountingTracer(twin, hollow=hollow)
        try:
            record = _record_run(twin, example_inputs, example_kwargs, tracer)
        finally:
            tracer.record.written |= tracer.overwritten.restore()
    record.model = model
    return record


def _record_run(
    model: nn.Module, example_inputs: Sequence[Any], example_kwargs: Mapping[str, Any], tracer: Tracer
) -> TraceRecord:
    names = {name for name, _ in named_modules(model)}
    outputs = run(model, example_inputs, example_kwargs, tracer)
    after = {name for name, _ in named_modules(model)}
    if made := sorted(after - names):
        raise TuiPruneError(
            f"The network makes its part {made[0]} in the forward pass. Run it once on an input, then prune it."
        )
    if gone := sorted(names - after):
        raise TuiPruneError(
            f"The network takes its part {gone[0]} out in the forward pass, so there is no telling what it computes "
            "the next time. Let it keep its parts, then prune it."
        )
    record = tracer.finish(outputs)
    if record.unreached:
        _trace_training_parts(model, example_inputs, example_kwargs, tracer)
    check_that_it_runs_its_layers(model, record)
    if next(all_tensors_in(outputs), None) is None:
        raise TuiPruneError(
            f"The network's forward pass returns a {type(outputs).__name__} without a tensor in it, so a cut couldn't "
            "be checked. Let it return its tensors."
        )
    return record


def run(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], tracer: TorchDispatchMode | None = None
) -> Any:
    """One forward pass, under a tracer or another mode if there is one.

    Raises `TuiPruneError` with the line that failed.
    """
    try:
        return call(model, inputs, kwargs, tracer)
    except TuiPruneError:
        raise
    except (Exception, SystemExit) as error:
        where = failing_line(error)
        message = str(error).strip().partition("\n")[0]
        place = f" at {where}" if where else ""
        raise TuiPruneError(
            f"The model's forward pass fails on the example input{place} "
            f"({': '.join(filter(None, (type(error).__name__, message)))}). {_advice(model, inputs, kwargs)}",
            remedies=[Remedy.INPUT, Remedy.AGAIN],
        ) from error


class RetraceFailed(Exception):
    """The forward pass of what was made of a traced network fails, by `__cause__`. `tracer` saw it until then."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer


def retrace(model: nn.Module, original: TraceRecord, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> TraceRecord:
    """Trace what has been made of a traced network. Of all that the run leaves in it, only tensors among its attributes
    that it has computed anew stay. Raises `RetraceFailed`."""
    if original.hollow:
        with suppress(RetraceFailed, ValuesNeeded):  # with its values it may not fail
            return _retrace(model, original, inputs, kwargs, hollow=True)
    return _retrace(model, original, inputs, kwargs, hollow=False)


def stop_at_step(
    model: nn.Module,
    original: TraceRecord,
    record: TraceRecord,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    step: int,
) -> RetraceFailed | None:
    """Run again what was traced as `record`, up to one of its steps: the failure tells the line of code and the
    modules. None where the pass doesn't come there."""
    try:
        _retrace(model, original, inputs, kwargs, hollow=record.hollow, stop_after=step)
    except RetraceFailed as failed:
        return failed
    except ValuesNeeded:
        pass
    return None


def _retrace(
    model: nn.Module,
    original: TraceRecord,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    hollow: bool,
    stop_after: int | None = None,
) -> TraceRecord:
    with untouched(model, original.written) as twin:
        tracer = Tracer(twin, hollow=hollow, stop_after=stop_after)
        tracer.original = original
        try:
            outputs = call(twin, inputs, kwargs, tracer)
        except (Exception, SystemExit) as error:
            raise RetraceFailed(tracer) from error
        _keep_computed(model, twin, tracer)
    record = tracer.finish(outputs)
    record.model = model
    return record


def recompute(model: nn.Module, written: Collection[str], inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Compute the tensors anew that a forward pass keeps among the attributes of modules, such as weights by hooks."""
    with untouched(model, written) as twin:
        call(twin, inputs, kwargs)
        _keep_computed(model, twin)


def _keep_computed(model: nn.Module, twin: nn.Module, tracer: Tracer | None = None) -> None:
    """Give a module the tensors among its attributes that a run of its twin has made anew, such as weights that hooks
    compute: they have another size now."""
    after = dict(named_modules(twin))
    for path, module in named_modules(model):
        ran, own = after.get(path), vars(module)
        if ran is None:  # the run has taken it out
            continue
        for name, value in own.items():
            if isinstance(value, Tensor):
                made = vars(ran).get(name)
                if isinstance(made, Tensor) and not (tracer is not None and tracer.is_hollow(made)):
                    own[name] = made


def call(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], tracer: TorchDispatchMode | None = None
) -> Any:
    """One forward pass on copies of the inputs, which it may write over; raises whatever the model does."""
    inputs, kwargs = map_tensors((tuple(inputs), dict(kwargs)), Tensor.clone)
    if tracer is None:
        with ordinary_errors():
            return model(*inputs, **kwargs)
    if isinstance(tracer, Tracer):
        tracer.mark_inputs((inputs, kwargs))
    with ordinary_errors(), tracer:
        outputs = model(*inputs, **kwargs)
    hollow = tracer.hollow if isinstance(tracer, Tracer) else None
    if hollow is not None and hollow.values_needed:  # the network's own code has caught that
        raise ValuesNeeded
    return outputs


def _advice(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What to do about a forward pass that fails: where its arguments don't fit, how to give others."""
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*inputs, **kwargs)
    except TypeError:
        names = ", ".join(signature.parameters)
        return f'Its inputs are ({names}): give the shape of each, as in --input "1,3,32,32;1,10" or "name=1,10".'
    return "Give it an input of the right shape (--input), or mend the model."


def _trace_training_parts(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], tracer: Tracer) -> None:
    """Follow what only training runs (auxiliary heads): same tracer, all modules but norms and dropout in train mode.

    What it costs isn't the network's cost in use, so it isn't counted. A model that can't train like this is left at
    what eval mode has shown.
    """
    record = tracer.record
    counted = len(record.costs), len(record.activations), len(record.scalings)
    derived, record.derived = record.derived, DerivedUses()
    marks = len(record.ties), len(record.locked), len(record.blocks), len(record.grouped), len(record.producers)
    layers, heads = dict(record.layers), len(record.head_rows)
    for module in model.modules():
        quiet = isinstance(module, (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd))
        module.training = not quiet
    try:
        tracer.finish(call(model, inputs, kwargs, tracer))
    except (Exception, SystemExit) as error:
        if record.hollow:  # with its values it may not fail
            raise ValuesNeeded from error
        # Nothing of a half-followed pass may count; the parts stay unreached, and what they may read.
        del record.ties[marks[0] :], record.locked[marks[1] :], record.blocks[marks[2] :]
        del record.grouped[marks[3] :], record.producers[marks[4] :], record.head_rows[heads:]
        record.layers.clear()
        record.layers.update(layers)
        _lock_what_unreached_parts_may_read(tracer, counted[1])
    finally:
        del record.costs[counted[0] :], record.activations[counted[1] :]
        del record.scalings[counted[2] :]  # a replay runs in eval mode only, and is compared with it call by call
        record.derived = derived
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
def standing_in(model: nn.Module, written: Collection[str] = ()) -> Iterator[nn.Module]:
    """A copy of a model, to be run in its place: nothing that runs leave behind is left in the model, or in what its
    hooks and code write to.

    It shares the memory of the parameters, except of those that the forward pass is known to write over (`written`).

    Raises `TuiPruneError` for a model that can't be copied.
    """
    outside = Outside(model)
    with outside.put_back():
        yield stand_in(model, outside, written)


@contextmanager
def untouched(model: nn.Module, written: Collection[str] = ()) -> Iterator[nn.Module]:
    """As `standing_in`, to be run in eval mode without gradients; the random state is left as it was, too.

    Meanwhile attention's fused fast path is off, which hides the operators that labels follow, and so is TF32, which
    rounds more coarsely than a comparison allows; compiled code runs as it was written.
    """
    with standing_in(model, written) as twin, evaluating(twin):
        yield twin


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """As `untouched`, but to run the model itself: what that changes stays changed, except the modes of its modules.

    A network that draws random numbers draws the same ones in every run, whoever runs it.
    """
    training = [module for _, module in named_modules(model) if module.training]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    devices = {tensor.get_device() for _, tensor in named_tensors(model) if tensor.is_cuda}
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        for module in training:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(sorted(devices)), _other_random_states(), _eager():
            for generator in (torch.default_generator, *(torch.cuda.default_generators[i] for i in devices)):
                generator.manual_seed(SEED)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
        for module in training:
            module.training = True


@contextmanager
def _other_random_states() -> Iterator[None]:
    """The random numbers of Python and of NumPy, as torch's: the same in every run, and put back."""
    ours, theirs = random.getstate(), np.random.get_state()
    try:
        random.seed(SEED)
        np.random.seed(SEED)
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)


def _eager() -> AbstractContextManager[Any]:
    """Compiled functions run as they were written, where there are any: labels don't see into compiled code."""
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    return nullcontext() if stance is None else stance("force_eager")


def as_arguments(example_inputs: Any) -> tuple[Any, ...]:
    """Positional arguments: a tuple as it is, anything else as the only one."""
    return example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
