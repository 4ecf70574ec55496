"""Sizes in bytes as people write them: "5MB", "300 kB", "2MiB"."""

import re

from tui_prune.errors import UsageError
from tui_prune.formatting import shown

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}

LARGEST = 2**62
"""Bytes; no network has more."""


def parse_size(what: str, value: int | str) -> int:
    """Bytes, from a whole number or from a number with a unit: powers of 1000, or of 1024 with an i ("MiB").

    Raises `UsageError`, naming `what`, when it is none, or nothing at all.
    """
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?i?b|)\s*", value.lower())
        if found is not None and found[2] in _UNITS:
            size = round(min(float(found[1]) * _UNITS[found[2]], 2.0 * LARGEST))
    if not 1 <= size <= LARGEST:
        raise UsageError(f"{what} must be a size such as 5MB, or a whole number of bytes; it is {shown(value)}.")
    return size
