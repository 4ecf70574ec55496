"""How long ago something was, in words."""

import time

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
