"""The Overview: what is left, what it is worth, where the cost lies, and what to do next."""

from pathlib import Path

import pytest

from tui_prune.tasks.task import Task


async def test_it_is_the_first_tab_and_says_how_to_begin(start):
    async with start() as desk:
        assert desk.screen.tabs.active == "overview"
        shown = desk.pane("overview")
        assert "MACs" in shown and "parameters" in shown and "bytes" in shown
        assert "next  t says how large the network may be" in shown


async def test_it_moves_while_a_target_is_typed(start):
    async with start() as desk:
        await desk.press("t")
        await desk.type("40 % macs")
        await desk.until(lambda: "of 222M  40 %" in desk.pane("overview"), "the gauge of the MACs")
        assert "▓" in desk.pane("overview") or "▒" in desk.pane("overview")
        await desk.press("escape")
        assert "40 %" not in desk.pane("overview")


async def test_the_width_asked_and_the_aligned_one_are_told_apart(start):
    async with start() as desk:
        await desk.press("g", "5", "3", "enter", "a", "8", "enter")
        await desk.go_to("tnn_bin.2.conv")
        assert "160 → 80 channels; asked for 76, alignment made it 80" in desk.pane("overview")
        await desk.press("a", *["backspace"] * 3, "1", "enter")
        assert "asked for" not in desk.pane("overview")


async def test_a_mark_below_the_skyline_follows_the_cursor(start):
    async with start() as desk:
        places = []
        for path in ("tnn_bin.0", "tnn_bin.5.conv"):
            await desk.go_to(path)
            line = next(line for line in desk.pane("overview").split("\n") if "▲" in line)
            places.append(line.index("▲"))
            assert path in desk.pane("overview")
        assert places[0] < places[1]


async def test_a_layer_of_which_hardly_anything_is_left_is_said(start):
    async with start() as desk:
        await desk.go_to("tnn_bin.5.conv")
        await desk.press("r", "9", "9", "enter")
        assert "hardly anything of it is left" in desk.pane("overview")
        assert "tnn_bin.5.conv keeps 2 of 192 channels" in desk.pane("overview")
        styles = {cell.style for cell in desk.tree.row_cells(desk.tree.cursor, 76)}
        assert "error" in styles


async def test_accuracy_and_what_to_do_about_it(start):
    async with start(task=Task(Path("task.py"), lambda model: 0.5, lambda: [], None)) as desk:
        await desk.until(lambda: "50.0 % uncut" in desk.pane("overview"), "the accuracy")
        await desk.press("g", "5", "0", "enter")
        assert "not measured yet (e)" in desk.pane("overview")
        assert "e measures" in desk.pane("overview")
        await desk.press("e")
        await desk.until(lambda: "→ 50.0 % cut" in desk.pane("overview"), "that of the cut network")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 50)])
async def test_coupled_layers_are_named_and_nothing_is_wider_than_the_pane(start, resnet, size):
    async with start(size, opened=resnet) as desk:
        await desk.go_to("layer2.0.conv2")
        await desk.press("r", "5", "0", "enter")
        if size[0] == 80:
            await desk.press("tab")
        shown = desk.pane("overview").split("\n")
        pane = desk.screen.query_one("#overview")
        assert len(shown) <= pane.size.height
        assert max(map(len, shown)) <= pane.room
        assert any(line.startswith("coupled with layer2.0.downsample.0, layer2.1.conv2") for line in shown)
