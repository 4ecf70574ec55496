"""Changing bytes and plain values at random, but by the same seed in the same way."""

from __future__ import annotations

import json
import random
from typing import Any

from tui_prune.formatting import shown

DEEP, DIGITS, HUGE = "@deep@", "@digits@", "@huge@"
"""What no writer writes; put into the text of a file afterwards."""

ODD_TEXTS = (
    "",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnorw",
    "\x00",
    "../../../../etc/passwd",
    "~nobody",
    "/dev/zero",
    "x" * 5000,
    "l1",
    "*",
    "[",
    "layers",
    "cpu",
    "nin",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    10**6,
    2**31,
    2**63,
    2**64,
    -(2**63),
    1.5,
    0.5,
    -0.5,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    [],
    {},
    [[]],
    [1, 2],
    {"a": 1},
    {"x": {"y": []}},
    *ODD_TEXTS,
)


def damaged(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Bytes with something wrong in them, and what."""
    data = bytearray(content)
    size = len(data)
    kind = rng.choice(("bit", "bit", "bits", "cut", "zeros", "ones", "twice", "gone", "swapped", "appended", "noise"))
    start = rng.randrange(size)
    length = rng.choice((1, 2, 8, 64, 1000))
    if kind == "bit":
        data[start] ^= 1 << rng.randrange(8)
    elif kind == "bits":
        for _ in range(rng.randrange(2, 30)):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[start:]
    elif kind in ("zeros", "ones"):
        end = min(size, start + length)
        data[start:end] = (b"\0" if kind == "zeros" else b"\xff") * (end - start)
    elif kind == "twice":
        data[start:start] = data[start : start + length]
    elif kind == "gone":
        del data[start : start + length]
    elif kind == "swapped":
        other = rng.randrange(size)
        data[start], data[other] = data[other], data[start]
    elif kind == "appended":
        data += rng.randbytes(length)
    else:
        data[start : start + length] = rng.randbytes(length)
    return f"{kind} at {start} of {size}", bytes(data)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values in nested dicts and lists."""
    found = [path]
    if isinstance(value, dict):
        for key, below in value.items():
            found += places(below, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            found += places(below, (*path, index))
    return found


def replaced(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """The same with `change` of what is at a place; of a value that raises `KeyError`, without it."""
    if not path:
        return change(value)
    key, *rest = path
    items: Any = dict(value) if isinstance(value, dict) else list(value)
    try:
        items[key] = replaced(items[key], tuple(rest), change)
    except KeyError:
        del items[key]
    return tuple(items) if isinstance(value, tuple) else items


def gone(value: Any) -> Any:
    """Take a value out."""
    raise KeyError


def changed(rng: random.Random, value: Any, odd: tuple[Any, ...] = ODD_VALUES) -> tuple[str, Any]:
    """Plain values with one that isn't what it was, and what."""
    path = rng.choice(places(value)[1:])
    if rng.random() < 0.15:
        try:
            return f"without {path}", replaced(value, path, gone)
        except (KeyError, IndexError):
            pass
    new = rng.choice(odd)
    return f"{shown(new, 40)} at {path}", replaced(value, path, lambda _: new)


def as_json(rng: random.Random, value: Any) -> bytes:
    """Its text, in which marks stand for what Python's writer can't write."""
    text = json.dumps(value)
    text = text.replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000)
    text = text.replace(f'"{DIGITS}"', "9" * 5000).replace(f'"{HUGE}"', "9" * 400)
    return text.encode("utf-8", "surrogatepass")
