"""Searching for the kept sizes that have to shrink where the code of a cut network fails.

Which numbers the failing code reads narrows the choice; what is left is tried, the likeliest first. A repair that a
later failure shows to be wrong is taken back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from torch import nn

from tui_prune.graph.findings import Repair
from tui_prune.graph.functions import FunctionsOf, ReadNames, failing_reads, reads_at
from tui_prune.graph.record import Axis
from tui_prune.planning.plan import Plan
from tui_prune.surgery.cut import Misfit
from tui_prune.surgery.sizes import Fit, KeptSize, Option, SizesOf

TRIES = 10
"""The most choices of sizes that are tried for a failure in one module's code."""
FEW_TRIES = 3
"""As many where something else may be the reason."""
_OTHERS = 3
"""The most sizes that are tried for a number which several sizes could explain."""

Choice = dict[tuple[str, tuple[str | int, ...]], int]
"""Which option of each number of a module: place and position among its options."""


@dataclass(eq=False)
class _Failure:
    """A failure that was met, and what there still is to try against it."""

    misfit: Misfit
    repairs: tuple[Repair, ...]
    """Those that it was met with."""
    proposals: Iterator[tuple[Repair, ...]]
    best: "_Failure | None" = None
    """Where the best of what was tried has led, and nothing has helped any more."""


class Step(NamedTuple):
    """What to do about a misfit."""

    misfit: Misfit
    """The one that is to be settled: an earlier one where only what was tried against it has led to the last."""
    repairs: tuple[Repair, ...]
    """All that the next trial is to be made with."""
    trying: bool
    """Whether they are a proposal against the misfit. Otherwise nothing is left, and they are what was there before."""


class SizeSearch:
    """Proposes repairs for one misfit after the other, while a plan is being fitted.

    A proposal has helped where the next run goes right for longer. Where nothing more helps, the search goes back to
    earlier failures of the same module; at last the repairs that have led furthest stay.
    """

    def __init__(self) -> None:
        self._open: list[_Failure] = []

    def next(self, plan: Plan, misfit: Misfit, tries: int = TRIES) -> Step:
        """What to try against a misfit, or that nothing is left to be tried."""
        if not self._open or self._has_helped(misfit):
            repairs = plan.graph.findings.repairs
            self._open.append(_Failure(misfit, repairs, islice(_proposals(plan, misfit), tries)))
        while True:
            failure = self._open[-1]
            proposal = next(failure.proposals, None)
            if proposal is not None:
                return Step(failure.misfit, merged(failure.repairs, proposal), True)
            self._open.pop()
            end = failure.best or failure
            if not self._open or not _may_be_led_to(end, self._open[-1]):
                self._open.clear()
                return Step(end.misfit, end.repairs, False)
            earlier = self._open[-1]
            if earlier.best is None or earlier.best.misfit.reached < end.misfit.reached:
                earlier.best = end

    def _has_helped(self, misfit: Misfit) -> bool:
        failure = self._open[-1]
        return misfit.reached > max(f.misfit.reached for f in (failure, failure.best) if f is not None)


def _may_be_led_to(later: _Failure, earlier: _Failure) -> bool:
    """Whether what was tried against one failure may be the reason for another."""
    modules = later.misfit.modules
    tried = {repair.module for repair in set(later.repairs) - set(earlier.repairs)}
    return not modules or modules[0] == earlier.misfit.modules[0] or not tried.isdisjoint(modules)


def merged(repairs: Sequence[Repair], more: Sequence[Repair]) -> tuple[Repair, ...]:
    """Of two repairs of one place the later counts."""
    return tuple({repair.place: repair for repair in (*repairs, *more)}.values())


def _proposals(plan: Plan, misfit: Misfit) -> Iterator[tuple[Repair, ...]]:
    sizes = SizesOf(plan)
    known = plan.graph.findings.repairs
    seen = {frozenset(known)}
    numbers: set[frozenset[tuple[str, object, int]]] = set()
    for module, read in _suspects(plan, misfit, sizes):
        own = {size.place: size for size in sizes.of(module)}
        tried = False
        for choice in _choices(list(own.values()), read):
            tried = True
            chosen = list(_for_all_of_its_class(sizes, module, own, choice))
            repairs = tuple(repair for repair, _ in chosen)
            result = frozenset(merged(known, repairs))
            leads_to = frozenset((repair.module, repair.place, after) for repair, after in chosen)
            if result not in seen and leads_to not in numbers:
                seen.add(result)
                numbers.add(leads_to)
                yield repairs
        if tried and read is not None:  # modules around it fail only by what it does
            return


def _suspects(plan: Plan, misfit: Misfit, sizes: SizesOf) -> Iterator[tuple[str, ReadNames | None]]:
    """The modules whose code failed, innermost first, with what it read; where no code did, those around the layers
    whose channels don't fit."""
    reads = failing_reads(misfit.error)
    if misfit.line is not None:
        kinds = dict.fromkeys(map(type, sizes.modules.values()))
        for kind, read in reads_at(misfit.line, kinds):
            failing = [module for module in misfit.modules if type(sizes.modules[module]) is kind]
            alike = (name for name, module in sizes.modules.items() if type(module) is kind)
            yield next(iter(failing), None) or next(alike), _with_computed(kind, read)
    for module in misfit.modules:
        kind = type(sizes.modules[module])
        found = next((own for other, own in reads if other is kind), None)
        names = None if found is None else _with_computed(kind, found)
        yield module, names
        if names is not None:
            yield from ((part, names) for part in _parts_read(sizes, module, names))
    if misfit.modules:
        return
    layers = [member.layer for number in misfit.groups for member in plan.graph.groups[number].members]
    around = {layer.rpartition(".")[0] for layer in layers}
    yield from ((module, None) for module in sorted(around & sizes.modules.keys(), key=lambda name: -name.count(".")))


def _parts_read(sizes: SizesOf, module: str, read: ReadNames) -> Iterator[str]:
    """The parts of a module that keep a number under a name that its code reads: `self.update.hidden_size`."""
    names = read.on_line | read.in_function
    for name, part in sizes.modules.items():
        if name != module and name.startswith(f"{module}." if module else ""):
            numbers = {own for own, value in vars(part).items() if type(value) is int}
            if not numbers.isdisjoint(names):
                yield name


def _with_computed(kind: type[nn.Module], read: ReadNames) -> ReadNames:
    """The names, and those that properties among them are computed from."""
    functions = FunctionsOf([kind])
    on_line, in_function = (
        names.union(*(functions.names_from(name) for name in names if name in functions.properties)) for names in read
    )
    return ReadNames(on_line, in_function)


def _choices(sizes: list[KeptSize], read: ReadNames | None) -> Iterator[Choice]:
    """Choices of what the numbers of a module are, the likeliest first."""
    for size in sizes:
        if size.heads is not None:  # what else is as many (a window) has nothing to do with it
            yield {size.place: size.heads}
    exact = [size for size in sizes if size.options[0].fit != Fit.PART]
    if read is None:
        cells = [size for size in exact if any(option.fit == Fit.CELL for option in size.options)]
        for size in cells:
            number = next(n for n, option in enumerate(size.options) if option.fit == Fit.CELL)
            yield {size.place: number}
        if exact:
            yield {size.place: 0 for size in exact}
        return
    on_line = sorted((size for size in sizes if _names(size) & read.on_line), key=lambda size: size.options[0].fit)
    in_function = [size for size in exact if _names(size) & read.in_function]
    # A line that names the number of heads and their size: the size is one, the number only might be a part of one.
    likely = [size for size in on_line if size in exact]
    whole = [*likely, *(size for size in in_function if size not in likely)]
    sets = [likely, whole, on_line, [*on_line, *(size for size in in_function if size not in on_line)]]
    sets = [together for number, together in enumerate(sets) if together not in sets[:number]]
    for together in filter(None, sets):
        yield {size.place: 0 for size in together}
    for together in filter(None, sets):
        best = {size.place: 0 for size in together}
        for size in together:
            for other in range(1, min(len(size.options), _OTHERS + 1)):
                yield best | {size.place: other}
        if len(together) > 1:
            for size in together:
                for number in range(min(len(size.options), 2)):
                    yield {size.place: number}
    if exact and not on_line and not in_function:
        yield {size.place: 0 for size in exact}


def _names(size: KeptSize) -> set[str]:
    """What code that reads the number names: the attribute, or the entry of what it holds."""
    last = next((step for step in reversed(size.path) if isinstance(step, str)), size.attribute)
    return {last}


def _for_all_of_its_class(
    sizes: SizesOf, module: str, own: dict[tuple[str, tuple[str | int, ...]], KeptSize], choice: Choice
) -> Iterator[tuple[Repair, int]]:
    """The repairs that a choice means for a module, and the same for all others of its class, with the new numbers."""
    kind = type(sizes.modules[module])
    for other, part in sizes.modules.items():
        if type(part) is not kind:
            continue
        theirs = own if other == module else {size.place: size for size in sizes.of(other)}
        for place, number in choice.items():
            size, chosen = theirs.get(place), own[place].options[number]
            if size is None:
                continue
            name = _role(chosen.axis.tensor, module)

            def unlike(option: Option, name: str = name, axis: Axis = chosen.axis, other: str = other) -> bool:
                return _role(option.axis.tensor, other) != name or option.axis.dim != axis.dim

            def unlikeness(option: Option, fit: Fit = chosen.fit) -> tuple[bool, bool]:
                return unlike(option), option.fit != fit

            option = min(size.options, key=unlikeness)
            if other != module and option.fit == Fit.PART != chosen.fit:
                continue
            if unlike(option) and sizes.length(f"{other}.{name}", chosen.axis.dim) == size.value:
                continue  # the axis of its own that it is the size of isn't cut
            yield size.repair(option), option.after


def _role(tensor: str, module: str) -> str:
    """The name of a tensor as a module itself would call it."""
    return tensor.removeprefix(f"{module}.") if module else tensor
