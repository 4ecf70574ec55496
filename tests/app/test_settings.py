"""What the user's config file changes in the app, and that what is wrong with it is said once."""

import pytest
from textual.color import Color

from tui_prune.app import theme
from tui_prune.app.app import PruneApp
from tui_prune.app.cells import COMPONENT_CLASSES, text_of
from tui_prune.app.screens.dialog import QuitDialog
from tui_prune.app.screens.help import HelpScreen
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.config import THEMES, Config, config_file, load
from tui_prune.loading.request import OpenRequest


def lines(screen) -> str:
    return "\n".join(text_of(line) for line in screen.query_one(LinePane).lines)


async def test_remapped_keys_work_and_are_shown_everywhere(start):
    keys = {"target": "f6", "quit.quit": "ctrl+q,f12", "help": "f1", "ratio.more": "b"}
    async with start(config=Config(keys=keys)) as desk:
        assert "f6 target" in desk.keys
        assert "f1 help" in desk.keys
        assert "b step" in desk.keys
        await desk.press("t")
        assert not desk.screen.prompt.display
        await desk.press("b")
        assert desk.session.recipe.ratio == 0.05
        await desk.press("f6")
        assert desk.screen.prompt.display
        await desk.press("escape", "f1")
        assert isinstance(desk.app.screen, HelpScreen)
        assert "f6" in [row.sign for row in desk.app.screen.rows.shown]
        await desk.press("escape")
        titles = [command.title for command in desk.app.get_system_commands(desk.screen)]
        assert "Target  (f6)" in titles
        await desk.press("q")
        assert isinstance(desk.app.screen, QuitDialog)
        assert "ctrl+q quits" in desk.app.screen.query_one(".box").border_subtitle
        await desk.press("escape")


async def test_what_is_wrong_with_the_file_is_said_once(start):
    async with start(config=Config(keys={"lock": "g"})) as desk:
        assert '! "lock" keeps its key: g is that of "ratio.global"' in desk.status
        await desk.press("plus")
        assert "!" not in desk.status
        await desk.press("L")
        assert desk.app.wrong_settings() == ""


async def test_several_wrong_settings_are_counted(start):
    wrong = Config(keys={"lock": "g", "nothing": "x"}, problems=("There is no theme 'x'.",))
    async with start(config=wrong) as desk:
        assert "3 settings of config.toml don't apply; tui-prune config says why" in desk.status


@pytest.mark.parametrize("name", THEMES)
async def test_a_theme_of_the_file_is_worn(start, name):
    async with start(config=Config(theme=name)) as desk:
        assert desk.app.theme == theme.LOOKS[name].name
        assert desk.app.native_ansi_color == (name == "plain")


async def test_a_theme_is_changed_from_the_palette_for_this_session(start):
    async with start() as desk:
        commands = {command.title: command.callback for command in desk.app.get_system_commands(desk.screen)}
        assert "Theme: dark" not in commands
        commands["Theme: light"]()
        await desk.pilot.pause()
        assert desk.app.theme == "tui-prune-light"
        assert "f3 keeps light as the theme" in desk.status
        ground = desk.tree.rich_style.bgcolor
        assert ground is not None
        assert ground.name == theme.LIGHT.background


async def test_few_colours_have_the_plain_look_whatever_the_file_says(start, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with start(config=Config(theme="light")) as desk:
        assert desk.app.theme == theme.PLAIN.name
        titles = [command.title for command in desk.app.get_system_commands(desk.screen)]
        assert not [title for title in titles if title.startswith("Theme")]


def contrast(one: Color, other: Color) -> float:
    """As WCAG 2 has it: 1 for the same colour, 21 for black on white."""

    def luminance(color: Color) -> float:
        parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [name for name in THEMES if name != "plain"])
async def test_every_text_stands_out_from_every_ground(start, name):
    async with start(config=Config(theme=name)) as desk:
        variables = desk.app.get_css_variables()
        grounds = [Color.parse(variables[ground]) for ground in theme.GROUNDS]
        assert grounds[0] == desk.tree.styles.background
        for style in COMPONENT_CLASSES:
            color = (desk.tree.rich_style + desk.tree.get_component_rich_style(style, partial=True)).color
            for ground in grounds:
                assert contrast(Color.from_rich_color(color), ground) >= 4.5, (style, color, ground)


def test_the_app_reads_no_file_by_itself():
    """A test, or somebody who embeds it, gets what it asks for."""
    app = PruneApp(lambda request, progress: None, OpenRequest("nin"))
    assert app.theme == theme.QUIET.name
    assert app.wrong_settings() == ""


async def test_a_theme_is_tried_while_one_moves_over_it_and_kept_by_enter(start):
    async with start((80, 24)) as desk:
        await desk.press("f3", "down")
        assert desk.app.theme == theme.LIGHT.name
        await desk.press("escape")
        assert desk.app.theme == theme.QUIET.name
        assert not config_file().exists()
        await desk.press("f3", "down", "enter")
        assert "kept in" in text_of(desk.app.screen.said.line)
        await desk.press("escape")
        assert desk.app.theme == theme.LIGHT.name
        assert load().theme == "light"


async def test_a_key_is_typed_works_at_once_and_is_kept(start):
    async with start() as desk:
        await desk.press("f3", *"target", "enter", "f6")
        assert load().keys == {"target": "f6"}
        await desk.press("enter", "g")  # which is that of something else
        assert "g is that of" in text_of(desk.app.screen.said.line)
        await desk.press("escape", "escape")
        assert "f6 target" in desk.keys
        await desk.press("t")
        assert not desk.screen.prompt.display
        await desk.press("f6")
        assert desk.screen.prompt.display
        await desk.press("escape", "f3", *"target", "enter", "delete", "escape", "escape", "t")
        assert desk.screen.prompt.display
        assert load().keys == {}


async def test_a_file_that_cannot_be_changed_says_so(start):
    async with start() as desk:
        config_file().parent.mkdir(parents=True)
        config_file().write_text("theme =")
        await desk.press("f3", "enter")
        assert "! " in text_of(desk.app.screen.said.line)
        assert config_file().read_text() == "theme ="
