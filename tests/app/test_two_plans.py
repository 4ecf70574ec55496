"""Another plan beside the present one in the Structure tab: where they differ, width by width."""

from pathlib import Path

import pytest
from textual.geometry import Region

from tui_prune import Recipe
from tui_prune.app.screens.list_dialog import ListDialog
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.formatting import count
from tui_prune.loading.open_model import open_model
from tui_prune.tasks.task import Task


def seen(desk) -> list[str]:
    """The lines of the table as they are on the screen."""
    table = desk.table
    return [strip.text.rstrip() for strip in table.render_lines(Region(0, 0, *table.size))]


def said(desk) -> str:
    return "".join(cell.text for cell in desk.app.screen.query_one("#figures", OneLine).line)


async def keep(desk, name: str) -> None:
    """Keep the present plan."""
    await desk.press("P", "a")
    await desk.type(name)
    await desk.press("enter", "escape")


async def compare(desk, name: str) -> None:
    """Put a plan that was kept beside the present one."""
    names = ["as opened", *(plan.name for plan in desk.session.shelf.plans)]
    await desk.press("P", "home", *["down"] * names.index(name), "c")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_widths_that_differ_are_marked_and_both_sums_stay(start, size):
    async with start(size) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await desk.go_to("tnn_bin.0")
        await desk.press("r", "2", "5", "enter")
        await compare(desk, "half")
        assert not isinstance(desk.app.screen, ListDialog)
        assert desk.app.focused is desk.table
        heading, *_, theirs, ours = seen(desk)
        assert "uncut" in heading
        assert heading.split()[heading.split().index("uncut") :][1:5] == ["half", "now", "by", "params"]
        assert "192 96 144 +48" in desk.table_row("tnn_bin.0")
        assert "≠" in desk.table_row("tnn_bin.0")
        assert "160 80 80 · 7.76k ≠ 11.6k" in desk.table_row("tnn_bin.2.conv"), "as wide, with other inputs"
        assert "192 96 96 ·" in desk.table_row("tnn_bin.5.conv")
        assert "≠" not in desk.table_row("tnn_bin.5.conv")
        assert "→" not in "".join(seen(desk))
        assert theirs.split()[:5] == ["half", "params", "248k", "26", "%"]
        assert ours.split()[:3] == ["now", "params", count(desk.session.plan.after.params)]
        assert ours.endswith("1 of 9 differ")
        assert desk.status.endswith("beside half · esc ends it")
        assert "cut 50 %" in desk.status
        await desk.press("end")
        assert seen(desk)[-2:] == [theirs, ours]


async def test_only_the_rows_that_differ_are_left_where_one_asks_for_them(start):
    async with start((80, 24)) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await desk.press("tab", "d")
        everything = [row.node.path for row in desk.table.rows]
        assert len(everything) > 9, "nothing is compared yet"
        await desk.press("escape")
        await desk.go_to("tnn_bin.5.conv")
        await desk.press("+")
        await compare(desk, "half")
        assert "d differing" in desk.keys
        await desk.press("d")
        assert [row.node.path for row in desk.table.rows] == ["tnn_bin", "tnn_bin.5.conv"]
        await desk.press("end", "-")
        assert [row.node.path for row in desk.table.rows] == []
        assert seen(desk)[-1].endswith("none of 9 differ")
        await desk.press("u", "d")
        assert [row.node.path for row in desk.table.rows] == everything


async def test_large_differences_of_modules_fit_their_column(start):
    opened = open_model("resnet50", input_spec="1,3,32,32")
    async with start((80, 24), opened=opened) as desk:
        await desk.press("g", "9", "9", "enter", "P", "home", "c")
        assert "−11k" in desk.table_row("layer4").split(), "of 11264"
        assert "2048 2048 21 −2027" in desk.table_row("layer4.0.conv3")


@pytest.mark.parametrize("key", ["escape", "c"])
async def test_escape_or_the_same_key_lets_go_of_the_other_plan(start, key):
    async with start((80, 24)) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await desk.press("+", "P", "home", "down", "c")
        assert desk.screen.beside is not None
        if key == "escape":
            await desk.press("escape")
        else:
            await compare(desk, "half")
        assert desk.screen.beside is None
        assert "beside" not in desk.status
        assert "→" in desk.table_row("tnn_bin.0")
        assert "all" in seen(desk)[-1]
        assert desk.app.focused is desk.table, "esc leaves one where one was"


async def test_what_is_typed_is_compared_before_it_is_chosen(start):
    async with start((160, 50)) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await compare(desk, "half")
        assert seen(desk)[-1].endswith("none of 9 differ")
        await desk.press("g", "2", "5")
        assert "192 96 144 +48" in desk.table_row("tnn_bin.0")
        await desk.press("escape")
        assert "192 96 96 ·" in desk.table_row("tnn_bin.0")
        await desk.press("u")
        assert "192 96 192 +96" in desk.table_row("tnn_bin.0")


async def test_the_other_plan_keeps_its_name_and_goes_with_it(start):
    async with start((160, 50)) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await compare(desk, "half")
        await desk.press("P", "r")
        await desk.type("one of two")
        await desk.press("enter", "escape")
        assert "beside one of two" in desk.status
        assert seen(desk)[-2].split()[:3] == ["one", "of", "two"]
        await desk.press("P", "d", "d", "escape")
        assert desk.screen.beside is None
        assert "→" in desk.table_row("tnn_bin.0")


async def test_the_uncut_network_can_be_compared_with_and_an_unkept_plan_cannot(start):
    async with start((80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", "P", "c")
        assert "a keeps it" in said(desk)
        await desk.press("home", "c")
        assert "192 192 96 −96" in desk.table_row("tnn_bin.0")
        assert desk.status.endswith("beside as opened · esc ends it")


async def test_a_plan_that_needs_long_work_first_says_so(start):
    task = Task(Path("task.py"), None, lambda: [])
    async with start((80, 24), task=task) as desk:
        desk.session.restore(
            {
                **desk.session.state(),
                "plans": [{"name": "by data", "recipe": Recipe(ratio=0.5, criterion="taylor").to_dict()}],
            }
        )
        await compare(desk, "by data")
        assert "calibration" in said(desk)
        assert desk.screen.beside is None


async def test_what_was_measured_of_both_stands_beside_their_sums(start):
    task = Task(Path("task.py"), lambda model: sum(p.numel() for p in model.parameters()) / 1e6)
    async with start((160, 50), task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await desk.press("g", "2", "5", "enter")
        await compare(desk, "half")
        assert "24.8 %" not in seen(desk)[-2]
        await desk.press("P", "e")
        await desk.until(lambda: desk.screen.work.job is None, "the evaluations")
        await desk.press("escape")
        theirs, ours = seen(desk)[-2:]
        assert "24.8 %" in theirs
        assert f"{sum(layer.params.after for layer in desk.session.plan.layers) / 1e4:.1f} %" in ours
        assert ours.endswith("8 of 9 differ")


async def test_the_comparison_is_copied_and_exported(start):
    async with start((80, 24)) as desk:
        await desk.press("g", "5", "0", "enter")
        await keep(desk, "half")
        await desk.press("g", "2", "5", "enter")
        await compare(desk, "half")
        await desk.press("C")
        assert "beside half" in desk.status
        assert desk.app.clipboard.startswith("| layer | kind | uncut | half | now | by | params | MACs |\n")
        await desk.press("E")
        await desk.type("both.md")
        await desk.press("enter")
        assert Path("both.md").read_text(encoding="utf-8") == desk.app.clipboard
