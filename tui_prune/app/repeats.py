"""Repeated blocks: modules beside each other that have the same structure, so that one row can stand for them."""

import glob
import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

_NUMBERED = re.compile(r"(\D*)(\d+)(.*)")


class Block(NamedTuple):
    """What matters of a module among its siblings."""

    label: str
    class_name: str
    shape: Hashable
    """The same for two modules of the same structure; None for one that is no block."""


def runs(siblings: Sequence[Block]) -> list[slice]:
    """Where two or more blocks of one structure follow each other, their names differing in a number alone.

    The first of a class isn't taken in, so that one of each kind of block always has rows of its own.
    """
    found: list[slice] = []
    start = 0
    while start < len(siblings):
        end = start + 1
        while end < len(siblings) and _alike(siblings[start], siblings[end]):
            end += 1
        known = any(block.class_name == siblings[start].class_name for block in siblings[:start])
        first = start if known else start + 1
        if end - first >= 2:
            found.append(slice(first, end))
        start = end
    return found


def span(first: str, last: str) -> str:
    """The names of a run in one: "1…5", "denselayer2…6", "1…3.branch2"."""
    one, other = _NUMBERED.fullmatch(first), _NUMBERED.fullmatch(last)
    if one is None or other is None:
        return f"{first}…{last}"
    return f"{one[1]}{one[2]}…{other[2]}{one[3]}"


def globs(start: str, run: Sequence[str], siblings: Sequence[str]) -> tuple[str, ...]:
    """What in a recipe means all layers in a run of modules below `start` and no others: "layer3.[1-5].*"."""
    names = {label: match for label in siblings if (match := _NUMBERED.fullmatch(label))}
    first, last = names[run[0]], names[run[-1]]
    between = {
        label
        for label, name in names.items()
        if (name[1], name[3]) == (first[1], first[3]) and int(first[2]) <= int(name[2]) <= int(last[2])
    }
    if between != set(run) or any(str(int(names[label][2])) != names[label][2] for label in run):
        return tuple(f"{glob.escape(start + label)}.*" for label in run)
    before, after = glob.escape(start + first[1]), glob.escape(first[3])
    return tuple(f"{before}{number}{after}.*" for number in _numbers(int(first[2]), int(last[2])))


def _numbers(first: int, last: int) -> list[str]:
    """Globs that mean the whole numbers from one to another: 8 to 14 are 8 or 9, and 10 to 14."""
    found: list[str] = []
    for length in range(len(str(first)), len(str(last)) + 1):
        low, high = max(first, 10 ** (length - 1) if length > 1 else 0), min(last, 10**length - 1)
        found += _digits(str(low), str(high))
    return found


def _digits(low: str, high: str) -> list[str]:
    """The same for two numbers of as many digits."""
    if not low:
        return [""]
    if low[0] == high[0]:
        return [low[0] + rest for rest in _digits(low[1:], high[1:])]
    rest = len(low) - 1
    start, end = int(low[0]), int(high[0])
    below: list[str] = []
    above: list[str] = []
    if low[1:] != "0" * rest:
        below = [low[0] + more for more in _digits(low[1:], "9" * rest)]
        start += 1
    if high[1:] != "9" * rest:
        above = [high[0] + more for more in _digits("0" * rest, high[1:])]
        end -= 1
    middle = f"[{start}-{end}]" if start < end else str(start)
    return [*below, *([middle + "[0-9]" * rest] if start <= end else []), *above]


def _alike(one: Block, other: Block) -> bool:
    if one.shape is None or one.shape != other.shape or one.class_name != other.class_name:
        return False
    names = _NUMBERED.fullmatch(one.label), _NUMBERED.fullmatch(other.label)
    return all(names) and len({(name[1], name[3]) for name in names if name}) == 1
