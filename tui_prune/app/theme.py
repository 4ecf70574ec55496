"""The looks: a quiet dark one, a light one, one of high contrast, and the terminal's own sixteen colours (or none)."""

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from textual.app import App

GROUNDS = ("background", "panel", "cursor-row")
"""What text stands on."""
INKS = ("foreground", "quiet", "changed", "drawn", "error")
"""The colours of text, and of the parts of bars: on each of the grounds they have a contrast of 4.5 or more."""


def _between(ground: str, ink: str, part: float) -> str:
    """A colour between two others."""
    return Color.parse(ground).blend(Color.parse(ink), part).hex


def _look(
    name: str, inks: tuple[str, ...], grounds: tuple[str, ...], rule: str, selection: str, *, dark: bool, some: float
) -> Theme:
    """A look of its inks and grounds, in the order of `INKS` and `GROUNDS`. Where some of a layer is cut, its bar is
    `some` of the way from the ground to the colour of what changes; where all is, it has this colour."""
    foreground, quiet, changed, drawn, error = inks
    background, panel, cursor_row = grounds
    return Theme(
        name=name,
        primary=drawn,
        secondary=drawn,
        accent=changed,
        warning=changed,
        error=error,
        success=drawn,
        foreground=foreground,
        background=background,
        surface=background,
        panel=panel,
        dark=dark,
        variables={
            "quiet": quiet,
            "changed": changed,
            "drawn": drawn,
            "kept": quiet,
            "cut-much": _between(background, changed, (1 + some) / 2),
            "cut-some": _between(background, changed, some),
            "cursor-row": cursor_row,
            "rule": rule,
            "input-cursor-background": foreground,
            "input-cursor-foreground": background,
            "input-selection-background": selection,
            "border": quiet,
            "border-blurred": rule,
        },
    )


QUIET = _look(
    "tui-prune",
    ("#ccd1d9", "#919baa", "#e5b567", "#8aaad0", "#e88a8f"),
    ("#14171c", "#1e232b", "#262e39"),
    rule="#343b47",
    selection="#3a4656",
    dark=True,
    some=0.77,
)
LIGHT = _look(
    "tui-prune-light",
    ("#24292f", "#5a636e", "#7d4e00", "#2a5c93", "#a8262c"),
    ("#fbfbf9", "#eeefec", "#e1e7ef"),
    rule="#c9cdd2",
    selection="#c5d4e6",
    dark=False,
    some=0.91,
)
CONTRAST = _look(
    "tui-prune-contrast",
    ("#ffffff", "#c8c8c8", "#ffd75f", "#8fd3ff", "#ff9a9a"),
    ("#000000", "#1a1a1a", "#303030"),
    rule="#808080",
    selection="#4a4a4a",
    dark=True,
    some=0.71,
)
PLAIN = dataclasses.replace(
    BUILTIN_THEMES["ansi-dark"],
    name="tui-prune-plain",
    accent="ansi_yellow",
    primary="ansi_cyan",
    variables={
        **BUILTIN_THEMES["ansi-dark"].variables,
        "quiet": "ansi_default",
        "changed": "ansi_yellow",
        "drawn": "ansi_cyan",
        "kept": "ansi_default",
        "cut-much": "ansi_yellow",
        "cut-some": "ansi_yellow",
        "cursor-row": "ansi_default",
        "rule": "ansi_default",
    },
)
LOOKS = {"dark": QUIET, "light": LIGHT, "contrast": CONTRAST, "plain": PLAIN}
"""The themes by the names that the config file has for them (`config.THEMES`)."""


def apply(app: "App[Any]", wanted: str = "dark") -> None:
    """Choose the look that the user wants, where this terminal can show it."""
    for look in LOOKS.values():
        app.register_theme(look)
    app.theme = (PLAIN if few_colors() else LOOKS[wanted]).name


def choices(app: "App[Any]") -> Iterator[tuple[str, str]]:
    """The looks that this terminal can show besides the present one: name in the config file and of the theme."""
    if not few_colors():
        yield from ((name, look.name) for name, look in LOOKS.items() if look.name != app.theme)


def few_colors() -> bool:
    """Whether the terminal has no more than sixteen colours, or its user wants none."""
    return "NO_COLOR" in os.environ or Console(force_terminal=True).color_system not in ("256", "truecolor")


def shows_colors(app: "App[Any]") -> bool:
    """Whether an app has taken the look for many colours."""
    return app.theme != PLAIN.name
