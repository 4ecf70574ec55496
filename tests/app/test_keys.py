"""Keys: each can be remapped, is explained, and leads somewhere from the palette too."""

import pytest
from textual import events
from textual.binding import Binding
from textual.command import CommandPalette

from tui_prune.app import keymap
from tui_prune.app.app import PruneApp, key_name
from tui_prune.app.bindings import GROUPS
from tui_prune.app.palette import Commands
from tui_prune.app.screens.dialog import OpenDialog, QuitDialog
from tui_prune.app.screens.help import HelpScreen
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.screens.others import OthersDialog
from tui_prune.app.screens.save import SaveScreen
from tui_prune.app.screens.start import StartScreen
from tui_prune.app.screens.traceback import TracebackDialog
from tui_prune.app.widgets.choice_line import ChoiceLine
from tui_prune.app.widgets.details_pane import DescriptionPane, PicturesPane
from tui_prune.app.widgets.entry_list import EntryList
from tui_prune.app.widgets.key_line import MOST
from tui_prune.app.widgets.layer_tree import LayerTree
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.app.widgets.print_pane import PrintPane
from tui_prune.app.widgets.prompt_line import PromptLine
from tui_prune.app.widgets.recipe_pane import RecipePane
from tui_prune.app.widgets.recovery_pane import RecoveryPane
from tui_prune.app.widgets.row_list import RowList
from tui_prune.app.widgets.structure_table import StructureTable

OWNERS = [
    PruneApp,
    MainScreen,
    OpeningScreen,
    StartScreen,
    OthersDialog,
    OpenDialog,
    EntryList,
    SaveScreen,
    HelpScreen,
    QuitDialog,
    LayerTree,
    StructureTable,
    RowList,
    LinePane,
    DescriptionPane,
    PicturesPane,
    PrintPane,
    ChoiceLine,
    PromptLine,
    RecipePane,
    RecoveryPane,
    TracebackDialog,
]
DROPPED = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+j"}
"""On plain terminals these are enter, tab, backspace and newline."""


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_every_binding_has_an_id_and_a_sentence(owner):
    for binding in owner.BINDINGS:
        assert isinstance(binding, Binding)
        assert binding.id, binding
        assert binding.tooltip, binding
        keys = set(binding.key.split(","))
        assert not keys & DROPPED
        assert not any(key.startswith("ctrl+shift") for key in keys)


def test_keys_are_written_as_on_the_keyboard():
    names = {
        key: key_name(key) for key in ("ctrl+s", "question_mark", "plus", "tab", "space", "G", "pagedown", "escape")
    }
    assert list(names.values()) == ["ctrl+s", "?", "+", "tab", "space", "G", "page down", "esc"]


async def test_the_last_line_names_few_keys_and_those_that_matter_here(start):
    async with start((80, 24)) as desk:
        in_tree = desk.keys
        assert "tab details" in in_tree
        assert "t target" in in_tree
        await desk.press("tab")
        assert "tab tree" in desk.keys
        assert "] next tab" in desk.keys
        for line in (in_tree, desk.keys):
            assert len(line.split("   ")) <= MOST
        await desk.press("escape", "g")
        assert desk.screen.prompt.display


async def test_a_click_on_the_last_line_does_what_is_written_there(start):
    async with start((80, 24)) as desk:
        for words, done in (
            ("help", lambda: isinstance(desk.app.screen, HelpScreen)),
            ("details", lambda: desk.screen.in_details),
            ("target", lambda: desk.screen.prompt.display),
        ):
            assert await desk.pilot.click("#keys", offset=(desk.keys.index(words) + 2, 0))
            await desk.until(done, words)
            await desk.press("escape")
        await desk.pilot.click("#keys", offset=(79, 0))
        assert desk.app.screen is desk.screen
        assert not desk.screen.prompt.display


async def test_a_wide_last_line_names_more_keys(start):
    async with start((130, 36)) as desk:
        for said in ("t target", "a align", "L lock", "u undo", "e evaluate", "W why", "P plans"):
            assert said in desk.keys
        await desk.press("tab")
        assert "tab tree" in desk.keys
        assert "L lock" in desk.keys


def help_of(desk) -> str:
    """The rows of the help, with headings."""
    return "\n".join(f"{row.sign}  {row.words}" for row in desk.app.screen.rows.shown)


@pytest.mark.parametrize("key", ["question_mark", "f1"])
async def test_help_is_made_from_the_bindings(start, key):
    async with start(size=(80, 24)) as desk:
        await desk.press(key)
        assert isinstance(desk.app.screen, HelpScreen)
        words = help_of(desk)
        for binding in MainScreen.BINDINGS:
            if binding.id != "half":  # the tree says it in its own words
                assert binding.tooltip in words
        headings = [row.sign for row in desk.app.screen.rows.shown if row.sign and not row.words]
        assert headings == ["Marks", "Here", "Cut", "Look", "Compare", "Accuracy", "File", "Move"]
        await desk.press("down", "down", "f1")
        assert desk.app.focused is desk.tree


async def test_help_is_filtered_by_typing_and_runs_what_is_chosen(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("question_mark", *"accuracy eval")
        assert help_of(desk) == "Accuracy  \ne  Measure the accuracy by your task"
        await desk.press("escape", *"half", "escape", *"tied to")
        assert "◆" in help_of(desk)  # a mark, which can't be chosen
        await desk.press("escape", "g")
        assert help_of(desk).startswith("g  Type the ratio for the whole network")  # the key itself first
        await desk.press("enter")
        await desk.until(lambda: desk.screen.prompt.display, "the question")
        await desk.press("escape", "question_mark", *"qqq", "enter")
        assert isinstance(desk.app.screen, HelpScreen)
        await desk.press("escape", "escape")
        assert desk.app.screen is desk.screen


async def test_a_binding_of_a_group_exists():
    ids = {one.binding.id for one in keymap.known()}
    for group in GROUPS.values():
        assert set(group) <= ids


async def test_every_action_is_in_the_palette(start):
    async with start() as desk:
        titles = [command.title for command in desk.app.get_system_commands(desk.screen)]
        for binding in MainScreen.BINDINGS:
            if binding.id != "half":
                name = f"{binding.description[:1].upper()}{binding.description[1:]}"
                assert any(title.startswith(name) for title in titles), binding
        await desk.press("ctrl+p")
        await desk.until(lambda: isinstance(desk.app.screen, CommandPalette), "the palette")
        await desk.press(*"Undo")
        await desk.pilot.pause(0.3)
        await desk.press("escape")
        assert isinstance(desk.app.screen, MainScreen)


async def test_the_palette_finds_words_of_explanations(start):
    async with start() as desk:
        provider = Commands(desk.screen)
        assert any("Evaluate" in str(hit.match_display) for hit in [hit async for hit in provider.search("accuracy")])
        assert any("Undo" in str(hit.match_display) for hit in [hit async for hit in provider.search("Undo")])
        assert not [hit async for hit in provider.search("qqqqq")]
        await desk.press("ctrl+p")
        await desk.until(lambda: isinstance(desk.app.screen, CommandPalette), "the palette")
        await desk.press(*"measure the accuracy")
        options = desk.app.screen.query_one("CommandList")
        await desk.until(lambda: options.option_count and "Evaluate" in str(options.get_option_at_index(0).prompt), "e")
        await desk.press("escape")


async def test_an_action_of_the_palette_does_what_its_key_does(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.3.conv")
        commands = {command.title: command.callback for command in desk.app.get_system_commands(desk.screen)}
        await next(callback for title, callback in commands.items() if title.startswith("Lock"))()
        await desk.pilot.pause()
        assert desk.row("tnn_bin.3.conv").endswith("locked")


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": ""}], ids=["none", "sixteen"]
)
async def test_without_many_colours_states_are_words_and_weights(start, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with start() as desk:
        assert desk.app.theme == "tui-prune-plain"
        assert desk.app.native_ansi_color
        await desk.press("plus")
        changed = desk.tree.get_component_rich_style("cell--changed", partial=True)
        cursor = desk.tree.get_component_rich_style("cell--cursor", partial=True)
        assert changed.bold
        assert cursor.reverse
        assert "→" in desk.row("tnn_bin.0")


@pytest.mark.parametrize("after", [(), ("s",), ("r", "2", "5", "enter")], ids=["alone", "a dialog", "another question"])
async def test_keys_that_arrive_in_one_piece_work_one_after_the_other(start, after):
    async with start() as desk:
        await desk.press("j")
        for key in ("g", "5", "0", "enter", *after):
            desk.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await desk.until(lambda: desk.session.recipe.ratio == 0.5, "the ratio")
        if after == ("s",):
            await desk.until(lambda: isinstance(desk.app.screen, SaveScreen), "the dialog")
        elif after:
            await desk.until(lambda: list(desk.session.recipe.layers.values()) == [0.25], "the layer's own ratio")
