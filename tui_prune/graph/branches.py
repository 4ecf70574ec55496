"""Residual branches that can go whole: what is added to an unchanged input, and the modules that only make that.

One forward pass is written down as operators and what each of them reads. At an addition of two tensors of one shape,
one of them is the stream if the other is made from it, by operators that nothing else reads the results of. The modules
that run these operators, called by the module that adds, are what can go; that the network without them is the same as
with zeros added is tried (`surgery.shortening`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from tui_prune.copies.modules import named_modules
from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.model_code import running_place
from tui_prune.graph.nested import all_tensors_in, tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.trace import call, untouched

_ADDITIONS = frozenset({"aten::add", "aten::add_"})
_OUTPUT = -2


@dataclass(frozen=True)
class Branch:
    """What is added to a stream, and can go."""

    name: str
    """The module that adds it; of several in one module, with the last one that makes it: "blocks.0 (mlp)"."""
    modules: tuple[tuple[str, int], ...]
    """The modules that are removed, in the order of execution, each with the number of its results; 0 where it takes
    one tensor and gives one. The last one gives what is added."""
    layers: tuple[str, ...]
    """The layers with weights that go."""
    step: int
    """Number of the addition among the operators of a forward pass."""
    operand: int
    """Which of its operands is the branch."""
    where: str | None
    """The line that adds it."""


class _Operation(NamedTuple):
    name: str
    reads: tuple[int | tuple[str, int], ...]
    """The operations that made what it reads; what none made has a key of its own."""
    calls: tuple[int, ...]
    """The calls of modules that it runs in, outermost first."""
    adds: bool
    """Whether it adds two tensors of one shape, and nothing is scaled."""
    where: str | None


@dataclass
class _Called:
    module: nn.Module
    results: int = 0
    takes_tensor: bool = False
    plain: bool = False
    """Whether it takes one tensor and gives one."""


def find_branches(
    model: nn.Module, record: TraceRecord, inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Branch, ...]:
    """The residual branches of a traced network whose shortcut is an identity, in the order of execution."""
    with untouched(model, record.written) as twin:
        pass_of = _Pass(twin)
        with pass_of.watching():
            outputs = call(twin, inputs, kwargs)
        return tuple(_Finder(pass_of, outputs, record).branches())


class _Pass(OperatorMode):
    """Writes down a forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names: dict[int, list[str]] = {}
        for name, module in named_modules(model):
            self.names.setdefault(id(module), []).append(name)
        self.operations: list[_Operation] = []
        self.called: list[_Called] = []
        self.made: dict[int, int] = {}
        """By identity of a tensor, the operation that made what is in it."""
        self._alive: list[Tensor] = []
        self._stack: list[int] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = global_hooks.register_module_forward_pre_hook(self._enter)
        after = global_hooks.register_module_forward_hook(self._leave, with_kwargs=True)
        try:
            with self:
                yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if id(module) in self.names:
            self._stack.append(len(self.called))
            self.called.append(_Called(module, takes_tensor=bool(args) and isinstance(args[0], Tensor)))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self._stack and self.called[self._stack[-1]].module is module:
            called = self.called[self._stack.pop()]
            several = isinstance(result, (tuple, list)) and len(result) > 0
            first = result[0] if several else result
            called.results = (len(result) if several else 1) if isinstance(first, Tensor) else 0
            called.plain = len(args) == 1 and not kwargs and not several

    def key_of(self, tensor: Tensor) -> int | tuple[str, int]:
        return self.made.get(id(tensor), ("given", id(tensor)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = list(tensors_in((args, kwargs)))
        reads = tuple(map(self.key_of, tensors))
        out = func(*args, **kwargs)
        name = func._schema.name
        adds = name in _ADDITIONS and len(tensors) == 2 and kwargs.get("alpha", 1) == 1
        adds = adds and tensors[0].shape == tensors[1].shape and tensors[0].is_floating_point()
        place = running_place() if adds else None
        where = str(place.shown) if place else None
        number = len(self.operations)
        self.operations.append(_Operation(name, reads, tuple(self._stack), adds, where))
        for tensor in (*tensors, *tensors_in((out,))):
            self._alive.append(tensor)
        for tensor in tensors_in((out,)):
            self.made[id(tensor)] = number
        return out


class _Finder:
    def __init__(self, seen: _Pass, outputs: Any, record: TraceRecord) -> None:
        self._seen, self._record = seen, record
        self._readers: dict[int | tuple[str, int], list[int]] = {}
        for number, operation in enumerate(seen.operations):
            for key in operation.reads:
                self._readers.setdefault(key, []).append(number)
        for tensor in all_tensors_in(outputs):
            self._readers.setdefault(seen.key_of(tensor), []).append(_OUTPUT)
        self._calls_of: dict[int, int] = {}
        for called in seen.called:
            self._calls_of[id(called.module)] = self._calls_of.get(id(called.module), 0) + 1

    def branches(self) -> list[Branch]:
        found = []
        for number, operation in enumerate(self._seen.operations):
            if operation.adds and operation.calls:
                for operand in (1, 0):
                    branch = self._branch(number, operand)
                    if branch is not None:
                        found.append(branch)
                        break
        several = {b.name for b in found if sum(other.name == b.name for other in found) > 1}
        return [_with_last(branch) if branch.name in several else branch for branch in found]

    def _branch(self, number: int, operand: int) -> Branch | None:
        """The branch that an operand of an addition is, where the other one is the stream."""
        operation = self._seen.operations[number]
        stream, end = operation.reads[1 - operand], operation.reads[operand]
        if not isinstance(end, int) or end == stream:
            return None
        inside = self._between(stream, end, operation.calls[-1])
        starts = any(stream in self._seen.operations[n].reads for n in inside)
        reading = {reader for n in inside for reader in self._readers.get(n, ())}
        if not starts or not reading <= inside | {number}:
            return None
        modules = self._modules(inside, number, len(operation.calls))
        if not modules:
            return None
        names = tuple(self._seen.names[id(self._seen.called[c].module)][0] for c in modules)
        results = tuple(0 if self._seen.called[c].plain else self._seen.called[c].results for c in modules)
        layers = tuple(
            layer
            for layer in self._record.layers
            if any(layer == name or layer.startswith(f"{name}.") for name in names)
        )
        adder = self._seen.names[id(self._seen.called[operation.calls[-1]].module)][0]
        if not any(self._record.layers[layer].producer for layer in layers):
            return None
        return Branch(
            adder or type(self._seen.called[0].module).__name__,
            tuple(zip(names, results, strict=True)),
            layers,
            number,
            operand,
            operation.where,
        )

    def _between(self, stream: int | tuple[str, int], end: int, adder: int) -> set[int]:
        """The operations that run in a call of a module and lead from the stream to what is added."""
        found, left = set[int](), [end]
        while left:
            n = left.pop()
            if n in found or n == stream or adder not in self._seen.operations[n].calls:
                continue
            found.add(n)
            left.extend(key for key in self._seen.operations[n].reads if isinstance(key, int))
        return found

    def _modules(self, inside: set[int], number: int, depth: int) -> list[int]:
        """The calls, right below the module that adds, that run these operations and nothing else that is read; empty
        where one of them can't go."""
        found = dict.fromkeys(
            self._seen.operations[n].calls[depth] for n in sorted(inside) if len(self._seen.operations[n].calls) > depth
        )
        going = []
        for own in found:
            called = self._seen.called[own]
            bare = next(called.module.parameters(), None) is None
            alone = all(
                self._calls_of[id(part)] == 1 and len(self._seen.names.get(id(part), ())) == 1
                for part in called.module.modules()
                if id(part) in self._calls_of
            )
            if bare and not alone:
                continue  # an activation that is used elsewhere as well may stay
            runs = {n for n, operation in enumerate(self._seen.operations) if own in operation.calls}
            read = {reader for n in runs for reader in self._readers.get(n, ())} - runs
            if not alone or not called.results or not called.takes_tensor or not read <= inside | {number}:
                return []
            going.append(own)
        return going


def _with_last(branch: Branch) -> Branch:
    last = branch.modules[-1][0].rpartition(".")[2]
    return Branch(f"{branch.name} ({last})", branch.modules, branch.layers, branch.step, branch.operand, branch.where)


class Zeroed(OperatorMode):
    """Runs a network with zeros in the place of what its branches add."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        super().__init__()
        self._operands = {branch.step: branch.operand for branch in branches}
        self._step = -1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._step += 1
        operand = self._operands.get(self._step)
        if operand is not None:
            if operand == 0 and func._schema.is_mutable:
                args[0].zero_()
            else:
                args = [torch.zeros_like(arg) if n == operand else arg for n, arg in enumerate(args)]
        return func(*args, **(kwargs or {}))
