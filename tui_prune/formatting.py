"""Numbers as people read them: three digits and a unit, the same in the app and on the command line."""

import time
from collections.abc import Sequence

_THOUSANDS = ("", "k", "M", "G", "T")
_FRACTIONS = ("µs", "ms", "s")
_SIZES = ("B", "kB", "MB", "GB", "TB")


def count(number: float) -> str:
    """A number of parameters or MACs: 812, 14.6k, 223M."""
    return _scaled(number, _THOUSANDS, "")


def size(number: float) -> str:
    """A number of bytes, in powers of 1000: 812 B, 3.87 MB."""
    return _scaled(number, _SIZES, " ")


def share(part: float, whole: float) -> str:
    """A part of a whole: 29 %. Of nothing it is a dash."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def error(square: float) -> str:
    """A squared error over the square of what is right, as the share that is wrong: 2.4 %, at most 7 characters."""
    percent = 100 * square**0.5
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %" if percent < 999 else "> 999 %"


def dead(channels: int) -> str:
    """How many channels there are that do nothing."""
    return "1 channel does nothing" if channels == 1 else f"{channels} channels do nothing"


def change(before: str, after: str, sign: str = "→") -> str:
    """Before and after, or only the one value when nothing changes."""
    return before if before == after else f"{before} {sign} {after}"


def shrunk(what: str, number: float, rest: float) -> str:
    """What is left of a number: parameters 970k → 248k (26 %)."""
    return f"{what} {count(number)}" + ("" if rest == number else f" → {count(rest)} ({share(rest, number)})")


def score(value: float | None, baseline: float) -> str:
    """What a task says of a network: 98.9 % where it says a share of the uncut one, else a number; ? for none."""
    if value is None:
        return "?"
    return f"{100 * value:.1f} %" if 0 <= baseline <= 1 else f"{value:.4g}"


def certainty(count: int, interval: Sequence[float], p: float | None = None) -> str:
    """What stands behind an accuracy: "±0.8, n 10,000, p 0.03"; half its interval, in points of a hundred."""
    compared = "" if p is None else f", {chance(p)}"
    return f"±{half_width(interval)}, n {count:,}{compared}"


def half_width(interval: Sequence[float]) -> str:
    """Half an interval of shares, in points of a hundred."""
    return f"{100 * (interval[1] - interval[0]) / 2:.1f}"


def chance(p: float) -> str:
    """How likely a difference is by chance."""
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"


def points(value: float, baseline: float) -> str:
    """An accuracy beside the uncut network's: "0.8 points less than uncut"."""
    difference = f"{100 * abs(value - baseline):.1f}"
    if difference == "0.0":
        return "as good as uncut"
    return f"{difference} points {'less' if value < baseline else 'more'} than uncut"


def seconds(number: float) -> str:
    """A duration: 0.12 s, 8.4 s, 95 s."""
    digits = 2 if number < 1 else 1 if number < 10 else 0
    return f"{number:.{digits}f} s"


def latency(number: float) -> str:
    """Seconds of one forward pass: 812 µs, 14.6 ms, 1.20 s."""
    return _scaled(1e6 * number, _FRACTIONS, " ")


def in_turn(steps: Sequence[str]) -> str:
    """Steps one after the other: "recalibrated, fine-tuned and recalibrated"."""
    *before, last = steps or ("",)
    return f"{', '.join(before)} and {last}" if before else last


def file_name(title: str) -> str:
    """A title as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in title)


def printable(text: str) -> str:
    """The text with a mark in place of each character that would steer a terminal or turn its writing direction.

    Names in checkpoints, layers and messages of other people's code may hold such characters.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def abridged(text: str, most: int) -> str:
    """The text in at most `most` characters: of a longer one the beginning and the end, with an ellipsis between."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def shown(value: object, most: int = 60) -> str:
    """A value that somebody else's file or code gave, as Python writes it, in at most `most` characters."""
    try:
        return abridged(printable(repr(value)), most)
    except (ValueError, RecursionError):  # a number of thousands of digits, or what is nested too deep
        return f"a {type(value).__name__} that is too large to be shown"


def _scaled(number: float, units: tuple[str, ...], gap: str) -> str:
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number /= 1000
        power += 1
    decimals = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f}{gap}{units[power]}"


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
