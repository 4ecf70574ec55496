"""Kept sizes that no run of the network reads: set where number and place leave no doubt.

A size may be read only on another path: an export, a network that is built around this one. No trial can show it. So a
number that no trial reads, and that is the length of one of the module's own axes and of no other, is set with the
axis. Where a class has other methods that do what its `forward` does, these are run as well, and decide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from tui_prune.archives.origin import Edit, Path
from tui_prune.graph.functions import FunctionsOf, other_paths
from tui_prune.loading.places import number_places, set_number, shared_containers
from tui_prune.planning.plan import Plan
from tui_prune.surgery.attributes import own_sizes
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.cut import CutModule
from tui_prune.surgery.other_runs import OtherRun, larger_inputs, names_that_are_read, training_runs
from tui_prune.surgery.sizes import SizesOf
from tui_prune.surgery.verify import relative_error

Outcome = tuple[tuple[str, int], ...]
"""What a number becomes: by module."""
_READING_ANY = frozenset({"getattr", "vars", "__dict__", "__getattribute__", "attrgetter"})
_EQUAL = 1e-5
_METHODS = 8
"""The most methods other than `forward` that are tried."""


@dataclass(frozen=True)
class UnreadSizes:
    """What was set, and what may be a size and stays as it is."""

    edits: tuple[Edit, ...]
    doubtful: tuple[str, ...]
    """Places of numbers that other methods than `forward` read."""


@dataclass(frozen=True, eq=False)
class _Number:
    """A number that the modules of a class keep at one place."""

    kind: type[nn.Module]
    attribute: str
    path: Path
    values: dict[str, int]
    """By module."""
    outcomes: tuple[Outcome, ...]
    """What a cut may make of it, where it is a size that the cut changes."""
    may_stay: bool
    """Whether it may also be a size that the cut leaves alone."""

    @property
    def names(self) -> frozenset[str]:
        """What code that reads it names."""
        return frozenset({self.attribute, *(step for step in self.path if isinstance(step, str))})

    def edits(self, outcome: Outcome) -> tuple[Edit, ...]:
        return tuple(Edit(module, self.attribute, after, self.path) for module, after in outcome)


def set_unread_sizes(model: nn.Module, inputs: Sequence[Any], kwargs: Any, plan: Plan, made: CutModule) -> UnreadSizes:
    """Set kept sizes of a cut network that its runs don't read."""
    return _Setting(model, (tuple(inputs), dict(kwargs)), plan, made).done()


class _Setting:
    def __init__(self, model: nn.Module, arguments: Any, plan: Plan, made: CutModule) -> None:
        self._model, self._arguments, self._plan, self._made = model, arguments, plan, made
        self._parts = dict(made.module.named_modules())

    def done(self) -> UnreadSizes:
        numbers = self._unread(list(self._numbers()))
        chosen = {n: n.outcomes[0] for n in numbers if len(n.outcomes) == 1 and not n.may_stay}
        self._settle_by_methods(numbers, chosen)
        edits = tuple(edit for number, outcome in chosen.items() for edit in number.edits(outcome))
        for edit in edits:
            set_number(self._parts[edit.module], edit.attribute, edit.path, edit.value)
        doubtful = tuple(
            Edit(next(iter(number.values)), number.attribute, 0, number.path).place
            for number in numbers
            if number not in chosen and self._is_read_elsewhere(number)
        )
        return UnreadSizes(edits, doubtful)

    # Which numbers there are.

    def _numbers(self) -> Iterator[_Number]:
        """The numbers that may be sizes of what is cut, without those that trials have settled already."""
        sizes, shared = SizesOf(self._plan), shared_containers(self._made.module)
        settled = {repair.place for repair in self._plan.graph.findings.repairs}
        by_kind: dict[type[nn.Module], dict[str, nn.Module]] = {}
        for name, module in self._parts.items():
            by_kind.setdefault(type(module), {})[name] = module
        for kind, modules in by_kind.items():
            kept: dict[tuple[str, Path], dict[str, int]] = {}
            for name, module in modules.items():
                known = own_sizes(module) | module._buffers.keys()
                for attribute, path, value in number_places(module):
                    is_shared = id(vars(module).get(attribute)) in shared
                    if value > 1 and attribute not in known and not is_shared and not _is_tensor(module, attribute):
                        kept.setdefault((attribute, path), {})[name] = value
            for (attribute, path), values in kept.items():
                if not any((name, attribute, path) in settled for name in values):
                    number = _number_of(sizes, kind, attribute, path, values)
                    if number is not None:
                        yield number

    def _unread(self, numbers: list[_Number]) -> list[_Number]:
        """The numbers that no run reads: the others are right for what has been tried."""
        reached = self._functions.names_from("forward", "__call__")
        # Code that computes the names of attributes may read any.
        suspects = [number for number in numbers if number.names & reached or reached & _READING_ANY]
        if not suspects:
            return numbers
        kinds = {number.kind for number in suspects}
        read: set[tuple[type[nn.Module], str]] = set()
        inputs, kwargs = self._arguments
        for run in (OtherRun(self._arguments), *training_runs(inputs, kwargs), *larger_inputs(inputs, kwargs)):
            read |= names_that_are_read(self._made.module, kinds, run)
        return [number for number in numbers if (number.kind, number.attribute) not in read]

    @cached_property
    def _functions(self) -> FunctionsOf:
        return FunctionsOf(type(module) for module in self._parts.values())

    def _is_read_elsewhere(self, number: _Number) -> bool:
        """Whether methods of its own class read it that construction doesn't need."""
        own = FunctionsOf([number.kind])
        built = own.names_from("__init__", "__new__", "reset_parameters", "extra_repr", "__repr__")
        return any(name not in built and number.attribute in own.names_of(name) for name in own.names)

    # What other methods show.

    def _settle_by_methods(self, numbers: list[_Number], chosen: dict[_Number, Outcome]) -> None:
        """Choose otherwise where another method that does what `forward` does shows that it has to be."""
        for kind in dict.fromkeys(number.kind for number in numbers):
            own = FunctionsOf([kind])
            for method in [name for name, _ in other_paths(kind)][:_METHODS]:
                read = own.names_from(method)
                mine = [number for number in numbers if number.kind is kind and number.names & read]
                run = OtherRun(self._arguments, method=(kind, method))
                if mine and self._does_the_same(self._copy, run) and not self._does_with(chosen, run):
                    self._try_others(mine, chosen, run)

    def _try_others(self, mine: list[_Number], chosen: dict[_Number, Outcome], run: OtherRun) -> None:
        for number in mine:
            for outcome in (*number.outcomes, None):
                trial = {n: o for n, o in {**chosen, number: outcome}.items() if o is not None}
                if self._does_with(trial, run):
                    chosen.clear()
                    chosen.update(trial)
                    return

    def _does_with(self, chosen: dict[_Number, Outcome], run: OtherRun) -> bool:
        """Whether the cut network with these sizes does the same by another method."""
        changed = [(n, name, after) for n, outcome in chosen.items() for name, after in outcome]
        for number, name, after in changed:
            set_number(self._parts[name], number.attribute, number.path, after)
        try:
            return self._does_the_same(self._made.module, run)
        finally:
            for number, name, _ in changed:
                set_number(self._parts[name], number.attribute, number.path, number.values[name])

    def _does_the_same(self, model: nn.Module, run: OtherRun) -> bool:
        usual, other = OtherRun(self._arguments).outputs(model), run.outputs(model)
        return usual is not None and other is not None and _are_equal(usual, other)

    @cached_property
    def _copy(self) -> nn.Module:
        record = self._plan.graph.record
        return with_tensors(self._model, {n: t.detach() for n, t in named_tensors(self._model, record).items()}, record)


def _number_of(
    sizes: SizesOf, kind: type[nn.Module], attribute: str, path: Path, values: dict[str, int]
) -> _Number | None:
    """A number with what it may become; None where it isn't a size in all modules that keep it.

    What it is a size of has the same name in all modules of the class, where there is such a one.
    """
    matches: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
    for name, value in values.items():
        prefix = len(name) + 1 if name else 0
        matches[name] = {
            (axis.tensor[prefix:], axis.dim): (axis.size, left) for _, axis, left in sizes.fitting_near(name, value)
        }
    common = set.intersection(*(set(own) for own in matches.values()))
    if not all(matches.values()):
        return None
    outcomes: dict[Outcome, None] = {}
    may_stay = False
    rows = [{name: own[role] for name, own in matches.items()} for role in sorted(common)]
    if not rows:  # the modules are built unlike each other: what is certain in each is certain
        if any(len(set(own.values())) > 1 for own in matches.values()):
            return None
        rows = [{name: next(iter(own.values())) for name, own in matches.items()}]
    for row in rows:
        after = {name: values[name] * left / size for name, (size, left) in row.items()}
        outcome = tuple((name, int(n)) for name, n in after.items() if n != values[name])
        if outcome and all(n == int(n) > 0 for n in after.values()):
            outcomes[outcome] = None
        else:
            may_stay = True
    return _Number(kind, attribute, path, values, tuple(outcomes), may_stay) if outcomes else None


def _is_tensor(module: nn.Module, attribute: str) -> bool:
    return isinstance(vars(module).get(attribute), Tensor)


def _are_equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return [t.shape for t in one] == [t.shape for t in other] and all(
        relative_error(a, b) <= _EQUAL for a, b in zip(one, other, strict=True)
    )
