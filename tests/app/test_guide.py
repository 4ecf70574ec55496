"""The guide in the app: opened where one is, filtered, read from chapter to chapter."""

from textual.command import CommandPalette
from textual.widgets import Markdown

from tui_prune.app.screens.guide import GuideScreen
from tui_prune.guide import chapters


def read(desk) -> str:
    """The topic of the chapter that is shown, and that its text is; empty: the list is."""
    screen = desk.app.screen
    assert isinstance(screen, GuideScreen)
    assert screen.reader.display == bool(screen.topic)
    if screen.topic:
        assert screen.reader.document.source == chapters()[screen.topic].text
    return screen.topic


async def test_it_opens_at_what_one_does_and_leads_back(start):
    async with start((80, 24)) as desk:
        await desk.press("f2")
        assert read(desk) == ""
        assert desk.app.screen.rows.chosen.topic == "opening"
        await desk.press("f2", "c", "f2")
        assert read(desk) == "criteria"
        await desk.press("escape")
        assert read(desk) == ""
        assert desk.app.screen.rows.chosen.topic == "criteria"
        await desk.press("escape")
        assert desk.screen.prompt.display  # the question is still there
        await desk.press("escape", "comma", "f2")
        assert read(desk) == "recipe"


async def test_chapters_are_found_by_words_turned_and_linked(start):
    async with start() as desk:
        await desk.press("f2", *"wilson")
        assert [one.topic for one in desk.app.screen.rows.shown] == ["tasks"]
        await desk.press("enter")
        assert read(desk) == "tasks"
        await desk.press("right_square_bracket")
        assert read(desk) == "workers"
        await desk.press("n", "end", "k", "home")
        assert read(desk) == next(iter(chapters()))
        document = desk.app.screen.reader.document
        for link, topic in (("https://example.org", next(iter(chapters()))), ("targets.md", "targets")):
            document.post_message(Markdown.LinkClicked(document, link))
            await desk.pilot.pause()
            assert read(desk) == topic


async def test_the_palette_has_each_chapter(start):
    async with start() as desk:
        await desk.press("colon")
        await desk.until(lambda: isinstance(desk.app.screen, CommandPalette), "the palette")
        await desk.press(*"guide: recov")
        options = desk.app.screen.query_one("CommandList")
        await desk.until(
            lambda: options.option_count and "recovery" in str(options.get_option_at_index(0).prompt), "it"
        )
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, GuideScreen), "the guide")
        assert read(desk) == "recovery"
