"""Verify: the cut module's numbers beside the masked original's, on the same input."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import isfinite, isinf, prod
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from tui_prune.errors import Remedy, TuiPruneError
from tui_prune.graph.labels import Dims, spread
from tui_prune.graph.nested import all_tensors_in, map_tensors
from tui_prune.graph.repeated import Repeated
from tui_prune.graph.trace import run
from tui_prune.graph.tracer import Tracer
from tui_prune.planning.plan import Plan
from tui_prune.surgery.choices import Choices, SameChoices, picks_positions
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.cut import CutModule
from tui_prune.surgery.masked import Digests, MaskedAgain, MaskedTracer, kept_of
from tui_prune.surgery.telling import telling_values, widened

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest relative error (largest difference over largest value of an output) that counts as equal."""
_HALF = (torch.float16, torch.bfloat16)
TELLING = 1e-3
"""A mask that moves the output by less (relative) leaves nothing to compare."""

T = TypeVar("T", bound=Tracer)


_SMALL, _CHEAP = 1_000_000, 30_000_000
"""Networks of at most so many numbers and multiply-accumulates are compared in float64 at once."""


class NotEqual(TuiPruneError):
    """The cut network isn't equal to the masked original."""


@dataclass(frozen=True, eq=False)
class Verification:
    """How a cut module compares with the masked original."""

    kind: Literal["exact", "structural"]
    """`exact`: equal in numbers. `structural`: the replay proves it, but an operator has no masked reference."""
    max_error: float
    """Relative, over all outputs."""
    moved: float
    """How far the mask alone moves the output (relative): near 0 the comparison shows nothing."""
    operators: tuple[str, ...]
    """The operators without a reference."""
    outputs: tuple[Tensor, ...]
    """What the masked original puts out, cut to the channels that stay; none where rounding in the network's own number
    format hides it."""
    precision: torch.dtype
    """The number format that was compared in."""
    seconds: float

    @property
    def is_shown(self) -> bool:
        """Whether equal numbers show something here."""
        return self.kind == "exact" and not self.operators and self.moved >= TELLING


def verify(
    model: nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    plan: Plan,
    cut_module: CutModule,
    cuts: Repeated | None = None,
) -> Verification:
    """Compare the cut module with the masked original on the example input.

    Where the mask hardly moves the output (a head that starts at zero, a detector that finds nothing), equal outputs
    show nothing; then what each layer puts out on the way is compared as well. Networks in half precision are compared
    as float32 copies, where their code allows that, because their own rounding could hide an error.

    `cuts`: runs of the cut network, where there are such already.

    Raises `NotEqual` when they differ by more than the tolerance of the number format.
    """
    started = time.perf_counter()
    comparison = _Comparison.of(model, inputs, kwargs, plan, cut_module)
    comparison = comparison if cuts is None else replace(comparison, cuts=cuts)
    used, found = comparison.in_format(_HALF, torch.float32) or (comparison, comparison.of_outputs())
    if used is comparison and found.max_error > _tolerance(found) and not found.operators:
        # Rounding may turn round which of two near scores a detector takes first; a wrong cut is as wrong in float64.
        used, found = comparison.in_format((torch.float32,), torch.float64) or (used, found)
    if used is not comparison:
        own = comparison.of_outputs(moving=False)
        found = replace(found, outputs=() if own.max_error > _tolerance(own) else own.outputs)
    _check(found)
    if not plan.keep.all():
        told = comparison.on_telling_weights(moving=found.moved < TELLING)
        if told is not None:
            _check(told)
        if told is not None and told.is_shown and not found.is_shown:
            found = replace(found, moved=told.moved)
        if found.moved < TELLING:
            found = used.of_layers(found)
            _check(found)
    kind: Literal["exact", "structural"] = "structural" if found.max_error > _tolerance(found) else found.kind
    return replace(found, kind=kind, seconds=time.perf_counter() - started)


def is_equal_on(
    inputs: Sequence[Any], kwargs: Mapping[str, Any], model: nn.Module, plan: Plan, cut_module: CutModule
) -> bool:
    """Whether the outputs for other inputs are those of the masked original, as far as a mask can tell.

    Raises `TuiPruneError` where one of both doesn't run.
    """
    found = _Comparison.of(model, inputs, kwargs, plan, cut_module).of_outputs(moving=False)
    return not isinf(found.max_error) and (found.max_error <= _tolerance(found) or bool(found.operators))


def _tolerance(found: Verification) -> float:
    return TOLERANCES.get(found.precision, 1e-4)


def _check(found: Verification) -> None:
    """Raise `NotEqual` where an error is more than rounding, and no operator without a reference explains it."""
    if isinf(found.max_error) or (found.max_error > _tolerance(found) and not found.operators):
        raise NotEqual(
            f"The cut network differs from the masked original by {found.max_error:.1e} "
            f"(at most {_tolerance(found):.0e} is rounding)."
        )


class _Masked(NamedTuple):
    """A run of the masked original."""

    outputs: list[Tensor]
    kept: list[Tensor]
    """What stays of them."""
    masks: list[dict[Dims, Tensor]]
    """By which that is told."""
    tracer: MaskedTracer
    """Of the first such run."""
    formats: set[torch.dtype]


@dataclass(eq=False)
class _Seen:
    """The first run of the masked original."""

    run: _Masked | None = None


@dataclass(frozen=True, eq=False)
class _Comparison:
    model: nn.Module
    inputs: Sequence[Any]
    kwargs: Mapping[str, Any]
    plan: Plan
    cut: CutModule
    originals: Repeated
    """Runs of the original."""
    cuts: Repeated
    """Runs of the cut network."""
    seen: "_Seen" = field(default_factory=lambda: _Seen())

    @classmethod
    def of(
        cls, model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], plan: Plan, cut: CutModule
    ) -> "_Comparison":
        originals, cuts = (Repeated(network, plan.graph.record.written) for network in (model, cut.module))
        return cls(model, inputs, kwargs, plan, cut, originals, cuts)

    def in_format(
        self, formats: Collection[torch.dtype], precise: torch.dtype
    ) -> tuple["_Comparison", Verification] | None:
        """The same of copies in a more precise number format; None where nothing has one of `formats`, or where the
        code won't run so."""
        record = self.plan.graph.record
        tensors = [(module, named_tensors(module, record)) for module in (self.model, self.cut.module)]
        tensors[1][1].update(self.cut.kernels.scaled)
        if not any(tensor.dtype in formats for tensor in tensors[0][1].values()):
            return None
        try:
            copies = [
                with_tensors(module, {n: widened(t.detach(), formats, precise) for n, t in own.items()}, record)
                for module, own in tensors
            ]
            other = self._of(copies, formats, precise)
            return other, other.of_outputs()
        except (TuiPruneError, RuntimeError):  # it asks for its own number format, or there isn't room for the copies
            return None

    def _of(self, copies: Sequence[nn.Module], formats: Collection[torch.dtype], precise: torch.dtype) -> "_Comparison":
        original, cut = copies
        inputs, kwargs = self._inputs_in(formats, precise)
        return self.of(original, inputs, kwargs, self.plan, replace(self.cut, module=cut))

    def _inputs_in(self, formats: Collection[torch.dtype], precise: torch.dtype) -> Any:
        return map_tensors((tuple(self.inputs), dict(self.kwargs)), lambda tensor: widened(tensor, formats, precise))

    def on_telling_weights(self, *, moving: bool) -> Verification | None:
        """The same with other weights (`telling.py`); None where the network doesn't run with them. Small networks are
        compared in float64, others where float32 shows a difference.

        With `moving`, also how far the mask moves what is put out, by the outputs or the layers.
        """
        formats = [torch.float64, torch.float32] if self._is_small else [torch.float32, torch.float64]
        if self.cut.kernels.scaled:  # in float32
            formats.remove(torch.float64)
        found = None
        for precise in formats:
            found = self._on_telling_weights(precise, moving) or found
            if found is not None and (found.precision == torch.float64 or found.max_error <= _tolerance(found)):
                break
        return found

    @property
    def _is_small(self) -> bool:
        size = sum(prod(shape) for shape in self.plan.graph.record.shapes.values())
        return size <= _SMALL and self.plan.before.macs <= _CHEAP

    def _on_telling_weights(self, precise: torch.dtype, moving: bool) -> Verification | None:
        formats = (*_HALF, torch.float32)
        try:
            values = telling_values(self.model, self.plan, self.cut, precise)
            inputs, kwargs = self._inputs_in(formats, precise)
            other = replace(self, inputs=inputs, kwargs=kwargs)
            with self.originals.holding(values.original), self.cuts.holding(values.cut):
                found = other.of_outputs(moving=moving)
            if moving and found.moved < TELLING:
                record = self.plan.graph.record
                pairs = (self.model, values.original), (self.cut.module, values.cut)
                copies = [with_tensors(module, own, record) for module, own in pairs]
                found = self._of(copies, formats, precise).of_layers(found)
        except (TuiPruneError, RuntimeError):  # it asks for its own number format, or these weights lead to NaN
            return None
        return found if isfinite(found.max_error) or not self.plan.graph.record.reads_values else None

    @property
    def _kept_slots(self) -> Tensor:
        return torch.from_numpy(self.plan.keep[self.plan.graph.classes.channel])

    def _run(self, network: Repeated) -> list[Tensor]:
        with network.untouched() as twin:
            return [tensor.detach() for tensor in _numbers(run(twin, self.inputs, self.kwargs))]

    def _run_traced(self, network: Repeated, tracer: Callable[[nn.Module], T]) -> tuple[list[Tensor], T]:
        """The outputs, and the tracer, which is made for what is run."""
        with network.untouched() as twin:
            running = tracer(twin)
            return _numbers(run(twin, self.inputs, self.kwargs, running)), running

    def _run_masked(self, choices: SameChoices | None) -> "_Masked":
        """A run of the masked original. Where it has run so before, on other weights, it is masked in the same way."""
        seen = self.seen.run
        if seen is not None and choices is None and not seen.tracer.reads_values:
            again = MaskedAgain(seen.tracer.steps)
            with self.originals.untouched() as twin:
                outputs = _numbers(run(twin, self.inputs, self.kwargs, again))
            if not again.differs and len(outputs) == len(seen.outputs):
                kept = [kept_of(tensor, masks) for tensor, masks in zip(outputs, seen.masks, strict=True)]
                return _Masked(outputs, kept, seen.masks, seen.tracer, again.formats)
        record, sources = self.plan.graph.record, self.cut.kernels.sources
        outputs, tracer = self._run_traced(
            self.originals, lambda twin: MaskedTracer(twin, self._kept_slots, record, sources, choices)
        )
        masks = [tracer.cut(tensor) for tensor in outputs]
        outputs = [tensor.detach() for tensor in outputs]
        kept = [kept_of(tensor, own) for tensor, own in zip(outputs, masks, strict=True)]
        found = self.seen.run = _Masked(outputs, kept, masks, tracer, tracer.formats)
        return found

    def of_outputs(self, *, moving: bool = True) -> Verification:
        """Outputs of the cut module, of the masked original, and of the original without a mask, where it is asked how
        far that moves them."""
        plain = self._run(self.originals) if moving else []
        noted = Choices() if picks_positions(self.plan.graph.record) else None
        with noted or nullcontext():
            outputs = self._run(self.cuts)
        masked = self._run_masked(None if noted is None else SameChoices(noted.made))
        reference = masked.kept
        if any(bool(tensor.isnan().any()) for tensor in (*plain, *reference)):
            raise TuiPruneError(
                "The model puts out NaN on the example input, so a cut can't be verified. "
                "Repair its weights, or give it another input.",
                remedies=[Remedy.INPUT],
            )
        operators = tuple(sorted(masked.tracer.without_reference))
        if [t.shape for t in outputs] != [t.shape for t in reference]:
            return Verification("exact", float("inf"), 0.0, operators, tuple(reference), torch.float32, 0.0)
        error = max(map(relative_error, outputs, reference), default=0.0)
        comparable = [(a, b) for a, b in zip(masked.outputs, plain, strict=False) if a.shape == b.shape]
        moved = max((relative_error(a, b) for a, b in comparable), default=0.0)
        precision = _coarsest({*masked.formats, *(tensor.dtype for tensor in reference)})
        return Verification("exact", error, moved, operators, tuple(reference), precision, 0.0)

    def of_layers(self, outputs: Verification) -> Verification:
        """The same for what each layer puts out, in order, as far as both run the same layers on as many values.

        What is cut may be dead already, so in the original it gets random numbers first: they mustn't show.
        """
        record = self.plan.graph.record
        original = with_tensors(self.model, self._stirred(), record)
        everything = torch.ones(max(record.size, Tracer(self.cut.module).record.size), dtype=torch.bool)
        runs = (
            (original, lambda twin: Digests(twin, self._kept_slots, record, self.cut.kernels.sources, masking=False)),
            (original, lambda twin: Digests(twin, self._kept_slots, record, self.cut.kernels.sources, masking=True)),
            (self.cut.module, lambda twin: Digests(twin, everything, record, masking=False)),
        )
        written = self.plan.graph.record.written
        plain, masked, cut = (self._run_traced(Repeated(model, written), tracer)[1].digests for model, tracer in runs)
        same = [a.shape == b.shape for a, b in zip(cut, masked, strict=False)]
        steps = same.index(False) if False in same else len(same)
        error = max(map(relative_error, cut[:steps], masked[:steps]), default=0.0)
        moved = max(
            (relative_error(a, b) for a, b in zip(masked, plain, strict=False) if a.shape == b.shape), default=0.0
        )
        whole = steps == len(masked) == len(cut)
        told = moved >= TELLING and (whole or outputs.max_error == 0.0)
        return replace(
            outputs,
            kind="exact" if told else "structural",
            max_error=max(error, outputs.max_error if whole else 0.0),
            moved=moved,
            operators=outputs.operators if moved >= TELLING else ("no value depends on what is cut",),
        )

    def _stirred(self) -> dict[str, Tensor]:
        """The original's tensors, with random numbers in parameters at the places of everything that is cut."""
        graph, generator = self.plan.graph, torch.Generator().manual_seed(0)
        found = {}
        for name, tensor in named_tensors(self.model, graph.record).items():
            values = tensor.detach()
            gone = torch.zeros(values.shape, dtype=torch.bool)
            for axis in graph.record.axes_of(name):
                if axis.groups == 1:
                    mask = torch.from_numpy(~self.plan.keep[graph.classes.channel[axis.slots]])
                    gone |= spread(mask, (axis.dim,), values.shape)
            counts = name in graph.record.parameters and name not in self.cut.kernels.sources
            if counts and values.is_floating_point() and bool(gone.any()):
                fan_in = values[0].numel() if values.dim() > 1 else 1
                noise = torch.randn(values.shape, generator=generator) / fan_in**0.5
                values = torch.where(gone.to(values.device), noise.to(values), values)
            found[name] = values
        return found


def _numbers(outputs: Any) -> list[Tensor]:
    return [tensor for tensor in all_tensors_in(outputs) if tensor.is_floating_point() or tensor.is_complex()]


def relative_error(one: Tensor, other: Tensor) -> float:
    """The largest difference over the largest value of `other`; infinite where one is finite and the other isn't."""
    if not other.numel():
        return 0.0
    one, other = (_real(tensor.detach()).double() for tensor in (one, other))
    if bool((one.isfinite() != other.isfinite()).any()):
        return float("inf")
    difference = torch.where(one.isfinite(), (one - other).abs(), torch.zeros_like(one)).max()
    scale = torch.where(other.isfinite(), other.abs(), torch.zeros_like(other)).max()
    return float(difference / scale) if scale > 0 else float(difference)


def _coarsest(formats: set[torch.dtype]) -> torch.dtype:
    """The coarsest of the number formats that a network computes in."""
    return max((f for f in formats if f in TOLERANCES), key=TOLERANCES.__getitem__, default=torch.float32)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
