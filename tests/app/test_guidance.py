"""What the app says so that one finds the way: refusals with their reason, choices with their meaning, hints."""

import pytest
from textual.geometry import Region

from tui_prune.app.cells import text_of
from tui_prune.app.screens.dialog import OpenDialog
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import CRITERIA


@pytest.mark.parametrize("key", ["plus", "minus", "r"])
async def test_a_ratio_on_a_locked_layer_is_refused_with_the_reason(start, key):
    async with start((160, 40)) as desk:
        await desk.go_to("tnn_bin.3.conv")
        await desk.press("L")
        chosen = desk.session.recipe
        await desk.press(key)
        assert "tnn_bin.3.conv is locked (by you); L unlocks it" in desk.status
        assert desk.question == ""
        assert desk.session.recipe == chosen
        await desk.press("u")
        assert desk.session.recipe.lock == (), "no step was recorded for it"


async def test_a_ratio_on_a_layer_that_cannot_be_unlocked_says_why(start, resnet):
    async with start((160, 40), opened=resnet) as desk:
        await desk.go_to("fc")
        await desk.press("plus")
        assert "fc is locked (model output); L unlocks it" in desk.status
        assert not desk.session.recipe.layers


async def test_a_ratio_on_marked_layers_leaves_locked_ones_out(start):
    async with start((160, 40)) as desk:
        await desk.go_to("tnn_bin.3.conv")
        await desk.press("L", "m", "m", "r")
        assert "cut of 1 marked layer," in desk.question
        await desk.type("30")
        await desk.press("enter")
        assert list(desk.session.recipe.layers.values()) == [0.3]
        assert "tnn_bin.3.conv" not in desk.session.recipe.layers
        await desk.press("plus")
        assert list(desk.session.recipe.layers.values()) == [0.35]
        await desk.press("L")
        assert set(desk.session.recipe.lock) > {"tnn_bin.3.conv"}
        chosen = desk.session.recipe
        await desk.press("plus")
        assert "All of these layers are locked: tnn_bin.3.conv is locked" in desk.status
        assert desk.session.recipe == chosen


@pytest.mark.parametrize("columns", [80, 120, 160])
async def test_the_criteria_are_named_with_the_present_one_marked_and_its_meaning(start, columns):
    async with start((columns, 30)) as desk:
        await desk.press("c")
        assert desk.effect.startswith("↑↓")
        for name in CRITERIA:
            assert "l2: Euclidean norm of the weights" in desk.effect
            assert columns < 160 or name in desk.effect
        assert "[l2]" in desk.effect
        await desk.press("down")
        assert "[group_l2]" in desk.effect
        assert "group_l2: norm of all weights" in desk.effect
        assert len(desk.effect) <= columns - 2
        await desk.type("best")
        assert "one of" in desk.effect
        assert columns < 160 or (CRITERIA[-1] in desk.effect and "…" not in desk.effect)


async def test_the_ways_to_recover_are_named_with_their_meaning(start, half_right):
    async with start(task=half_right) as desk:
        await desk.press("g", "5", "0", "enter", "R")
        assert desk.effect.startswith("↑↓ [reconstruct] recalibrate finetune both")
        assert "reconstruct: layers refitted to what they gave before" in desk.effect


@pytest.mark.parametrize("text", ["", "half", "5 apples", "x params"])
async def test_the_target_says_what_can_be_typed(start, text):
    async with start((80, 24)) as desk:
        await desk.press("t")
        await desk.type(text)
        assert "50 %, 40 % params, 2 MB, 60 % latency" in desk.effect


async def test_what_the_target_names_works(start):
    async with start() as desk:
        for text in ("50 %", "40 % params", "0.5 MB"):
            await desk.press("t")
            await desk.type(text)
            await desk.press("enter")
            assert desk.question == "", desk.effect
            assert desk.session.recipe.targets


async def test_a_filter_is_told_as_long_as_it_holds(start, resnet):
    async with start((130, 40), opened=resnet) as desk:
        await desk.press("slash")
        await desk.type("conv2")
        await desk.press("enter")
        assert f"only conv2 · {len(desk.tree.rows)} rows · esc shows all" in desk.status
        await desk.press("j", "plus")
        assert "only conv2" in desk.status
        await desk.press("escape")
        assert "only" not in desk.status


async def test_opening_another_says_that_the_plan_is_kept(start):
    async with start() as desk:
        await desk.press("plus", "O", "slash", *"plain_conv", "enter")
        dialog = desk.app.screen
        assert isinstance(dialog, OpenDialog)
        assert "It is kept" in "\n".join(text_of(line) for line in dialog.query_one(LinePane).lines)
        await desk.press("escape")


async def test_rows_in_an_order_show_the_figures_that_order_them(start, resnet):
    async with start((160, 40), opened=resnet) as desk:
        await desk.go_to("layer4")
        await desk.press("r", "9", "0", "enter", "i")
        assert "uncut %" in text_of(desk.tree.header_cells(100))
        figures = []
        for row in desk.tree.rows:
            plan = desk.session.plan
            figure = f"{100 * plan.layer(row.node.path).macs.before / plan.before.macs:.1f}"
            assert f" {figure} " in f"{desk.row(row.node.path)} " or figure == "0.0"
            figures.append(float(figure))
        assert figures == sorted(figures, reverse=True)


@pytest.mark.parametrize("size", [(100, 24), (160, 60)])
async def test_arrows_in_the_channels_go_on_to_the_next_layer(start, size):
    async with start(size) as desk:
        await desk.go_to("tnn_bin.0")
        await desk.press("3", "tab")
        pane = desk.screen.query_one("#channels", LinePane)
        steps = pane.max_scroll_y
        await desk.press(*["down"] * steps)
        assert desk.tree.node.path == "tnn_bin.0"
        await desk.press("down")
        assert desk.tree.node.path != "tnn_bin.0"
        assert pane.scroll_offset.y == 0
        await desk.press("up")
        assert desk.tree.node.path == "tnn_bin.0"


async def test_nothing_is_unsaved_where_everything_was_undone(start):
    async with start() as desk:
        await desk.press("plus")
        assert "unsaved" in desk.title
        await desk.press("s", "enter")
        await desk.until(lambda: desk.app.screen.state == "done", "the file")
        await desk.press("escape")
        assert "unsaved" not in desk.title
        await desk.press("plus")
        assert "unsaved" in desk.title
        await desk.press("u", "u")
        assert desk.session.recipe.ratio == 0
        assert "unsaved" not in desk.title


@pytest.mark.parametrize("columns", [80, 120, 160])
async def test_the_table_says_how_many_blocks_a_row_stands_for(start, columns):
    async with start((columns, 40), opened=open_model("resnet50", input_spec="1,3,32,32")) as desk:
        await desk.to_table()
        lines = [strip.text for strip in desk.table.render_lines(Region(0, 0, *desk.table.size))]
        assert any("1…2" in line and "×2" in line for line in lines)


async def test_the_bar_is_no_shorter_in_an_order_than_in_the_tree(start):
    async with start((200, 40)) as desk:
        await desk.go_to("tnn_bin.0")
        await desk.press("r", "5", "0", "enter")

        def bar():
            return sum(letter in "▇░▒▓" for letter in desk.row("tnn_bin.0"))

        in_the_tree = bar()
        await desk.press("i")
        assert bar() >= in_the_tree > 0
