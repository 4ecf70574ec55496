"""What a user does on the main screen, and what it then says."""

from pathlib import Path

import pytest
import torch

from tests.app.networks import small_nin
from tui_prune.app.cells import Cell, paint
from tui_prune.tasks.task import Task


async def test_nothing_is_cut_when_a_network_is_opened(start):
    async with start() as desk:
        assert not desk.session.plan.cuts
        assert "params 970k" in desk.title
        assert "→" not in desk.title
        assert "unsaved" not in desk.title
        assert desk.status.startswith("cut 0 % · l2 · local")
        assert desk.row("tnn_bin.2.conv") == "2.conv conv 1x1 160 ▇▇▇▇▇ 14.1"
        assert desk.row("tnn_bin.11") == "11 conv 1x1 10 ▖ 0.1 locked"


async def test_the_global_ratio_shows_its_whole_consequence(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter")
        assert desk.session.recipe.ratio == 0.5
        assert "970k → 248k  26 %" in desk.title
        assert "● unsaved" in desk.title
        assert desk.status.startswith("cut 50 %")
        assert desk.row("tnn_bin.2.conv") == "2.conv conv 1x1 160 → 80 ▇▓▓▓▓ 3.5 50 %"
        assert desk.table_row("tnn_bin.2.conv").startswith("2.conv conv 1x1 160 → 80 30.9k → 7.76k")
        assert desk.table_row("tnn_bin.11").endswith("lock")
        await desk.press("u")
        assert "unsaved" not in desk.title


async def test_what_is_typed_shows_before_it_is_accepted_and_escape_takes_it_back(start):
    async with start() as desk:
        await desk.press("g", "5", "0")
        assert "160 → 80" in desk.row("tnn_bin.2.conv")
        assert "params 248k  26 %" in desk.effect
        assert desk.session.recipe.ratio == 0
        await desk.press("escape")
        assert "→" not in desk.row("tnn_bin.2.conv")
        assert desk.app.focused is desk.tree


@pytest.mark.parametrize("text", ["50", "50%", "50 %", "0.5", ".5", "0,5"])
async def test_a_half_may_be_typed_in_several_ways(start, text):
    async with start() as desk:
        await desk.press("g")
        await desk.type(text)
        await desk.press("enter")
        assert desk.session.recipe.ratio == 0.5


@pytest.mark.parametrize(("text", "words"), [("100", "less than 100 %"), ("x", "such as 50"), ("1", "1 %")])
async def test_a_wrong_answer_is_said_in_the_prompt_and_loses_nothing(start, text, words):
    async with start() as desk:
        await desk.press("g")
        await desk.type(text)
        await desk.press("enter")
        assert words in desk.effect
        assert desk.app.focused is desk.screen.prompt.field
        await desk.type("25")
        await desk.press("enter")
        assert desk.session.recipe.ratio == 0.25


async def test_keys_of_the_screen_can_be_typed_into_a_prompt(start):
    async with start() as desk:
        await desk.press("slash", "question_mark", "q", "g")
        assert desk.screen.prompt.field.value == "?qg"
        assert len(desk.app.screen_stack) == 2


async def test_a_layer_gets_a_ratio_of_its_own(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.5.conv")
        await desk.press("r", "2", "5", "enter")
        assert desk.session.recipe.layers == {"tnn_bin.5.conv": 0.25}
        assert desk.row("tnn_bin.5.conv") == "5.conv conv 5x5 192 → 144 ▇▇▇▇▇▇▇▇▇▇▇▇▇░░░░ 39.8 own 25 %"
        assert "1 own" in desk.status
        await desk.press("plus", "plus", "minus")
        assert desk.session.recipe.layers == {"tnn_bin.5.conv": 0.3}
        await desk.press("x")
        assert desk.session.recipe.layers == {}


async def test_on_the_top_row_steps_change_the_whole_network(start):
    async with start() as desk:
        await desk.press("plus", "plus", "plus", "minus")
        assert desk.session.recipe.ratio == pytest.approx(0.1)
        await desk.press("x")
        assert desk.session.recipe.ratio == 0


async def test_a_module_speaks_for_all_its_layers(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer3.0")
        await desk.press("r", "5", "0", "enter")
        assert desk.session.recipe.layers == {"layer3.0.*": 0.5}
        assert desk.row("layer3.0").endswith("own 50 %")
        assert "256 → 128" in desk.row("layer3.0.conv1")
        assert "256 → 128" not in desk.row("layer3.1.conv1")
        await desk.press("plus")
        assert desk.session.recipe.layers == {"layer3.0.*": 0.55}
        await desk.press("x", "L")
        assert desk.session.recipe.layers == {}
        assert desk.row("layer3.0.conv1").endswith("locked")
        await desk.press("L")
        assert desk.session.recipe.lock == ()


async def test_layers_that_are_tied_are_marked(start, resnet):
    async with start(opened=resnet) as desk:
        assert desk.row("layer2.0.conv2").startswith("╭─ conv2")
        assert desk.row("layer2.0.downsample.0").startswith("├─ downsample.0")
        assert desk.row("layer2.1.conv2").startswith("╰─ conv2")
        assert desk.row("layer2.1.conv1").startswith("│ conv1")


async def test_locking_and_unlocking(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter")
        await desk.go_to("tnn_bin.3.conv")
        await desk.press("L")
        assert desk.row("tnn_bin.3.conv") == "3.conv conv 1x1 96 ▇▒ 3.5 locked"
        await desk.press("L")
        assert "96 → 48" in desk.row("tnn_bin.3.conv")
        await desk.go_to("tnn_bin.11")
        await desk.press("L", "L")
        assert "10 → 5" in desk.row("tnn_bin.11")


async def test_undo_and_redo(start):
    async with start() as desk:
        await desk.press("plus", "plus")
        await desk.press("u")
        assert desk.session.recipe.ratio == 0.05
        await desk.press("u", "u")
        assert desk.session.recipe.ratio == 0
        assert "nothing to undo" in desk.status
        await desk.press("ctrl+r", "U")
        assert desk.session.recipe.ratio == pytest.approx(0.1)


async def test_alignment_of_all_and_of_one(start):
    async with start() as desk:
        await desk.press("g", "3", "0", "enter", "a", "1", "6", "enter")
        assert desk.session.recipe.align == 16
        assert "align 16" in desk.status
        await desk.go_to("tnn_bin.0")
        await desk.press("A")
        await desk.type("0")
        assert "at least 1" in desk.effect
        await desk.type("5")
        await desk.press("enter")
        assert desk.session.plan.layer("tnn_bin.0").after % 5 == 0


async def test_criterion_is_chosen_with_up_and_down_and_scope_is_switched(start):
    async with start() as desk:
        await desk.press("c", "down")
        assert desk.screen.prompt.field.value == "group_l2"
        await desk.press("enter")
        assert desk.session.recipe.criterion == "group_l2"
        await desk.press("o")
        assert desk.session.recipe.scope == "global"
        await desk.press("c")
        await desk.type("best")
        assert "one of" in desk.effect


async def test_with_a_global_scope_a_row_shows_no_ratio_that_isnt_its_own(start):
    async with start() as desk:
        await desk.press("o", "g", "5", "0", "enter")
        assert not desk.row("tnn_bin.0").endswith("%")


async def test_find_shows_only_what_matches(start):
    async with start() as desk:
        await desk.press("slash", "1", "0")
        assert [row.node.path for row in desk.tree.rows] == ["", "tnn_bin", "tnn_bin.10.conv"]
        assert desk.effect.startswith("1 layer")
        assert desk.tree.node.path == "tnn_bin.10.conv"
        await desk.press("enter")
        assert len(desk.tree.rows) == 3
        await desk.press("escape")
        assert len(desk.tree.rows) == 11
        await desk.press("slash", "z", "escape")
        assert len(desk.tree.rows) == 11


async def test_the_cursor_shows_a_layer_on_both_sides(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.6.conv")
        assert desk.table.path == "tnn_bin.6.conv"
        await desk.press("8", "tab", "j")
        assert desk.table.path == "tnn_bin.7.conv"
        assert desk.tree.node.path == "tnn_bin.7.conv"
        await desk.press("plus")
        assert desk.session.recipe.layers == {"tnn_bin.7.conv": 0.05}
        await desk.press("enter", "G")
        assert desk.tree.node.path == "tnn_bin.11"


async def test_folding(start, resnet):
    async with start(opened=resnet) as desk:
        rows = len(desk.tree.rows)
        await desk.go_to("layer1")
        await desk.press("h")
        assert len(desk.tree.rows) < rows
        await desk.press("h")
        assert desk.tree.node.path == ""
        await desk.go_to("layer1")
        await desk.press("right", "right", "right")
        assert desk.tree.node.path == "layer1.0.conv1"
        await desk.press("h", "h", "h", "space", "tab", "j")
        assert desk.tree.node.path == desk.table.path


async def test_norms_show_when_asked_for(start):
    async with start() as desk:
        await desk.press("full_stop")
        assert desk.row("tnn_bin.2.bn").startswith("bn batch norm 160")
        await desk.press("full_stop")
        assert all("bn" not in row.node.path.split(".") for row in desk.tree.rows)


async def test_tabs_show_the_drawings_and_the_ties(start, resnet):
    async with start(opened=resnet) as desk:
        await desk.go_to("layer2.0.conv2")
        await desk.press("right_square_bracket")
        await desk.until(lambda: "channel scores" in desk.pane("pictures"), "the drawings")
        assert "weights" in desk.pane("pictures")
        assert "batch norm scales" in desk.pane("pictures")
        await desk.press("plus")
        await desk.until(lambda: "6 of 128 go (shaded)" in desk.pane("pictures"), "the cut in the drawing")
        assert "░" in desk.pane("pictures")
        await desk.press("3")
        assert "layer2.0.downsample.0" in desk.pane("channels")
        assert "They go along" in desk.pane("channels")
        await desk.press("G")
        assert "model output" in desk.pane("channels")
        await desk.press("home")
        assert "can be cut" in desk.pane("channels")
        await desk.press("2")
        await desk.until(lambda: "of 4800 go (shaded), 20 layers" in desk.pane("pictures"), "the scales of all layers")
        assert "MACs" in desk.pane("pictures")


async def test_in_80_columns_the_halves_take_turns(start):
    async with start(size=(80, 24)) as desk:
        details = desk.screen.query_one("#details")
        assert desk.tree.display
        assert not details.display
        await desk.go_to("tnn_bin.5.conv")
        await desk.press("enter")
        assert details.display
        assert not desk.tree.display
        assert desk.app.focused is desk.screen.query_one("#overview")
        await desk.press("2")
        await desk.until(lambda: "channel scores" in desk.pane("pictures"), "the drawings")
        first = desk.pane("pictures")
        await desk.press("space")
        await desk.until(lambda: desk.pane("pictures") != first, "the next drawing")
        await desk.press("escape")
        assert desk.tree.display
        assert not details.display
        assert desk.app.focused is desk.tree


async def test_the_drawings_are_pages_that_a_key_turns(start):
    async with start(size=(80, 24)) as desk:
        await desk.go_to("tnn_bin.0")
        await desk.press("plus", "2")
        seen = []
        for page, words in enumerate(("channel scores", "batch norm scales", "kernels of 5x5", "30°", "costs"), 1):
            await desk.until(lambda page=page: f"{page} of 5" in desk.pane("pictures"), f"page {page}")
            assert words in desk.pane("pictures")
            seen.append(desk.pane("pictures"))
            await desk.press("space")
        await desk.until(lambda: desk.pane("pictures") == seen[0], "the first page again")
        await desk.press("backspace")
        await desk.until(lambda: desk.pane("pictures") == seen[-1], "the page before")
        desk.screen.query_one("#pictures").forget()  # now nothing is drawn yet when the keys come
        await desk.press("space", "space", "space")
        await desk.until(lambda: desk.pane("pictures") == seen[2], "three pages on")


async def test_arrows_go_on_to_the_next_layer_and_the_drawing_stays_of_its_kind(start):
    async with start(size=(80, 24)) as desk:
        await desk.go_to("tnn_bin.0")
        await desk.press("2", "space", "space")
        await desk.until(lambda: "192 x 3 kernels of 5x5" in desk.pane("pictures"), "the picture of the weights")
        await desk.press("down")
        assert desk.tree.node.path == "tnn_bin.2.conv"
        await desk.until(lambda: "160 x 192" in desk.pane("pictures"), "the next layer's")
        await desk.press("j", "k", "up", "up")
        assert desk.tree.node.path == "tnn_bin.0"
        assert desk.app.focused is desk.screen.query_one("#pictures")
        await desk.until(lambda: "192 x 3 kernels of 5x5" in desk.pane("pictures"), "the first layer's")


async def test_drawings_are_turned_zoomed_and_made_logarithmic_by_keys(start):
    async with start() as desk:
        pane = desk.screen.query_one("#pictures")
        await desk.go_to("tnn_bin.0")
        await desk.press("2", "tab")
        await desk.until(lambda: "14.4k values" in desk.pane("pictures"), "the histogram")
        plain = desk.pane("pictures")
        await desk.press("l")
        await desk.until(lambda: "log" in desk.pane("pictures"), "a logarithmic scale")
        await desk.press("z")
        await desk.until(lambda: "log, central 99 %" in desk.pane("pictures"), "the zoom")
        await desk.press("l", "z")
        await desk.until(lambda: desk.pane("pictures") == plain, "the histogram as it was")
        await desk.press("greater_than_sign")
        assert desk.pane("pictures") == plain
        await desk.press("space")
        await desk.until(lambda: "kernels of 5x5" in desk.pane("pictures"), "the picture of the weights")
        assert not pane.max_scroll_y
        await desk.press("z")
        await desk.until(lambda: pane.max_scroll_y, "a line for every output")
        await desk.press("down", "down")
        assert pane.scroll_offset.y == 2
        assert desk.tree.node.path == "tnn_bin.0"
        await desk.press("z", "space")
        await desk.until(lambda: "30°" in desk.pane("pictures"), "the sizes in 3D")
        assert pane.scroll_offset.y == 0
        before = desk.pane("pictures")
        await desk.press("greater_than_sign", "right", "less_than_sign")  # an arrow does it, too
        await desk.until(lambda: "45°" in desk.pane("pictures"), "another angle")
        assert desk.pane("pictures") != before


async def test_keys_move_a_threshold_through_the_scales_and_what_is_below_goes(start):
    async with start(size=(80, 24)) as desk:
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("2", "space")
        await desk.until(lambda: "160 scales" in desk.pane("pictures"), "the scales")
        await desk.press(*["right"] * 30)
        recipe = desk.session.recipe
        assert recipe.criterion == "bn_scale"
        scales = desk.session.opened.module.get_submodule("tnn_bin.2.bn").weight.detach().abs()
        gone = int((scales < recipe.threshold).sum())
        assert gone >= 90
        assert desk.session.plan.layer("tnn_bin.2.conv").after == 160 - gone
        await desk.until(lambda: f"{gone} of 160 go (shaded)" in desk.pane("pictures"), "the new plan")
        assert f"cut below {recipe.threshold:.3g}" in desk.pane("pictures")
        await desk.press("left")
        assert desk.session.recipe.threshold < recipe.threshold
        await desk.press(*["left"] * 60)
        assert desk.session.recipe.threshold is None
        assert not desk.session.plan.cuts


async def test_a_drawing_repaints_only_what_differs(start):
    async with start(size=(80, 24)) as desk:
        pane = desk.screen.query_one("#pictures")
        await desk.go_to("tnn_bin.0")
        await desk.press("2", "backspace")
        await desk.until(lambda: "▸ tnn_bin.0" in desk.pane("pictures"), "the costs")
        painted: list[int] = []
        render_line = type(pane).render_line
        pane.render_line = lambda y: painted.append(y) or render_line(pane, y)
        await desk.press("down")
        await desk.until(lambda: "▸ tnn_bin.2.conv" in desk.pane("pictures"), "the next layer's")
        assert 0 < len(set(painted)) <= 3


async def test_blanks_take_no_colour_from_a_picture_beside_them(start):
    async with start() as desk:
        cells = (Cell("▀", "#005f87 on #262626"), Cell("  "), Cell(" ", "#005f87 on #875f00"), Cell(" ", "dim"))
        pieces = list(paint(desk.screen.query_one("#pictures"), cells, 7))
        ground = pieces[1].style.bgcolor
        assert [(piece.text, piece.style.bgcolor.number) for piece in pieces if piece.style.bgcolor != ground] == [
            ("▀", 235),
            (" ", 94),
        ]
        assert "".join(piece.text for piece in pieces) == "▀" + " " * 6


async def test_activations_are_drawn_once_a_key_has_had_them_measured(start):
    data = [torch.randn(2, 3, 32, 32)]
    async with start(task=Task(Path("task.py"), lambda model: 0.5, lambda: data, None)) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the evaluation")
        await desk.go_to("tnn_bin.0")
        await desk.press("2", "tab", "space", "space", "space")
        await desk.until(lambda: "m runs the calibration data" in desk.pane("pictures"), "the offer")
        await desk.press("m")
        await desk.until(lambda: "393k values" in desk.pane("pictures"), "the activations")
        assert "mean size of each channel" in desk.pane("pictures")


async def test_activations_cant_be_measured_without_calibration_data(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.0")
        await desk.press("2", "tab", "m")
        await desk.until(lambda: "--task FILE.py" in desk.status, "why not")


async def test_without_colours_pictures_are_letters(start, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with start(size=(80, 24)) as desk:
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("2", "space", "space")
        await desk.until(lambda: "160 x 192" in desk.pane("pictures"), "the picture of the weights")
        assert "▒" in desk.pane("pictures")
        assert "▀" not in desk.pane("pictures")
        styles = {cell.style for line in desk.screen.query_one("#pictures").lines for cell in line}
        assert not any(style.startswith("#") for style in styles)


async def test_every_size_can_be_shown(start):
    async with start() as desk:
        for tab in "123":
            await desk.press(tab)
            for size in ((80, 24), (40, 10), (20, 5), (10, 3), (100, 24), (99, 24), (200, 60), (120, 36)):
                await desk.pilot.resize_terminal(*size)
                await desk.pilot.pause()
        assert desk.app.focused is desk.tree


async def test_a_change_repaints_only_what_differs(start):
    async with start() as desk:
        painted: list[int] = []
        render_line = type(desk.tree).render_line
        desk.tree.render_line = lambda y: painted.append(y) or render_line(desk.tree, y)
        await desk.go_to("tnn_bin.5.conv")
        painted.clear()
        await desk.press("plus")
        assert set(painted) <= {1, 2, desk.tree.cursor + 1, desk.tree.cursor + 2}  # the next layer takes fewer in


async def test_a_target_is_asked_for_and_met_by_the_largest_network(start):
    async with start() as desk:
        await desk.press("t")
        await desk.type("40 % macs, 1 MB")
        assert "MACs" in desk.effect
        await desk.press("enter")
        plan = desk.session.plan
        assert plan.after.macs <= 0.4 * plan.before.macs and plan.after.bytes <= 1_000_000
        assert max(plan.after.macs / (0.4 * plan.before.macs), plan.after.bytes / 1e6) > 0.9
        assert desk.status.startswith("macs to 40 % · bytes to 1.00 MB · cut 50 %")
        await desk.press("t")
        await desk.type("40 elephants")
        assert "Type" in desk.effect
        await desk.press("escape", "plus")
        assert not desk.session.recipe.targets, "a step of the ratio starts from what the target has led to"
        assert desk.session.recipe.ratio == pytest.approx(plan.ratio + 0.05, abs=1e-3)


async def test_a_criterion_that_needs_data_runs_it_first(start, digits):
    images = torch.randn(4, 3, 32, 32)
    task = Task(Path("task.py"), None, lambda: [images], None)
    async with start(task=task) as desk:
        await desk.press("c")
        await desk.type("activation")
        assert "calibration data" in desk.effect
        await desk.press("enter")
        await desk.until(lambda: desk.session.recipe.criterion == "activation", "the criterion")
        await desk.press("g", "5", "0", "enter")
        assert desk.session.plan.after.params < desk.session.plan.before.params


async def test_channels_that_do_nothing_go_at_a_key(start):
    opened = small_nin()
    async with start(opened=opened) as desk:
        await desk.press("D")
        assert "no channel does nothing" in desk.status
        assert not desk.screen.plan.cuts
    norm = next(module for module in opened.module.modules() if isinstance(module, torch.nn.BatchNorm2d))
    torch.nn.init.zeros_(norm.weight[:3])
    torch.nn.init.zeros_(norm.bias[:3])
    async with start(opened=opened) as desk:
        await desk.press("D")
        assert "3 channels do nothing" in desk.status
        assert int((~desk.screen.plan.keep).sum()) == 3
        await desk.press("u")
        assert not desk.screen.plan.cuts
