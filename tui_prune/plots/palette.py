"""The colours of drawings, and the letters that stand for them where there are none.

Blue, dark, orange for a value's sign and size; what goes has lost its hue. All are of the 256 that nearly every
terminal has, so that they are the same over any line, and cost half the bytes of others.
"""

from functools import cache

import numpy as np


def _terminal_color(number: int) -> str:
    """Red, green and blue of one of the 256 colours, 16 and up."""
    if number >= 232:
        parts = [8 + 10 * (number - 232)] * 3
    else:
        steps = (*divmod((number - 16) // 6, 6), (number - 16) % 6)
        parts = [55 + 40 * step if step else 0 for step in steps]
    return "#" + "".join(f"{part:02x}" for part in parts)


@cache
def terminal_numbers() -> dict[str, int]:
    """The number of each of the 256 colours that has a fixed red, green and blue."""
    return {_terminal_color(number): number for number in range(16, 256)}


def _terminal_colors(*numbers: int) -> tuple[str, ...]:
    return tuple(map(_terminal_color, numbers))


BLUES = _terminal_colors(24, 67, 110, 153)
ORANGES = _terminal_colors(94, 137, 180, 223)
GREYS = _terminal_colors(237, 240, 243, 247)
NOTHING, NOT_FINITE = _terminal_colors(235, 205)
SIGNED = (*reversed(BLUES), NOTHING, *ORANGES)
"""From the lowest value to the highest."""
STEPS = (0.28, 0.5, 0.7, 0.88)
"""Shares of the scale from which each colour is drawn. Most weights are small: they stay dark."""

HEIGHTS = ((24, 238, 236), (67, 24, 238), (110, 67, 24), (179, 137, 94), (222, 179, 137))
"""From low to high: the top of a bar, its left and its right side."""
GREY_HEIGHTS = ((238, 236, 235), (240, 237, 235), (242, 238, 236), (244, 240, 237), (246, 242, 238))
TOPS = _terminal_colors(*(top for top, _, _ in HEIGHTS))

POSITIVE, NEGATIVE = "░▒▓█", "·-=≡"
"""Letters of the levels 1 to 4."""
BROKEN = "?"
"""The letter of what isn't finite."""


def signed_colors(values: np.ndarray, scale: float, kept: np.ndarray) -> np.ndarray:
    """A colour's number for each value, -scale to scale (what is beyond is drawn as the end), and for each the share
    that stays."""
    finite = np.isfinite(values)
    shares = np.where(finite, values, 0.0) / (scale or 1.0)
    levels = np.digitize(np.abs(shares), STEPS) * np.sign(shares).astype(int)
    colors = levels + len(STEPS) + goes(kept) * len(SIGNED)
    return np.where(finite, colors, 2 * len(SIGNED))


def goes(kept: np.ndarray) -> np.ndarray:
    """1 where less than half of something stays."""
    return (kept < 0.5).astype(int)


@cache
def signed_palette() -> tuple[str, ...]:
    """The colours that `signed_colors` numbers."""
    return (*SIGNED, *reversed(GREYS), NOTHING, *GREYS, NOT_FINITE)


@cache
def signed_letters() -> str:
    """The letters that stand for the same numbers where there are no colours."""
    return f"{NEGATIVE[::-1]} {POSITIVE}" * 2 + BROKEN


@cache
def height_palette() -> tuple[str, ...]:
    """Three sides of each height that stays, and of each that goes; then what isn't finite."""
    return (*(_terminal_color(side) for sides in (*HEIGHTS, *GREY_HEIGHTS) for side in sides), NOT_FINITE)


def height_colors(heights: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The number of the top's colour for each height, 0 to 1 or not finite; those of its sides come after it."""
    finite = np.isfinite(heights)
    levels = np.clip(np.where(finite, heights, 0.0) * len(HEIGHTS), 0, len(HEIGHTS) - 1).astype(int)
    return np.where(finite, 3 * (levels + goes(kept) * len(HEIGHTS)), len(height_palette()) - 1)
