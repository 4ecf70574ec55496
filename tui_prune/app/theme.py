"""Two looks: quiet colours where the terminal has them, and the terminal's own sixteen (or none) where not."""

import dataclasses
import os
from typing import TYPE_CHECKING

from rich.console import Console
from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from textual.app import App

QUIET = Theme(
    name="tui-prune",
    primary="#7f9fc4",
    secondary="#7f9fc4",
    accent="#e5b567",
    warning="#e5b567",
    error="#e0787d",
    success="#8fb87a",
    foreground="#ccd1d9",
    background="#14171c",
    surface="#14171c",
    panel="#1e232b",
    variables={
        "quiet": "#76808f",
        "changed": "#e5b567",
        "drawn": "#7f9fc4",
        "cursor-row": "#29313d",
        "rule": "#343b47",
        "input-cursor-background": "#ccd1d9",
        "input-cursor-foreground": "#14171c",
        "input-selection-background": "#3a4656",
        "border": "#4a5566",
        "border-blurred": "#343b47",
    },
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
        "cursor-row": "ansi_default",
        "rule": "ansi_default",
    },
)


def apply(app: "App[object]") -> None:
    """Choose the look that this terminal can show."""
    app.register_theme(QUIET)
    app.register_theme(PLAIN)
    app.theme = PLAIN.name if few_colors() else QUIET.name


def few_colors() -> bool:
    """Whether the terminal has no more than sixteen colours, or its user wants none."""
    return "NO_COLOR" in os.environ or Console(force_terminal=True).color_system not in ("256", "truecolor")


def shows_colors(app: "App[object]") -> bool:
    """Whether an app has taken the look for many colours."""
    return app.theme != PLAIN.name
