"""What people type, read as they mean it."""

import re
from collections.abc import Callable
from typing import Any

from tui_prune.errors import UsageError
from tui_prune.planning.recipe import AUTO, Recipe
from tui_prune.planning.sizes import parse_size

NONE = "none"
"""How no value is typed."""
_NUMBER = re.compile(r"([0-9]*[.,]?[0-9]*)\s*(%?)")


def share(text: str, all_of_it: str = "Not all channels can go: type less than 100 %.") -> float:
    """A share from "50", "50 %" or "0.5": what is above 1 or has a sign is per cent. Raises `UsageError`, for 100 % and
    more with the sentence `all_of_it`."""
    match = _NUMBER.fullmatch(text.strip())
    if not match or not any(letter.isdigit() for letter in match[1]):
        raise UsageError("Type a share such as 50, 50 % or 0.5.")
    value = float(match[1].replace(",", "."))
    value = value / 100 if match[2] or value > 1 else value
    if match[1] == "1" and not match[2]:
        raise UsageError("1 could mean 1 % or all of it: type 1 % or 0.01; all channels can't go.")
    if value >= 1:
        raise UsageError(all_of_it)
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


def alignment(text: str) -> int | str:
    """A number whose multiples widths should be, or "auto". Raises `UsageError`."""
    if text.strip().lower() == AUTO:
        return AUTO
    try:
        return whole(text)
    except UsageError:
        raise UsageError("Type a whole number such as 8, or auto.") from None


TARGETS = "50 %, 40 % params, 2 MB, 60 % latency"
"""What one can type as a target."""
_FINALISTS = re.compile(r"[,;]?\s*\b([1-9]\d*) finalists?\b", re.IGNORECASE)
_TARGETS = {"macs": "target_macs", "params": "target_params", "latency": "target_latency"}


def targets(text: str) -> dict[str, float | int | None]:
    """The fields of a recipe from "50 % macs, 5 MB": shares of MACs (unless it says params or latency), and a size.

    Targets that the text doesn't name are None. Raises `UsageError`.
    """
    found: dict[str, float | int | None] = dict.fromkeys((*_TARGETS.values(), "target_bytes"))
    for part in filter(str.strip, re.split(r"[,;]\s+|;", text.strip())):
        amount, _, name = part.strip().lower().rpartition(" ")
        if name in _TARGETS:
            found[_TARGETS[name]] = _left(amount)
        elif name.endswith("b"):
            found["target_bytes"] = parse_size("A size", part.strip())
        else:
            found["target_macs"] = _left(part)
    if not any(found.values()):
        raise UsageError(f"Type what may be left: {TARGETS}.")
    return found


def suggestion(text: str) -> dict[str, Any]:
    """What a session's `suggest` is to be asked for by "50 % macs, 3 finalists"; one finalist unless it says so.

    Raises `UsageError`.
    """
    finalists = _FINALISTS.search(text)
    found = targets(_FINALISTS.sub("", text))
    if found["target_bytes"] is not None or found["target_latency"] is not None:
        raise UsageError("A suggestion knows shares of MACs and of parameters.")
    shares = {name: found[name] for name in ("target_macs", "target_params")}
    return {**shares, "finalists": int(finalists[1]) if finalists else 1}


def _left(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise UsageError(f"Type what may be left: {TARGETS}.")
    return share(text, "The network has 100 %: type less, as what may be left.")


def said_targets(recipe: Recipe) -> str:
    """A recipe's targets as one would type them."""
    shares = {name: getattr(recipe, field) for name, field in _TARGETS.items()}
    parts = [f"{said(value)} % {name}" for name, value in shares.items() if value is not None]
    if recipe.target_bytes is not None:
        parts.append(f"{recipe.target_bytes / 1e6:.4g} MB")
    return ", ".join(parts)


def said(ratio: float) -> str:
    """A ratio as one would type it: 50, 12.5."""
    return f"{100 * ratio:.4g}"


def or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads "none" as None, and anything else as `read` does."""
    return lambda text: None if text.strip().lower() == NONE else read(text)


def number(text: str) -> float:
    """Any number. Raises `UsageError`."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise UsageError("Type a number such as 0.01, or none.") from None


def up_to_all(text: str) -> float:
    """A share, which may be all. Raises `UsageError`."""
    return 1.0 if text.strip() in ("100", "100%", "100 %") else share(text)


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them; "none" is none."""
    return () if text.strip().lower() == NONE else tuple(filter(None, (name.strip() for name in text.split(","))))


def pairs(read: Callable[[str], Any], example: str) -> Callable[[str], dict[str, Any]]:
    """Reads "layer1=0.5, layer2=0.25" to a table; `read` reads the values."""

    def table(text: str) -> dict[str, Any]:
        found = {}
        for part in names(text):
            name, equals, value = part.rpartition("=")
            if not equals or not name.strip():
                raise UsageError(f"Type layers with their values, such as {example}; or none.")
            found[name.strip()] = read(value)
        return found

    return table
