"""Terminal text as all drawings give it: rows of spans that name a role or colours, and how a shell shows them."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tui_prune.plots.palette import terminal_numbers

if TYPE_CHECKING:
    from rich.style import Style


class Span(NamedTuple):
    """Some text and its ink: a role, "#rrggbb", or "#rrggbb on #rrggbb"."""

    text: str
    ink: str = "note"


Row = tuple[Span, ...]

ROLES = {"bar": "cyan", "go": "dim", "mark": "yellow", "note": "dim", "error": "red", "strong": "bold"}
"""What is drawn (and stays), what goes, a line drawn in, axes and figures; and the style that a shell gives each."""


class Drawing(Protocol):
    """Numbers that can be drawn in cells of a terminal, and as SVG."""

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[Row, ...]:
        """Rows of `width` cells, `height` of them at the most; without colours only roles are named."""
        ...

    def svg(self, width: int, height: int) -> list[str]:
        """Elements of SVG within a width and a height in points; some need more of the height."""
        ...

    def svg_height(self, width: int, height: int) -> int:
        """What they need of it."""
        ...


def text_of(row: Iterable[Span]) -> str:
    """The words of a row, without their looks."""
    return "".join(span.text for span in row)


def blank(width: int, height: int, words: str = "") -> tuple[Row, ...]:
    """Empty rows with some words in the middle."""
    rows = [" " * width] * height
    if rows:
        rows[height // 2] = words[:width].center(width)
    return tuple((Span(row),) for row in rows)


def fitted(row: Sequence[Span], width: int) -> Row:
    """A row cut or filled to a width."""
    room, kept = width, []
    for text, ink in row:
        if room > 0 and text:
            kept.append(Span(text[:room], ink))
            room -= len(text[:room])
    return (*kept, Span(" " * room)) if room > 0 else tuple(kept)


def overlaid(row: Sequence[Span], place: int, text: str, ink: str) -> Row:
    """A row with some text over it, from a place on."""
    width = sum(len(span.text) for span in row)
    text = text[: max(0, width - place)]
    return (*fitted(row, place), Span(text, ink), *_dropped(row, place + len(text)))


def terminal_text(rows: Iterable[Row], *, colored: bool) -> str:
    """Lines for a shell, with escapes for colours or as plain text."""
    return "\n".join("".join(_shown(span, colored) for span in row).rstrip() for row in rows)


def _dropped(row: Sequence[Span], count: int) -> list[Span]:
    """What is left of a row without its first cells."""
    left = []
    for text, ink in row:
        if len(text) > count:
            left.append(Span(text[count:], ink))
        count = max(0, count - len(text))
    return left


def _shown(span: Span, colored: bool) -> str:
    from rich.style import Style

    if not colored or (not span.text.strip() and " on " not in span.ink):
        return span.text
    style = style_of(span.ink) if span.ink.startswith("#") else Style.parse(ROLES[span.ink])
    return style.render(span.text)


@cache
def style_of(ink: str) -> "Style":
    """The style of an ink that names colours: "#rrggbb", or "#rrggbb on #rrggbb", of the 256 that terminals have."""
    from rich.color import Color, ColorType
    from rich.style import Style

    def numbered(words: str) -> Color:
        # With its red, green and blue: Textual would otherwise look these up and write them all.
        return Color(words, ColorType.EIGHT_BIT, terminal_numbers()[words], Color.parse(words).triplet)

    return Style.from_color(*map(numbered, ink.split(" on ")))
