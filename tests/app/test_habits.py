"""What hands do without thinking: jumping, the palette, and windows of any size."""

import random

import pytest
import torch
from textual import events
from textual.command import CommandPalette
from textual.screen import ModalScreen
from torch import nn

from tui_prune.app import keymap
from tui_prune.app.cells import Cell, cell_len, text_of
from tui_prune.app.screens.leaving import LeavesOnce
from tui_prune.app.tabs import TABS, Tab
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.loading.open_model import open_model


async def test_jumping_goes_to_a_row_by_its_letter(start):
    async with start() as desk:
        await desk.press("semicolon")
        assert "letter layer" in desk.keys
        assert [desk.tree.render_line(y).text[0] for y in range(1, 5)] == ["a", "s", "d", "f"]
        before = desk.session.recipe
        await desk.press("f")
        assert desk.tree.cursor == 3
        assert desk.app.focused is desk.tree
        assert desk.session.recipe == before
        assert desk.tree.render_line(1).text[0] == " "
        assert "tab details" in desk.keys
        assert desk.tree.node.path in desk.screen.node.path


async def test_jumping_goes_to_a_tab_by_its_number_and_back(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("semicolon")
        assert "3 Channels" in desk.keys
        await desk.press("3")
        assert desk.screen.tabs.active == "channels"
        assert desk.app.focused.id == "channels"
        await desk.press("semicolon")
        assert "0 tree" in desk.keys
        assert text_of(desk.screen.tabs.line).startswith("1Overview")
        await desk.press("0")
        assert desk.app.focused is desk.tree
        assert "1" not in text_of(desk.screen.tabs.line)


@pytest.mark.parametrize("key", ["escape", "question_mark", "left", "tab"])
async def test_any_other_key_leaves_things_as_they_were(start, key):
    async with start() as desk:
        await desk.press("tab", "semicolon", key)
        assert desk.app.focused is desk.screen.overview
        assert desk.app.screen is desk.screen
        assert "tab tree" in desk.keys


async def test_a_colon_opens_the_palette_too(start):
    async with start() as desk:
        await desk.press("colon")
        await desk.until(lambda: isinstance(desk.app.screen, CommandPalette), "the palette")


async def test_two_enters_in_one_go_run_a_command_once_and_leave_the_screen_below(start):
    async with start() as desk:
        await desk.press("plus", "plus", "plus", "colon")
        await desk.until(lambda: isinstance(desk.app.screen, CommandPalette), "the palette")
        await desk.press(*"Undo")
        await desk.pilot.pause(0.5)
        for _ in range(4):
            desk.app.post_message(events.Key("enter", "\r"))
        await desk.until(lambda: desk.app.screen is desk.screen, "the main screen")
        await desk.pilot.pause(0.2)
        assert desk.session.recipe.ratio == 0.1
        assert desk.app.screen is desk.screen


async def test_two_escapes_in_one_go_leave_the_screen_below(start):
    async with start() as desk:
        for key in ("question_mark", "s", "colon"):
            await desk.press(key)
            assert desk.app.screen is not desk.screen
            top = desk.app.screen
            top.dismiss()
            top.dismiss()
            await desk.pilot.pause()
            assert desk.app.screen is desk.screen


def test_every_dialog_leaves_once():
    dialogs = {one.owner for one in keymap.known() if issubclass(one.owner, ModalScreen)}
    assert dialogs
    assert [owner for owner in dialogs if not issubclass(owner, LeavesOnce)] == []


class Odd(nn.Module):
    """Names as nobody should give them."""

    NAMES = ("池化层", "e\N{COMBINING ACUTE ACCENT}té", "🙂🙂", "bell\a\x1b[31m", "tab\tbed", "‮back")

    def __init__(self) -> None:
        super().__init__()
        for name in self.NAMES:
            self.add_module(name, nn.Sequential(nn.Conv2d(4, 4, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self.children():
            x = module(x)
        return x


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_wide_and_odd_names_leave_the_columns_in_line(start, size):
    opened = open_model(model=Odd().eval(), input_spec="1,4,4,4")
    async with start(size=size, opened=opened) as desk:
        await desk.press("g", "5", "0", "enter")
        width = desk.tree.room
        for y in range(desk.tree.row_count() + 1):
            strip = desk.tree.render_line(y)
            assert strip.cell_length == width
            assert strip.text.isprintable()
        rows = [desk.tree.render_line(y).text for y in range(2, desk.tree.row_count() + 1)]  # but the sums
        arrows = {cell_len(row.partition("→")[0]) for row in rows if "→" in row}
        assert len(arrows) == 1
        assert sum("→" in row for row in rows) == len(Odd.NAMES) - 1  # the last one is the output


async def test_a_storm_of_sizes_ends_in_the_right_picture(start, slow):
    chance = random.Random(5)
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter", "v")
        for _ in range(25):
            size = (chance.randint(1, 220), chance.randint(1, 70)) if chance.random() < 0.9 else (1, 1)
            await desk.pilot.resize_terminal(*size)
            await desk.press(chance.choice("j k 1 2 3 tab escape".split()))
        desk.session.go_on.set()
        await desk.pilot.resize_terminal(120, 36)
        await desk.press("escape", "8", "escape", "home")
        await desk.until(lambda: desk.tree.size == (54, 33), "the last size")
        assert desk.table.size.width > 50
        assert desk.row("tnn_bin.0").split()[-1] == "50" or "96" in desk.row("tnn_bin.0")
        assert desk.screen.query_one("#keys").region.y == 35


@pytest.mark.parametrize("size", [(60, 20), (79, 24), (80, 23), (20, 5), (1, 1)])
async def test_a_small_window_is_no_crash_and_says_what_it_wants(start, size):
    async with start(size=(80, 24)) as desk:
        await desk.pilot.resize_terminal(*size)
        await desk.press("j", "tab", "2", "escape", "question_mark", "escape")
        if size[0] >= 20:
            assert "80x24" in desk.status
        await desk.pilot.resize_terminal(80, 24)
        await desk.pilot.pause()
        assert "80x24" not in desk.status


async def test_a_tab_is_added_by_a_file_and_a_line(start, monkeypatch):
    def count(main, from_start):
        main.query_one("#layers", LinePane).show([(Cell(f"{len(main.plan.layers)} layers, on {main.node.path}"),)])

    monkeypatch.setitem(
        TABS, "layers", Tab("Layers", "How many there are", "tui_prune.app.widgets.line_pane:LinePane", count)
    )
    async with start((160, 50)) as desk:
        await desk.press("left_square_bracket")
        assert "[Layers]" in text_of(desk.screen.tabs.line)
        await desk.go_to("tnn_bin.0")
        assert "layers, on tnn_bin.0" in desk.pane("layers")
