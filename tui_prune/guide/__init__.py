"""The guide: a Markdown file in this folder for each chapter, shown by `tui-prune guide` and by the app.

A chapter's topic is the name of its file, its title the first heading, and its summary the first sentence below that.
Nothing else lists the chapters, so a new one is one file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from tui_prune.config import near
from tui_prune.errors import UsageError
from tui_prune.formatting import shown

FOLDER = Path(__file__).parent
SUFFIX = ".md"


@dataclass(frozen=True)
class Chapter:
    """A chapter of the guide."""

    topic: str
    """The word that it is asked for by."""
    title: str
    about: str
    """One sentence; empty where the chapter starts with something else."""
    text: str
    """All of it, as Markdown."""


@cache
def chapters(folder: Path = FOLDER) -> Mapping[str, Chapter]:
    """Return the chapters of a folder by their topics, in the order of the alphabet."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    return MappingProxyType({file.stem: _read(file.stem, file.read_text(encoding="utf-8")) for file in files})


def chapter(topic: str) -> Chapter:
    """Return the chapter of a topic, in upper or lower case. Raises `UsageError` where there is none."""
    known = chapters()
    found = known.get(topic.strip().lower())
    if found is None:
        meant = near(topic.lower(), tuple(known))
        others = (
            f"{shown(topic)} is in {_listed(mentioning(topic))}" if mentioning(topic) else "tui-prune guide lists all"
        )
        raise UsageError(f"The guide has no chapter {shown(topic)}{meant}; {others}.")
    return found


def mentioning(words: str) -> tuple[str, ...]:
    """Return the topics of the chapters in which some words stand, those with more of them first."""
    wanted = words.strip().casefold()
    counts = {topic: one.text.casefold().count(wanted) for topic, one in chapters().items()} if wanted else {}
    return tuple(sorted((topic for topic, count in counts.items() if count), key=lambda topic: -counts[topic]))


def topic_of(link: str) -> str | None:
    """Return the topic that a link of a chapter leads to; None where it leads out of the guide."""
    topic = link.partition("#")[0].removesuffix(SUFFIX)
    return topic if topic in chapters() else None


def _listed(topics: tuple[str, ...], most: int = 3) -> str:
    *others, last = topics[:most]
    return f"{', '.join(others)} and {last}" if others else last


def _read(topic: str, text: str) -> Chapter:
    heading, _, rest = text.strip().partition("\n")
    start = rest.strip().partition("\n\n")[0].replace("\n", " ")
    sentence = re.match(r"[^|#`*-].*?\.(?= |$)", start)
    about = sentence.group() if sentence else ""
    return Chapter(topic, heading.lstrip("# "), re.sub(r"\[(.*?)\]\(.*?\)|`(.*?)`", r"\1\2", about), text)
