"""Carrying a plan out on a copy of the model, and proving it by a replay; a sketch has neither numbers nor proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.copies.modules import named_modules
from tui_prune.graph.labels import compact
from tui_prune.graph.model_code import Line, failing_modules, failing_place
from tui_prune.graph.record import Lock, TraceRecord, View, slot_numbers
from tui_prune.graph.repeated import Repeated
from tui_prune.graph.trace import RetraceFailed, call, evaluating, recompute, retrace, stop_at_step
from tui_prune.graph.tracer import Tracer
from tui_prune.planning.plan import Plan
from tui_prune.surgery.attributes import apply_edits
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.correspondence import sizes_left
from tui_prune.surgery.kernels import KeptKernels, keep_kernels
from tui_prune.surgery.other_runs import training_runs
from tui_prune.surgery.repairs import Rescaled, apply_norm_sizes, apply_repairs, keep_scalings
from tui_prune.surgery.replay import Key, Replay, ReplayMismatch, apply_order
from tui_prune.surgery.surgery import CutTensors, UnevenCut, cut_tensors, group_counts


class Built(NamedTuple):
    """A copy of the model that holds less, and what was done to make it."""

    module: nn.Module
    tensors: CutTensors
    groups: dict[str, int]
    """How many groups are left of each grouped convolution."""
    edits: tuple[Edit, ...]


def build_cut(model: nn.Module, values: Mapping[str, Tensor], plan: Plan) -> Built:
    """A copy of the module with `values`, by the names of its tensors, in place of its own, cut by the plan.

    Raises `UnevenCut` where a grouped convolution would be left with unequal groups.
    """
    graph = plan.graph
    tensors = cut_tensors(values, graph, plan.keep)
    module = with_tensors(model, tensors.tensors, graph.record)
    groups = group_counts(graph.record, tensors)
    with evaluating(module):
        edits = (
            *apply_edits(module, groups),
            *apply_repairs(module, graph, tensors),
            *apply_norm_sizes(module, graph, plan.keep),
        )
    return Built(module, tensors, groups, edits)


FIXED_SIZE = "the model's code fixes this size"
EVERYTHING = 10**9
"""More calls than a forward pass has."""


@dataclass(frozen=True, eq=False)
class CutModule:
    """A cut module, proved by its replay, and what was done to make it."""

    module: nn.Module
    edits: tuple[Edit, ...]
    tensors: CutTensors
    kernels: KeptKernels
    """Of weights that are normalised."""
    reordered: Mapping[Key, np.ndarray]
    """For each axis whose order the replay has changed, the new order of its positions."""
    scalings: tuple[Rescaled, ...]


class Misfit(Exception):
    """A plan that the model's code can't follow: the groups that seem to be the reason, and the lock to put on them."""

    def __init__(
        self,
        groups: frozenset[int],
        lock: Lock,
        modules: Sequence[str] = (),
        line: Line | None = None,
        error: BaseException | None = None,
        reached: int = 0,
    ) -> None:
        super().__init__(lock.reason)
        self.groups, self.lock = groups, lock
        self.modules = tuple(modules)
        """The modules whose code failed, innermost first."""
        self.line = line
        """Where the code went wrong, where that isn't where it failed."""
        self.error = error
        """What the code was stopped by."""
        self.reached = reached
        """How many calls of operators went right before."""
        self.sizes: dict[int, tuple[np.ndarray, Lock]] = {}
        """Free sizes of the trace that the code has written down: by number, their slots and what to say of them."""


def cut(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], plan: Plan) -> CutModule:
    """Carry a plan out on a copy of the module and prove it by a replay. Raises `Misfit`."""
    graph = plan.graph
    try:
        module, tensors, groups, edits = build_cut(model, named_tensors(model, graph.record), plan)
    except UnevenCut as uneven:
        raise Misfit(cut_groups(plan, uneven.slots), Lock("a grouped convolution needs equal groups")) from uneven
    try:
        record = retrace(module, graph.record, inputs, kwargs)
    except RetraceFailed as stopped:
        error = stopped.__cause__ or stopped
        misfit = _misfit_of_error(error, stopped.tracer, plan, tensors)
        misfit.sizes = fixed_sizes(plan, stopped.tracer.record)
        raise misfit from error
    replay = Replay(graph, plan.keep, tensors, record)
    try:
        replay.prove()
    except ReplayMismatch as mismatch:
        involved = cut_groups(plan, mismatch.slots)
        lock = Lock(f"a cut would mix channels up: {mismatch}")
        failed = None
        if mismatch.step is not None:
            failed = stop_at_step(module, graph.record, record, inputs, kwargs, mismatch.step)
        misfit = Misfit(involved, lock)
        if failed is not None:
            misfit = _misfit_of_error(failed.__cause__ or failed, failed.tracer, plan, tensors)
            misfit.groups = involved or misfit.groups
        misfit.reached = len(record.calls) if mismatch.step is None else mismatch.step
        misfit.sizes = fixed_sizes(plan, record)
        raise misfit from mismatch
    apply_order(module, replay.reordered)
    scalings = keep_scalings(module, graph.record, record)
    kernels = keep_kernels(module, plan, tensors, record, replay.reordered)
    if any(part._forward_pre_hooks for _, part in named_modules(module)):
        if replay.reordered or kernels.scaled:  # what hooks have computed in the replay is out of date
            recompute(module, graph.record.written, inputs, kwargs)
        with evaluating(module):  # weights that a hook computes have their new size only now
            edits = (*edits, *apply_edits(module, groups))
    return CutModule(module, edits, tensors, kernels, replay.reordered, scalings)


def check_training(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], plan: Plan, made: CutModule, cuts: Repeated
) -> None:
    """Run a cut network, by `cuts`, in train mode. Raises `Misfit` where it fails and the original doesn't."""
    for run in training_runs(inputs, kwargs):
        if run.outputs(cuts) is not None:
            return
        if run.outputs(model) is None:
            continue
        with cuts.training() as twin:
            tracer = Tracer(twin)
            try:
                call(twin, *run.arguments, tracer)
            except (Exception, SystemExit) as error:
                found = _misfit_of_error(error, tracer, plan, made.tensors)
                found.reached = EVERYTHING + len(tracer.record.calls)
                raise found from error
        return


def _misfit_of_error(error: BaseException, tracer: Tracer, plan: Plan, tensors: CutTensors) -> Misfit:
    """Find the groups that made a forward pass fail: what was first taken for rows (or rows for it), else what the
    failing line has reshaped, else what met in the failing call, else what the failing module works on."""
    place = failing_place(error)
    lock = Lock(FIXED_SIZE, str(place.shown) if place else None)
    record = plan.graph.record
    suspects = frozenset[int]()
    view = first_other_view(plan, tracer.record)
    line = None if view is None else view.where
    if view is not None and (suspects := cut_groups(plan, slot_numbers(view.slots))):
        lock = Lock(FIXED_SIZE, str(view.where) if view.where else None)
    if not suspects and place is not None:
        suspects = cut_groups(plan, slot_numbers(record.sites.get(place.exact, [])))
    if not suspects and tracer.failed:
        suspects = cut_groups(plan, _original_slots(slot_numbers(tracer.failed), tracer, tensors))
    failing = [name for part in failing_modules(error) if (name := tracer.name_of(part)) is not None]
    for name in filter(None, failing):  # that the whole network fails says nothing
        suspects = suspects or _put_out_inside(plan, name) or groups_inside(plan, name)
    reached = _right_calls(record, tracer.record)
    return Misfit(suspects, lock, failing, line, error, reached if view is None else min(reached, view.call))


def _right_calls(original: TraceRecord, cut: TraceRecord) -> int:
    """How many operators have put out as many rows as those of the original, before one didn't."""
    for number, (before, after) in enumerate(zip(original.calls, cut.calls, strict=False)):
        if before.operator is not after.operator or len(before.made) != len(after.made):
            return number
        # Further results (the statistics of a norm) may be as long as there are channels, and carry nothing.
        made = zip(before.made[:1], after.made[:1], strict=True) if before.labelled else ()
        for one, other in made:
            labelled = {dim for dims in one.labels for dim in dims} | one.alike
            rows = [d for d in range(len(one.shape)) if d not in labelled]
            if len(one.shape) != len(other.shape) or any(one.shape[d] != other.shape[d] for d in rows):
                return number
    return min(len(original.calls), len(cut.calls))


def fixed_sizes(plan: Plan, cut: TraceRecord) -> dict[int, tuple[np.ndarray, Lock]]:
    """The free sizes that haven't followed the plan in the cut network's pass."""
    graph = plan.graph
    found = {}
    for number, (before, after) in enumerate(zip(graph.record.free, cut.free, strict=False)):
        planned = int(plan.keep[graph.classes.channel[before.slots]].sum())
        if number not in graph.findings.fixed_sizes and after.size != planned:
            found[number] = before.slots, Lock(FIXED_SIZE, str(before.where) if before.where else None)
    return found


def first_other_view(plan: Plan, cut: TraceRecord) -> View | None:
    """The first tensor of the original whose rows are others where the cut network reshapes it: `view(-1, 64)` makes
    two rows of 32 channels one, `view(..., -1, 16)` two heads of 8, and nothing fails before a layer reads them."""
    for before, after in zip(plan.graph.record.views, cut.views, strict=False):
        if before.where != after.where or len(before.shape) != len(after.shape):
            return None  # the code has taken another way
        rows = [d for d in range(len(before.shape)) if d not in before.labelled]
        if any(before.shape[d] != after.shape[d] for d in rows) or _has_other_heads(plan, before, after):
            return before
    return None


def _has_other_heads(plan: Plan, before: View, after: View) -> bool:
    """Whether channels that lie along several dimensions are dealt out to other numbers of them than is planned."""
    for dims, label in before.labels.items():
        if len(dims) < 2:
            continue
        ids = compact(label, dims).numpy()
        stays = (ids < 0) | plan.keep[plan.graph.classes.channel[np.maximum(ids, 0)]]
        planned = list(sizes_left(stays))
        if planned and tuple(after.shape[d] for d in dims) not in planned:
            return True
    return False


def _put_out_inside(plan: Plan, module: str) -> frozenset[int]:
    """Of these groups those that nothing outside the module puts out: what it only reads and adds to is less likely."""
    groups = groups_inside(plan, module)
    return frozenset(g for g in groups if all(n.startswith(f"{module}.") for n in plan.graph.groups[g].layers))


def groups_inside(plan: Plan, module: str) -> frozenset[int]:
    """The groups that the plan cuts and that a module's own parameters and buffers take part in."""
    slots = [axis.slots for axis in plan.graph.record.axes if axis.tensor.startswith(f"{module}." if module else "")]
    return cut_groups(plan, np.concatenate(slots)) if slots else frozenset()


def _original_slots(slots: np.ndarray, tracer: Tracer, tensors: CutTensors) -> np.ndarray:
    found = []
    for axis in tracer.record.axes:
        mine = slots[(slots >= axis.first) & (slots < axis.first + axis.size)] - axis.first
        kept = tensors.kept.get((axis.tensor, axis.dim, axis.groups > 1))
        if kept is not None and kept.size == axis.size:
            found.append(kept.reshape(-1)[mine])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def cut_groups(plan: Plan, slots: np.ndarray) -> frozenset[int]:
    """The groups that these slots belong to and that the plan cuts."""
    touched = np.zeros(plan.graph.classes.channels, bool)
    touched[plan.graph.classes.channel[slots]] = True
    return frozenset(
        group.index
        for group in plan.graph.groups
        if touched[group.channels].any() and not plan.keep[group.channels].all()
    )


def sketch(plan: Plan) -> nn.Module:
    """The module that a plan leads to, on the meta device: its shapes and sizes are right, it has no values.

    It isn't proved: where the network's own code can't follow the plan, the real cut keeps more. The model of the plan
    stays as it is. Raises `UnevenCut` where a grouped convolution would be left with unequal groups.
    """
    model = plan.graph.model
    tensors = named_tensors(model, plan.graph.record)
    without_values = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    return build_cut(model, without_values, plan).module
