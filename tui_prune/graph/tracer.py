"""The dispatch mode that runs beside a forward pass and carries labels through every operator."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.constants import alike_after
from tui_prune.graph.derived import Derived, DerivedUse, derive
from tui_prune.graph.hollow import HollowPass, written_by
from tui_prune.graph.labelling import Labelling
from tui_prune.graph.labels import compact
from tui_prune.graph.nested import named_tensors_in, tensors_in
from tui_prune.graph.operators import Operator, look_up
from tui_prune.graph.overwritten import Overwritten
from tui_prune.graph.record import (
    MODEL_OUTPUT,
    LayerUse,
    Lock,
    LockKind,
    Made,
    Tie,
    TracedCall,
    TraceRecord,
    owner_of,
    positions_are,
)
from tui_prune.graph.registry import Call, NotUnderstood, Rule

_MASKS = (torch.bool, torch.uint8)


class Stopped(Exception):
    """The forward pass has come to the step after which the tracer was told to stop: its traceback says where."""


_aten = torch.ops.aten
_PASSING_ON = frozenset({"clone", "_to_copy", "_unsafe_view", "_reshape_copy"})
"""Operators whose result holds the same sums, beside views."""
_HANDING_ON = frozenset((_aten.detach, _aten.alias, _aten.clone, _aten._to_copy))
"""Operators by which a network's weights go into another network, where one is copied in the forward pass."""


class Tracer(Labelling):
    """Follows labels through every operator of a forward pass.

    Use as a context around the forward pass, then call `finish` with what it returned. `record` holds the result.
    """

    def __init__(self, model: nn.Module, *, hollow: bool = False, stop_after: int | None = None) -> None:
        """With `hollow`, costly operators compute nothing (`hollow.py`). `stop_after`: see `Stopped`."""
        super().__init__(model, hollow=hollow)
        self._stop_after = stop_after
        self.failed: list[Tensor] = []
        """The slots that the tensors of a failing operator carried."""
        self.hollow = HollowPass(self._carried) if hollow else None
        self._resolved: dict[Any, Operator] = {}
        self._reached: set[str] = set()
        self.overwritten = Overwritten(model)

    def _settle_ties(self) -> None:
        """Slots that are tied to a fixed label are locked; what stays in the ties are pairs of slots."""
        ties, self.record.ties = self.record.ties, []
        if ties:
            lowest = torch.cat([side for tie in ties for side in tie[:2]])
            if not bool((lowest < 0).any()):
                self.record.ties = ties
                return
        for left, right, why, where in ties:
            if bool((left < 0).any()) or bool((right < 0).any()):
                self._lock_partners(left, right)
                self._lock_partners(right, left)
                both = (left >= 0) & (right >= 0)
                left, right = left[both], right[both]
            self.record.ties.append(Tie(left, right, why, where))

    def _lock_partners(self, fixed: Tensor, ids: Tensor) -> None:
        for code in torch.unique(fixed[(fixed < 0) & (ids >= 0)]).tolist():
            self.record.locked.append((ids[(fixed == code) & (ids >= 0)], -1 - code))

    def __enter__(self) -> "Tracer":
        if self.hollow is not None:
            self.hollow.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self.hollow is not None:
            self.hollow.__exit__(*error)

    def _out_of_inference_mode(self, func: Any, args: Any, kwargs: Any) -> Any:
        """In inference mode operators come here before PyTorch takes them apart: run it once more, outside of that."""
        with torch.inference_mode(False), torch.no_grad():
            super().__enter__()
            try:
                return func(*args, **kwargs)
            finally:
                super().__exit__(None, None, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():
            return self._out_of_inference_mode(func, args, kwargs)
        tensors = tensors_of(args, kwargs)
        labelled = named = from_input = hollow = positions = alike = contracted = computed = False
        derived: list[tuple[Tensor, Derived]] = []
        for tensor in tensors:
            entry = self._carried.get(id(tensor))
            if entry is not None:
                if entry.derived is not None:
                    derived.append((tensor, entry.derived))
                labelled = labelled or bool(entry.labels)
                from_input = from_input or entry.is_input
                hollow = hollow or entry.hollow
                positions = positions or entry.positions is not None
                alike = alike or bool(entry.alike)
                contracted = contracted or entry.contracted is not None
                computed = computed or entry.computed
                if entry.name is not None:
                    named = True
                    self._reached.add(entry.name)
        if (named or labelled) and func.overloadpacket not in _HANDING_ON:
            self.record.runs_layers = True
        known = self._resolved.get(func)
        if known is None:
            known = self._resolved[func] = look_up(func)
        if func._schema.is_mutable:  # `weight.data` is a tensor of its own, without labels
            self.overwritten.keep(func, args)
        try:
            if self.hollow is None:
                out = self.compute(func, args, kwargs, tensors if labelled else ())
            else:
                out = self.hollow.compute(func, args, kwargs, tensors if hollow else (), from_input)
        except Exception:  # passed on: what met in the failing call is needed to say which channels are to blame
            self.failed = [compact(label, dims) for t in tensors for dims, label in self.labels(t).items()]
            raise
        call = Call(func, args, kwargs, out)
        if positions:
            self._read_positions(call, known, tensors)
        follows = known.rule is not None and (labelled or (alike and known.joins))
        if known.rule is not None and follows:
            self._follow(call, known.rule, tensors)
        if alike or known.makes:
            self._follow_alike(call, known)
        if derived:
            self._follow_derived(call, derived, alone=len(derived) == len(tensors))
        scaled = contracted and self._scale_contracted(call, known, tensors)
        self.note_call(call, known, scaled or follows, tensors)
        self.count(call, known, tensors)
        if labelled or computed:
            for tensor in results_of(out):
                self._carried.note(tensor).computed = True
        if from_input and not labelled:
            for tensor in results_of(out):
                self._carried.note(tensor).is_input = True
        return out

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: Sequence[Tensor]) -> Any:
        """Run the operator itself. `labelled`: the tensors that it is given, where one of them carries labels."""
        return func(*args, **kwargs)

    def note_call(self, call: Call, operator: Operator, labelled: bool, tensors: list[Tensor]) -> None:
        """Note what a call was given and made, for the comparison with the pass of a cut network."""
        record = self.record
        results = (call.out,) if isinstance(call.out, Tensor) else tensors_in(call.out)
        made = tuple(Made(self.labels(tensor), tuple(tensor.shape), self._alike(tensor)) for tensor in results)
        numbers = tuple(call.arg(name) for name in operator.numbers)
        record.calls.append(TracedCall(call.func, numbers, labelled, made, len(record.blocks), len(record.grouped)))
        if operator.reads_values or (operator.indexes and any(t.dtype in _MASKS for t in tensors)):
            record.reads_values = True
        if self._stop_after == len(record.calls) - 1:
            self.failed = [compact(label, dims) for t in tensors for dims, label in self.labels(t).items()]
            raise Stopped

    def _follow(self, call: Call, rule: Rule, tensors: list[Tensor]) -> None:
        self._place = ()
        before = len(self.record.ties), len(self.record.locked), len(self.record.blocks)
        heads = len(self.record.head_rows)
        layers = len(self.record.layers)
        try:
            rule(self, call)
        except Exception as error:  # A rule that can't cope must never let a channel be cut wrongly.
            del self.record.ties[before[0] :], self.record.locked[before[1] :], self.record.blocks[before[2] :]
            del self.record.head_rows[heads:]
            why = f": {error}" if isinstance(error, NotUnderstood) else ""
            self.lock_all(tensors, f"operator {call.name} is used in a way that isn't understood{why}")
            for tensor in tensors_in((call.out,)):
                self._carried.forget(tensor)
        if len(self.record.layers) > layers and self.place is not None:
            for layer in islice(self.record.layers, layers, None):
                self.record.places[layer] = self.place.shown

    def _follow_derived(self, call: Call, derived: list[tuple[Tensor, Derived]], *, alone: bool) -> None:
        """Carry on how tensors are computed from parameters alone, or note where they are used."""
        uses = self.record.derived
        if call.func._schema.is_mutable:
            uses.direct.update(*(known.sources for _, known in derived))
            for tensor in written_by(call):
                for changed in (tensor, tensor._base):
                    entry = self._carried.get(id(changed))
                    if entry is not None:
                        entry.derived = None
        elif alone:
            for tensor, made in derive(call, derived):
                self._carried.note(tensor).derived = made
        else:
            for tensor, known in derived:
                if known.measured:
                    labels = {dims: compact(label, dims) for dims, label in self.labels(tensor).items()}
                    uses.measured.append(DerivedUse(known, labels))
                else:
                    uses.direct |= known.sources

    def _follow_alike(self, call: Call, operator: Operator) -> None:
        """Note along which dimensions all values of a result are the same."""
        if not isinstance(call.out, Tensor):
            self._follow_alike_parts(call, operator)
            return
        self._place = ()
        pointwise = torch.Tag.pointwise in call.func.tags
        alike = alike_after(call, self._carried, pointwise=pointwise, aliases=operator.aliases)
        entry = self._carried.note(call.out)
        if call.func._schema.is_mutable and call.out._base is not None:
            self._carried.note(call.out._base).alike = frozenset()
        elif alike and entry.made_at is None:
            entry.made_at = self.place.shown if self.place else None
        entry.alike = alike

    def _follow_alike_parts(self, call: Call, operator: Operator) -> None:
        """The parts that a tensor of equal values is taken apart into have the same values."""
        source = call.args[0] if call.args and isinstance(call.args[0], Tensor) else None
        if not operator.aliases or source is None or len(self._alike(source)) < source.dim():
            return
        for part in tensors_in((call.out,)):
            entry = self._carried.note(part)
            entry.alike, entry.made_at = frozenset(range(part.dim())), self._carried.note(source).made_at

    def _read_positions(self, call: Call, operator: Operator, tensors: list[Tensor]) -> None:
        """Positions among channels mean others once channels go: an operator that reads some locks those channels."""
        self._place = ()
        for tensor in tensors:
            entry = self._carried.get(id(tensor))
            if entry is None or entry.positions is None:
                continue
            if operator.aliases and not call.func._schema.is_mutable:
                for view in tensors_in((call.out,)):
                    self._carried.note(view).positions = entry.positions
            else:
                self.lock(entry.positions.ids, positions_are(entry.positions.operator, f"read by {call.name}"))
                entry.positions = None

    def _scale_contracted(self, call: Call, operator: Operator, tensors: list[Tensor]) -> bool:
        """Note where a sum of products (the scores of attention) is multiplied with a number, as if its first factor
        were; gives whether it is."""
        found = [tensor for tensor in tensors if getattr(self._carried.get(id(tensor)), "contracted", None) is not None]
        contracted = self._carried.note(found[0]).contracted
        name = call.name.rstrip("_")
        if len(found) > 1 or contracted is None or not isinstance(call.out, Tensor):
            return False
        factor = self.factor_of(call, found[0])
        if factor is not None:
            self.scale(contracted.slots, abs(factor) ** 0.5 if contracted.squared else factor)
        elif not operator.aliases and name not in _PASSING_ON:
            return False
        self._carried.note(call.out).contracted = contracted
        return factor is not None

    def count(self, call: Call, operator: Operator, tensors: list[Tensor]) -> None:
        """Note what a call costs; here nothing."""

    # The end of the forward pass.

    def finish(self, outputs: Any) -> TraceRecord:
        """Lock what leaves the model, settle the ties and return the record."""
        self._settle_ties()
        for name, tensor in named_tensors_in(outputs):
            entry = self._carried.get(id(tensor))
            if entry is not None and entry.positions is not None:
                self.lock(entry.positions.ids, positions_are(entry.positions.operator, "put out by the model"))
            for dims, label in self.labels(tensor).items():
                self.record.locks.append(Lock(MODEL_OUTPUT, outputs=(name,) if name else (), kind=LockKind.OUTPUT))
                self.record.locked.append((self._each_once(compact(label, dims)), len(self.record.locks) - 1))
        self.record.eval_calls = self.record.eval_calls or len(self.record.calls)
        self._note_other_layers()
        reached = {owner_of(name) for name in self._reached}
        names = {owner_of(name) for name in self.record.shapes if name in self.record.parameters}
        self.record.unreached = tuple(sorted(names - reached))
        return self.record

    def _note_other_layers(self) -> None:
        """Modules with parameters that no rule has named, so that every parameter belongs to a layer."""
        for name in self.record.shapes:
            layer = owner_of(name)
            if layer in self.record.layers or name not in self.record.parameters:
                continue
            shape = self.record.shapes[name]
            axis = next((axis for axis in self.record.axes_of(name) if axis.groups == 1), None)
            slots = None if axis is None else torch.arange(axis.first, axis.first + axis.size)
            width = axis.size if axis is not None else int(torch.Size(shape).numel())
            module = self._modules.get(layer)
            kind = "parameter" if module is None else type(module).__name__
            self.record.layers[layer] = LayerUse(layer, kind, slots, slots, width, width, False)


def results_of(out: Any) -> Iterable[Tensor]:
    """The tensors that an operator puts out."""
    return (out,) if isinstance(out, Tensor) else tensors_in(out)


def tensors_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operator is given: in no operator's schema do lists lie in lists."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend([item for item in value if isinstance(item, Tensor)])
    return found
