"""What people type, read as they mean it."""

import re

from tui_prune.errors import UsageError

_NUMBER = re.compile(r"([0-9]*[.,]?[0-9]*)\s*(%?)")


def share(text: str) -> float:
    """A share from "50", "50 %" or "0.5": what is above 1 or has a sign is per cent. Raises `UsageError`."""
    match = _NUMBER.fullmatch(text.strip())
    if not match or not any(letter.isdigit() for letter in match[1]):
        raise UsageError("Type a share such as 50, 50 % or 0.5.")
    value = float(match[1].replace(",", "."))
    value = value / 100 if match[2] or value > 1 else value
    if match[1] == "1" and not match[2]:
        raise UsageError("1 could mean 1 % or all of it: type 1 % or 0.01; all channels can't go.")
    if value >= 1:
        raise UsageError("Not all channels can go: type less than 100 %.")
    return value


def whole(text: str, least: int = 1) -> int:
    """A whole number. Raises `UsageError`."""
    try:
        value = int(text.strip())
    except ValueError:
        raise UsageError("Type a whole number such as 8.") from None
    if value < least:
        raise UsageError(f"Type a whole number of at least {least}.")
    return value


def said(ratio: float) -> str:
    """A ratio as one would type it: 50, 12.5."""
    return f"{100 * ratio:.4g}"
