"""The tree at a glance: what its rows say, and the keys that work with several of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tui_prune.app.cells import text_of, width_of
from tui_prune.app.screens.help import HelpScreen
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.tasks.task import Task


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, 8, 1)
        self.expand = nn.Conv2d(8, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.expand(torch.relu(self.squeeze(x)))


class Repeating(nn.Module):
    """Thirty blocks of one structure between a stem and a head, and a layer with a name in wide letters."""

    def __init__(self, blocks: int = 30) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(16) for _ in range(blocks)))
        self.add_module("池化层", nn.Conv2d(16, 12, 3, padding=1))
        self.norm = nn.GroupNorm(2, 12)
        self.head = nn.Conv2d(12, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self._modules["池化层"](self.blocks(self.stem(x)))
        return self.head(self.norm(x)).mean((2, 3))


@pytest.fixture(scope="module")
def repeating() -> OpenedModel:
    torch.manual_seed(0)
    return open_model(model=Repeating().eval(), input_spec="1,3,8,8")


def paths(desk) -> list[str]:
    return [row.node.path for row in desk.tree.rows]


def heading(desk, width: int = 76) -> str:
    return " ".join(text_of(desk.tree.header_cells(width)).split())


# Repeated blocks


async def test_repeated_blocks_are_one_row_that_says_how_many(start, repeating):
    async with start(opened=repeating, size=(80, 24)) as desk:
        first = ["blocks.0", "blocks.0.squeeze", "blocks.0.expand"]
        assert paths(desk) == ["", "stem", "blocks", *first, "blocks.1…29", "池化层", "head"]
        assert desk.row("blocks.1…29").startswith("╰─ ▸ 1…29 Block ×29")
        await desk.go_to("blocks.1…29")
        await desk.press("right")
        assert len(desk.tree.rows) == 9 + 29 * 3
        await desk.press("right")
        assert desk.tree.node.path == "blocks.1"
        await desk.press("h", "h")
        assert desk.tree.node.path == "blocks.1…29"
        await desk.press("space")
        assert len(desk.tree.rows) == 9


async def test_a_key_folds_and_unfolds_all_repeated_blocks(start, repeating, digits):
    async with start(opened=repeating) as desk:
        await desk.press("f")
        assert len(desk.tree.rows) == 9 + 29 * 3
        assert "unfolded" in desk.status
        await desk.go_to("blocks.7.expand")
        await desk.press("f")
        assert len(desk.tree.rows) == 9
        assert desk.tree.node.path == "blocks.1…29", "the cursor is on what its row was folded into"
    async with start(opened=digits) as desk:
        await desk.press("f")
        assert "no repeated blocks" in desk.status


async def test_small_networks_are_shown_whole(start):
    opened = open_model(model=Repeating(5).eval(), input_spec="1,3,8,8")
    async with start(opened=opened) as desk:
        assert "blocks.4.expand" in paths(desk)


async def test_a_ratio_on_repeated_blocks_is_that_of_all_layers_in_them(start, repeating):
    async with start(opened=repeating) as desk:
        await desk.go_to("blocks.1…29")
        await desk.press("r", "5", "0")
        assert "all in blocks.1…29" in text_of(desk.screen.query_one("#prompt-label").line)
        await desk.press("enter")
        plan = desk.session.plan
        assert {plan.layer(f"blocks.{place}.squeeze").after for place in range(1, 30)} == {4}
        assert plan.layer("blocks.0.squeeze").after == 8
        assert desk.row("blocks.1…29").endswith("own 50 %")
        await desk.press("plus")
        assert desk.row("blocks.1…29").endswith("own 55 %")
        await desk.press("L")
        assert desk.session.plan.layer("blocks.3.squeeze").locked
        assert not desk.session.plan.layer("blocks.0.squeeze").locked
        await desk.press("L", "x")
        assert not desk.session.plan.cuts


async def test_search_finds_what_is_folded_away(start, repeating):
    async with start(opened=repeating) as desk:
        await desk.press("slash", *"17.exp")
        assert desk.effect.startswith("1 layer")
        assert desk.tree.node.path == "blocks.17.expand"
        await desk.press("enter")
        assert paths(desk)[-1] == "blocks.17.expand"
        await desk.press("escape")
        assert desk.tree.node.path == "blocks.1…29"


async def test_details_of_repeated_blocks_are_their_sum(start, repeating):
    async with start(opened=repeating) as desk:
        await desk.go_to("blocks.1…29")
        await desk.press("3")
        assert "Block ×29" in desk.pane("channels")
        assert "58" in desk.pane("channels")
        await desk.press("2")
        await desk.until(lambda: "blocks.1" in desk.pane("pictures"), "the drawing of the first of them")


async def test_where_there_is_no_column_for_it_the_name_says_how_many(start, repeating):
    async with start(opened=repeating) as desk:
        place = paths(desk).index("blocks.1…29")
        for width in range(24, 100):
            assert "×29" in text_of(desk.tree.row_cells(place, width)), width


# What rows say


async def test_rows_say_what_share_of_the_macs_is_left_and_add_up(start, resnet):
    async with start(opened=resnet) as desk:
        assert "MACs %" in heading(desk)
        assert " 100.0" in desk.row("")
        await desk.go_to("layer3")
        await desk.press("r", "5", "0", "enter")
        plan = desk.session.plan
        inside = sum(layer.macs.after for layer in plan.layers if layer.name.startswith("layer3."))
        assert f" {100 * inside / plan.before.macs:.1f} " in desk.row("layer3")
        assert f" {100 * plan.after.macs / plan.before.macs:.1f}" in desk.row("")


async def test_marks_say_what_is_special_about_a_layer_and_the_help_explains_them(start, repeating):
    async with start(opened=repeating, size=(80, 24)) as desk:
        await desk.go_to("池化层")
        await desk.press("A", "4", "enter", "r", "3", "0", "enter")
        assert desk.row("池化层").endswith("own 30 % ≡#")
        await desk.press("home")
        assert desk.row("stem").startswith("╭─ stem")
        await desk.press("question_mark")
        dialog = desk.app.screen
        assert isinstance(dialog, HelpScreen)
        signs = [row.sign for row in dialog.rows.shown]
        for mark in ("├─", *"=◆≡#●○"):
            assert mark in signs, mark


async def test_where_there_is_room_marks_are_words(start, repeating):
    async with start(opened=repeating, size=(200, 60)) as desk:
        await desk.go_to("池化层")
        await desk.press("A", "4", "enter")
        line = text_of(desk.tree.row_cells(desk.tree.cursor, desk.tree.room - 1))
        assert line.rstrip().endswith("align 4 grouped")


@pytest.mark.parametrize("width", [30, 44, 60, 79, 110])
async def test_wide_letters_leave_the_columns_where_they_are(start, repeating, width):
    async with start(opened=repeating) as desk:
        await desk.press("M")
        lines = [desk.tree.row_cells(place, width) for place in range(len(desk.tree.rows))]
        assert len({width_of(line) for line in lines}) == 1


# Orders


async def test_a_key_orders_the_layers_and_the_heading_says_how(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer2.0.conv1")
        await desk.press("i")
        assert heading(desk).startswith("layer by MACs")
        macs = [desk.session.plan.layer(path).macs.before for path in paths(desk)]
        assert macs == sorted(macs, reverse=True)
        assert len(macs) == 21
        assert desk.tree.node.path == "layer2.0.conv1"
        await desk.press("i")
        assert heading(desk).startswith("layer by parameters kind width params uncut %")
        await desk.press("i")
        assert heading(desk).startswith("layer by share cut"), "no layer was scanned, so there is no such order"
        await desk.press("plus", "plus")
        assert desk.tree.node.path == "layer2.0.conv1"
        assert desk.tree.cursor == 0, "rows go where they belong as the plan changes"
        assert " 9.4 own" in desk.row("layer2.0.conv1")
        await desk.press("slash", *"layer4", "enter")
        assert len(desk.tree.rows) == 5
        await desk.press("slash", *"nothing", "enter", "right", "left", "space", "m", "T", "y", "escape", "i")
        assert heading(desk).startswith("layer kind")
        assert paths(desk)[:3] == ["", "conv1", "layer1"]


async def test_layers_can_be_ordered_by_what_a_scan_says(start):
    task = Task(Path("task.py"), lambda model: float(model.tnn_bin[2].conv.weight.shape[0]), None, None)
    async with start(task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the evaluation")
        await desk.press("n")
        await desk.until(lambda: desk.screen.work.job is None, "the scan", patience=120)
        await desk.press("i", "i", "i")
        assert heading(desk).startswith("layer by sensitivity kind width MACs lost %")
        assert paths(desk)[0] == "tnn_bin.2.conv"
        assert desk.row(paths(desk)[-1]).count("·") == 1, "the output layer wasn't scanned"


# Marks


async def test_keys_act_on_all_marked_layers_as_one_change(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer1.0.conv1")
        await desk.press("m")
        assert desk.tree.node.path == "layer1.0.conv2"
        assert desk.row("layer1.0.conv1").startswith("│ ● conv1")
        assert desk.row("layer1").startswith("│ ○ ▾ layer1")
        await desk.go_to("layer3.0")
        await desk.press("m")
        assert desk.tree.node.path == "layer3.1", "past what is marked with the module"
        assert "4 marked" in desk.status
        await desk.press("r")
        assert text_of(desk.screen.query_one("#prompt-label").line) == "cut of 4 marked layers, in %:"
        await desk.press("5", "0", "enter")
        plan = desk.session.plan
        assert plan.layer("layer1.0.conv1").after == 32
        assert plan.layer("layer3.0.conv1").after == 128
        assert plan.layer("layer3.1.conv1").after == 256
        await desk.press("u")
        assert not desk.session.plan.cuts, "one step back"
        await desk.press("ctrl+r", "plus", "minus", "minus")
        assert desk.session.plan.layer("layer1.0.conv1").ratio == 0.45
        assert desk.session.plan.layer("layer3.0.conv2").ratio == 0.45
        await desk.press("a", "8", "enter")
        assert desk.session.recipe.align == 1
        assert desk.session.plan.layer("layer1.0.conv1").after == 40  # of 36
        await desk.press("x", "L")
        assert not desk.session.plan.cuts
        assert desk.session.plan.layer("layer1.0.conv1").locked == desk.session.plan.layer("layer3.0.conv1").locked
        await desk.press("L")
        assert desk.session.recipe.lock == ()
        await desk.press("M")
        assert "marked" not in desk.status


async def test_marks_keep_each_its_own_ratio_when_stepped(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("r", "2", "0", "enter", "m", "m", "plus")
        assert desk.session.recipe.layers == {"tnn_bin.2.conv": 0.25, "tnn_bin.3.conv": 0.05}


async def test_all_rows_in_sight_of_a_search_can_be_marked(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.press("slash", *"downsample", "enter", "M", "escape")
        assert desk.tree.marked == {f"layer{place}.0.downsample.0" for place in (2, 3, 4)}
        assert "3 marked" in desk.status
        await desk.press("M")
        assert not desk.tree.marked
        await desk.press("M")
        assert len(desk.tree.marked) == 21
        await desk.press("M", "home", "m")
        assert len(desk.tree.marked) == 21, "the top row stands for all"


async def test_marks_outlive_folding_and_show_on_what_hides_them(start, repeating):
    async with start(opened=repeating) as desk:
        await desk.press("f")
        await desk.go_to("blocks.7.expand")
        await desk.press("m", "f")
        assert desk.row("blocks.1…29").startswith("╰─○ ▸ 1…29")
        await desk.go_to("blocks.1…29")
        await desk.press("m")
        assert desk.row("blocks.1…29").startswith("╰─● ▸ 1…29")
        assert "58 marked" in desk.status
        await desk.press("k", "m")
        assert not desk.tree.marked


async def test_the_last_choice_wins_over_ratios_of_single_layers_in_it(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer3.0.conv1")
        await desk.press("r", "2", "0", "enter", "h")
        assert desk.tree.node.path == "layer3.0"
        await desk.press("plus")
        assert desk.session.plan.layer("layer3.0.conv1").ratio == 0.25, "a step raises each from where it is"
        assert desk.session.plan.layer("layer3.0.conv2").ratio == 0.05
        await desk.press("r", "5", "0", "enter")
        assert desk.session.recipe.layers == {"layer3.0.*": 0.5}
        await desk.press("j", "x")
        assert "layer3.0.*" in desk.status, "why there is nothing to take away"
        assert desk.session.recipe.layers == {"layer3.0.*": 0.5}


async def test_unlocking_marked_layers_leaves_others_locked(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer4.1")
        await desk.press("L")
        assert desk.session.recipe.lock == ("layer4.1.*",)
        await desk.go_to("layer4.1.conv1")
        await desk.press("m")
        await desk.go_to("layer1.0.conv1")
        await desk.press("m", "L", "L")
        plan = desk.session.plan
        assert plan.layer("layer4.1.conv2").locked
        assert not plan.layer("layer4.1.conv1").locked
        assert not plan.layer("layer1.0.conv1").locked


async def test_a_folded_row_shows_that_something_in_it_has_a_ratio_of_its_own(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer1.1.conv1")
        await desk.press("r", "5", "0", "enter", "h")
        assert desk.tree.node.path == "layer1.1"
        assert "own" not in desk.row("layer1.1")
        await desk.press("h")
        assert desk.row("layer1.1").endswith("own …")


# Copy and paste


async def test_a_layers_setting_is_copied_and_pasted(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("p")
        assert "Nothing is copied yet" in desk.status
        await desk.press("r", "5", "0", "enter", "A", "1", "6", "enter", "y")
        assert "copied own 50 %, align 16" in desk.status
        await desk.press("j", "p")
        assert "pasted own 50 %, align 16 onto tnn_bin.3.conv" in desk.status
        assert desk.session.plan.layer("tnn_bin.3.conv").after == 48
        await desk.press("j", "m", "m", "p")
        assert "onto 2 marked layers" in desk.status
        assert desk.session.recipe.layer_align.keys() == desk.session.recipe.layers.keys()
        assert len(desk.session.recipe.layers) == 4
        await desk.press("u")
        assert len(desk.session.recipe.layers) == 2
        await desk.press("M")
        await desk.go_to("tnn_bin.7.conv")
        await desk.press("L", "y")
        assert desk.status.endswith("copied no ratio of its own, locked; p pastes it")
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("p")
        assert desk.row("tnn_bin.2.conv").endswith("locked")
        assert desk.session.recipe.layers.keys() == desk.session.recipe.layer_align.keys() == {"tnn_bin.3.conv"}
        await desk.press("home", "y")
        assert "Move to the layer" in desk.status
        await desk.go_to("tnn_bin")
        await desk.press("y")
        assert "different settings" in desk.status


# Ties


async def test_tied_layers_light_up_together(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer2.0.conv2")
        lit = {"layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"}
        assert {path for path in paths(desk) if "◆" in desk.row(path)} == lit
        assert desk.row("layer3.0.conv2").startswith("╭─ conv2"), "joined, though not with the layer under the cursor"
        await desk.go_to("layer2.1")
        await desk.press("h")
        await desk.go_to("layer2.0.downsample.0")
        assert "◆" in desk.row("layer2.1"), "it hides one of them"
        await desk.press("k", "k")
        assert not any("◆" in desk.row(path) for path in paths(desk))


async def test_moving_repaints_no_more_than_the_rows_whose_mark_changes(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer2.0.conv1")
        painted: list[int] = []
        render_line = type(desk.tree).render_line
        desk.tree.render_line = lambda y: painted.append(y) or render_line(desk.tree, y)
        cursor = desk.tree.cursor
        await desk.press("j")
        others = [paths(desk).index(path) for path in ("layer2.0.downsample.0", "layer2.1.conv2")]
        assert set(painted) == {place + 1 for place in (cursor, cursor + 1, *others)}


async def test_a_key_goes_round_the_tied_layers(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer2.1")
        await desk.press("h")
        await desk.go_to("layer2.0.conv2")
        seen = []
        for _ in range(3):
            await desk.press("T")
            seen.append(desk.tree.node.path)
        assert seen == ["layer2.0.downsample.0", "layer2.1.conv2", "layer2.0.conv2"]
        assert desk.table.path == "layer2.0.conv2"
        await desk.press("slash", *"2.1.conv2", "enter", "T")
        assert desk.tree.node.path == "layer2.0.conv2", "a search doesn't hide it"
        assert len(desk.tree.rows) > 5
        await desk.press("k", "T")
        assert "no other layer is tied" in desk.status


# Where one was


async def test_a_position_can_be_kept_and_gone_back_to(start, repeating):
    async with start(opened=repeating) as desk:
        await desk.go_to("blocks.1…29")
        await desk.press("right")
        await desk.go_to("blocks.5.squeeze")
        await desk.press("m", "m", "i")
        position = desk.tree.position()
        cursor = desk.tree.node.path
    async with start(opened=repeating) as desk:
        desk.tree.restore(position)
        await desk.pilot.pause()
        assert desk.tree.node.path == cursor == desk.table.path
        assert desk.tree.marked == {"blocks.5.squeeze", "blocks.5.expand"}
        assert heading(desk).startswith("layer by MACs")
        await desk.press("i", "i", "i")
        assert "blocks.29.expand" in paths(desk)
        desk.tree.restore({"cursor": "gone", "folded": ["gone", "blocks"], "marked": ["gone"], "order": "gone"})
        assert paths(desk) == ["", "stem", "blocks", "池化层", "head"]
        assert desk.row("blocks").startswith("╰─ ▸ blocks Sequential (60)")


async def test_h_and_l_fold_and_unfold_as_the_arrows_do(start):
    async with start((120, 36)) as desk:
        await desk.go_to("tnn_bin")
        rows = len(desk.tree.rows)
        await desk.press("h")
        assert len(desk.tree.rows) < rows
        await desk.press("l")
        assert len(desk.tree.rows) == rows
        await desk.press("tab", *["8"] * (desk.screen.tabs.active != "structure"))
        rows = len(desk.table.rows)
        await desk.press("h")
        assert len(desk.table.rows) < rows
        await desk.press("l", "l")
        assert len(desk.table.rows) == rows
        assert desk.session.recipe.lock == ()


async def test_a_click_on_the_name_of_a_column_orders_by_it(start):
    async with start((120, 36)) as desk:
        for words, order in (("MACs %", "macs"), ("ratio", "cut"), ("ratio", "tree"), ("width", "params")):
            heading = text_of(desk.tree.header_cells(desk.tree.room))
            await desk.pilot.click("#tree", offset=(heading.index(words) + 1, 0))
            assert desk.tree.order == order
            if order == "macs":
                await desk.pilot.click("#tree", offset=(heading.index("layer") + 1, 0))
                assert desk.tree.order == "tree"
