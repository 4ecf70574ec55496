"""Both networks as PyTorch prints them, line by line, with what differs."""

import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from torch import nn

from tui_prune.copies.modules import named_modules
from tui_prune.errors import TuiPruneError, ordinary_errors
from tui_prune.planning.plan import Plan
from tui_prune.surgery.cut import sketch

_MODULE = re.compile(r"( *)\((?:(\d+)-\d+\): \d+ x |([^)\s]+)\): )([\w.]+)")
"""A line that begins a module: indentation, name, class. Modules in a row that print alike are "(0-3): 4 x Block", and
stand for the first of them."""
_TOKEN = re.compile(r"[\w.]+|\W")
_GAP = " │ "
_DIFFERS = " ≠ "
_UNSURE = " ? "


@dataclass(frozen=True)
class PrintRow:
    """A line of the one print beside that of the other; None where there is none."""

    before: str | None
    after: str | None
    path: str
    """The module that the line speaks of; "" is the network."""
    unsure: bool = False
    """Whether its sizes are known only once it has been cut, because a hook computes its weights."""

    @property
    def differs(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, eq=False)
class Prints:
    """Both prints, line beside line."""

    rows: tuple[PrintRow, ...]
    differences: tuple[int, ...] = field(init=False)
    """The rows that differ."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "differences", tuple(n for n, row in enumerate(self.rows) if row.differs))


def prints(plan: Plan) -> Prints:
    """The network and what the plan would make of it, without cutting it. Runs code of the modules: what prints them.

    Raises `TuiPruneError` where that fails.
    """
    model = plan.graph.whole_model
    try:
        with ordinary_errors():
            cut = sketch(plan) if plan.cuts else model
            before, after = repr(model), repr(cut)
    except Exception as error:  # the user's own code prints the modules
        raise TuiPruneError(f"The cut network can't be printed without cutting it: {error}.") from error
    return aligned(before, after, _hooked(model, cut))


def aligned(before: str, after: str, unsure: frozenset[str] = frozenset()) -> Prints:
    """Two prints, line beside line. `unsure`: modules whose sizes the second may have wrong."""
    old, new = before.split("\n"), after.split("\n")
    paths = _paths(old), _paths(new)
    keys = [_key(line) for line in old], [_key(line) for line in new]
    rows: list[PrintRow] = []

    def add(first: int | None, second: int | None) -> None:
        path = paths[0][first] if first is not None else paths[1][second] if second is not None else ""
        rows.append(
            PrintRow(
                None if first is None else old[first], None if second is None else new[second], path, path in unsure
            )
        )

    if keys[0] == keys[1]:
        for place in range(len(old)):
            add(place, place)
        return Prints(tuple(rows))
    # Modules in a row that print alike are one line with a number, and no longer are when they are cut differently.
    for kind, start, end, other, other_end in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if kind == "equal":
            for first, second in zip(range(start, end), range(other, other_end), strict=True):
                add(first, second)
            continue
        for first in range(start, end):
            add(first, None)
        for second in range(other, other_end):
            add(None, second)
    return Prints(tuple(rows))


def changed_parts(one: str, other: str) -> list[tuple[str, bool]]:
    """A line in pieces, each with whether it differs from what the other line has in its place."""
    ours, theirs = _TOKEN.findall(one), _TOKEN.findall(other)
    if len(ours) == len(theirs):
        same = [mine == their for mine, their in zip(ours, theirs, strict=True)]
    else:
        same = [False] * len(ours)
        for start, _, length in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
            same[start : start + length] = [True] * length
    pieces: list[tuple[str, bool]] = []
    for token, alike in zip(ours, same, strict=True):
        if pieces and pieces[-1][1] != alike:
            pieces[-1] = (pieces[-1][0] + token, not alike)
        else:
            pieces.append((token, not alike))
    return pieces


def side_by_side(found: Prints) -> str:
    """Both prints as text in two columns, as wide as their longest lines."""
    width = max((len(row.before or "") for row in found.rows), default=0)
    lines = []
    for row in found.rows:
        mark = _UNSURE if row.unsure else _DIFFERS if row.differs else _GAP
        lines.append(f"{row.before or '':{width}}{mark}{row.after or ''}".rstrip())
    return "\n".join(lines) + "\n"


def _key(line: str) -> str:
    """What stays of a line when sizes change."""
    found = _MODULE.match(line)
    return f"{found[1]}{found[2] or found[3]}: {found[4]}" if found else line[: len(line) - len(line.lstrip()) + 1]


def _paths(lines: list[str]) -> list[str]:
    """The module of each line. What belongs to none (a closing bracket, a line of a module's own) is of the one that
    it stands in."""
    found, open_modules = [], [(-1, "")]
    for line in lines:
        indent = len(line) - len(line.lstrip())
        match = _MODULE.match(line)
        closes = line.strip() == ")"
        while open_modules[-1][0] > indent or (match and open_modules[-1][0] == indent):
            open_modules.pop()
        if match:
            name, above = match[2] or match[3], open_modules[-1][1]
            open_modules.append((indent, f"{above}.{name}" if above else name))
        found.append(open_modules[-1][1])
        if closes and open_modules[-1][0] == indent:
            open_modules.pop()
    return found


def _hooked(model: nn.Module, cut: nn.Module) -> frozenset[str]:
    """Modules with hooks that run before them, and weights that change: what a hook computes from these has its old
    size until the cut module runs."""
    found = set()
    twins = dict(named_modules(cut))
    for name, part in named_modules(model):
        if part._forward_pre_hooks and name in twins and _shapes(part) != _shapes(twins[name]):
            found.add(name)
    return frozenset(found)


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in module._parameters.values() if tensor is not None]
