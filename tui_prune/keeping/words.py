"""How long ago something was, and what a choice has changed, in words."""

import time
from collections.abc import Mapping
from typing import Any

_UNITS = ((7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute"))
_OLDEST = 8 * 7 * 86400


def ago(then: float, now: float | None = None) -> str:
    """How long ago a time was: "just now", "3 hours ago", "on 2 May 2024". Both in seconds since 1970."""
    passed = (time.time() if now is None else now) - then
    if passed > _OLDEST:
        day = time.localtime(then)
        return f"on {day.tm_mday} {time.strftime('%b %Y', day)}"
    for seconds, unit in _UNITS:
        number = int(passed // seconds)
        if number > 0:
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two recipes as plain values: "ratio 0.0 → 0.5, layers conv1 none → 0.25"."""
    return ", ".join(_differences(before, after))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    said = []
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            said += [f"{name} {inner}" for inner in _differences(old, new)]
        elif old != new:
            said.append(f"{name} {_value(old)} → {_value(new)}")
    return said


def _value(value: Any) -> str:
    return "none" if value in (None, [], ()) else str(value)
