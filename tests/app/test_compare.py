"""The comparison on the screen: the folding table with its sums, both prints, the copy and the export."""

import json
from pathlib import Path

import pytest
from textual.geometry import Region

from tui_prune.app.cells import text_of
from tui_prune.app.screens import compare_keys
from tui_prune.app.screens.command_log import CommandLogDialog
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.app.widgets.print_pane import PrintPane
from tui_prune.loading.open_model import open_model


@pytest.fixture(scope="session")
def small():
    return open_model("resnet18", input_spec="1,3,32,32")


def seen(widget):
    """The lines of a widget as they are on the screen."""
    return [strip.text.rstrip() for strip in widget.render_lines(Region(0, 0, *widget.size))]


def rows(desk):
    return [row.node.path for row in desk.table.rows]


def print_pane(desk):
    return desk.screen.query_one("#print", PrintPane)


async def printed(desk, differences=True):
    pane = print_pane(desk)
    word = "differences" if differences else "nothing differs"
    await desk.until(lambda: word in pane.words or "difference " in pane.words, "both prints")
    return pane


# The Structure tab


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 50), (200, 60)])
async def test_the_sums_stay_in_sight_wherever_the_rows_are(start, small, size):
    async with start(size, opened=small) as desk:
        await desk.press("g", "5", "0", "enter")
        await desk.to_table()
        for key in ("home", "end"):
            await desk.press(key)
            last = seen(desk.table)[-1]
            assert "11.7M → 3.06M 26 %" in last
            assert "→ 12.2 MB" in last
        assert desk.table.path == "fc"
        assert any("fc" in line for line in seen(desk.table)[:-1])


async def test_module_rows_have_the_sums_of_what_they_hold(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("g", "5", "0", "enter")
        inside = [layer for layer in desk.session.plan.layers if layer.name.startswith("layer1.")]
        assert sum(layer.params.before for layer in inside) == 147_968
        assert desk.table_row("layer1").startswith("▾ layer1 Sequential 148k → 37.1k")
        assert desk.table_row("layer1").endswith("50 %")
        assert desk.table_row("fc").startswith("fc linear 1000 513k → 257k")
        assert desk.table_row("fc").endswith("lock")


async def test_what_changes_has_an_arrow_even_where_rounding_hides_it(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("8")
        assert "→" not in "".join(seen(desk.table))
        desk.screen.change(lambda: desk.session.apply(desk.session.recipe.changed(layers={"layer1.0.conv1": 0.02})))
        await desk.pilot.pause()
        assert desk.session.plan.layer("layer1.0.conv1").after == 63
        assert "64 → 63" in desk.table_row("layer1.0.conv1")
        assert "11.7M → 11.7M" in seen(desk.table)[-1]
        assert "→" not in desk.table_row("layer4.1.conv2")


async def test_modules_fold_and_unfold(start, small):
    async with start((160, 50), opened=small) as desk:
        everything = rows(desk)
        await desk.press("8", "tab", "j")
        assert desk.table.path == "layer1"
        await desk.press("h")
        assert "layer1.0" not in rows(desk)
        assert desk.table_row("layer1").startswith("▸ layer1")
        await desk.press("right")
        assert rows(desk) == everything
        await desk.press("right", "right")
        assert desk.table.path == "layer1.0.conv1"
        await desk.press("left", "left")
        assert (desk.table.path, "layer1.0.conv1" in rows(desk)) == ("layer1.0", False)
        await desk.press("space")
        assert rows(desk) == everything
        await desk.press("end", "space", "right")
        assert rows(desk) == everything


async def test_the_table_follows_the_tree_and_the_tree_the_table(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("8")
        await desk.go_to("layer2.0")
        assert desk.table.path == "layer2.0"
        await desk.press("tab", "h", "tab", "j")
        assert desk.tree.node.path == "layer2.0.conv1"
        assert desk.table.path == "layer2.0"  # it is folded into that row
        await desk.press("tab", "j")
        assert desk.table.path == "layer2.1" == desk.tree.node.path
        await desk.press("enter")
        assert desk.app.focused is desk.tree


async def test_only_the_rows_that_change_are_painted(start, small, monkeypatch):
    async with start((160, 50), opened=small) as desk:
        await desk.press("8", "tab", "j")
        painted = []
        monkeypatch.setattr(desk.table, "refresh", lambda *regions, **_: painted.extend(regions))
        await desk.press("j")
        assert len(painted) == 2


async def test_a_click_on_the_sums_moves_nothing(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("8", "tab", "j")
        await desk.pilot.click("#structure", offset=(5, desk.table.size.height - 1))
        assert desk.table.path == "layer1"
        await desk.pilot.click("#structure", offset=(5, 1))
        assert desk.table.path == "conv1"


# The Print tab


async def test_both_prints_stand_side_by_side_where_there_is_room(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("g", "5", "0", "enter", "5")
        pane = await printed(desk)
        assert desk.app.focused is pane
        assert not desk.tree.display or not desk.tree.size.width
        lines = seen(pane)
        first = next(line for line in lines if "(conv1)" in line)
        before, after = first.split(" ≠ ")
        assert "(conv1): Conv2d(3, 64," in before
        assert "(conv1): Conv2d(3, 32," in after
        assert sum("ReLU" in part for line in lines for part in line.split(" │ ")) % 2 == 0
        await desk.press("escape")
        assert desk.app.focused is desk.tree
        assert desk.tree.size.width


async def test_in_few_columns_a_line_that_differs_is_two(start, small):
    async with start((80, 24), opened=small) as desk:
        await desk.press("g", "5", "0", "enter", "5")
        pane = await printed(desk)
        lines = pane.words.splitlines()
        place = next(place for place, line in enumerate(lines) if line.startswith("-   (conv1)"))
        assert "Conv2d(3, 64," in lines[place]
        assert lines[place + 1].startswith("+   (conv1): Conv2d(3, 32,")
        assert sum(line.startswith("-") for line in lines) == sum(line.startswith("+") for line in lines) == 41
        assert "ResNet(" in lines[1]


async def test_space_goes_from_difference_to_difference_and_the_tree_along(start, small):
    async with start((80, 24), opened=small) as desk:
        await desk.press("g", "5", "0", "enter", "5")
        pane = await printed(desk)
        await desk.press("space")
        assert text_of(pane.header_cells(pane.room)).endswith("difference 1 of 41")
        assert desk.tree.node.path == "conv1"
        await desk.press("space", "space")
        assert "difference 3 of 41" in seen(pane)[0]
        assert desk.tree.node.path == "layer1.0.conv1"
        await desk.press("backspace", "backspace", "backspace")
        assert "difference 41 of 41" in seen(pane)[0]
        assert desk.tree.node.path == "fc"
        assert "fc" in desk.title or "fc" in text_of(desk.screen.tabs.line)
        await desk.press("space")
        assert "difference 1 of 41" in seen(pane)[0]


async def test_a_line_of_a_norm_speaks_of_the_module_around_it(start, small):
    async with start((80, 24), opened=small) as desk:
        await desk.press("plus", "5")
        pane = await printed(desk)
        await desk.press(*["space"] * 4)
        assert pane.path == "layer1.0.bn1"
        assert desk.tree.node.path == desk.screen.node.path == "layer1.0"


async def test_the_prints_follow_the_plan_and_the_cursor_stays(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("5")
        pane = await printed(desk, differences=False)
        assert "nothing differs" in seen(pane)[0]
        await desk.press("space")
        await desk.press(*["j"] * 6)
        where = pane.path
        await desk.press("g", "5", "0", "enter")
        await desk.until(lambda: "difference" in seen(pane)[0] and "41" in seen(pane)[0], "the new print")
        assert pane.path == where
        await desk.press("u")
        await desk.until(lambda: "nothing differs" in seen(pane)[0], "the print of before")


async def test_it_opens_at_the_layer_of_the_tree(start, small):
    async with start((120, 36), opened=small) as desk:
        await desk.go_to("layer3.1.conv2")
        await desk.press("plus", "5")
        pane = await printed(desk)
        assert pane.path == "layer3.1.conv2"
        await desk.press("tab", "k")
        assert pane.path == "layer3.1.conv1"
        await desk.press("tab", "enter")
        assert desk.app.focused is desk.tree


async def test_only_the_lines_in_sight_are_made(start, small, monkeypatch):
    async with start((160, 50), opened=small) as desk:
        made = []
        cells = PrintPane.row_cells
        monkeypatch.setattr(PrintPane, "row_cells", lambda *given: made.append(given[1]) or cells(*given))
        await desk.press("plus", "5")
        pane = print_pane(desk)
        await desk.until(lambda: pane.row_count() > 80, "both prints")
        assert made
        assert max(made) < 50


async def test_a_difference_far_to_the_right_is_in_sight(start, digits):
    async with start((80, 24), opened=digits) as desk:
        await desk.press("plus", "5")
        pane = await printed(desk)
        long, other = (f"  (a): Odd({'x' * 90}, size={size})" for size in (64, 32))
        from tui_prune.report.prints import aligned

        pane._prints = aligned(long, other)
        pane._lay_out(0)
        assert "size=64" in pane.words
        assert "size=32" in pane.words


async def test_tabs_go_round_through_the_print(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("left_square_bracket", "left_square_bracket", "left_square_bracket", "left_square_bracket")
        assert desk.screen.tabs.active == "print"
        assert desk.app.focused is desk.tree
        assert desk.tree.size.width
        await desk.press("right_square_bracket", "right_square_bracket", "right_square_bracket")
        assert desk.screen.tabs.active == "structure"


# Copy and export


async def test_the_table_is_copied_as_markdown(start, small):
    async with start((160, 50), opened=small) as desk:
        await desk.press("g", "5", "0", "enter", "C")
        assert desk.app.clipboard.startswith("| layer | kind | width |")
        assert "| `layer1.0.conv1` | conv 3x3 | 64 → 32 |" in desk.app.clipboard
        assert "copied as Markdown: 21 layers, " in desk.status
        assert "refuse" not in desk.status


async def test_a_copy_is_confirmed_while_long_work_runs(start, digits, slow):
    async with start((80, 24), opened=digits, kind=slow) as desk:
        await desk.press("plus", "v")
        await desk.until(lambda: "25 %" in desk.status, "the progress")
        await desk.press("C")
        assert "copied as Markdown" in desk.status
        await desk.press("escape")


async def test_a_copy_that_terminals_may_refuse_says_so(start, small, monkeypatch):
    monkeypatch.setattr(compare_keys, "LARGEST_COPY", 1000)
    async with start((200, 50), opened=small) as desk:
        await desk.press("C")
        assert "terminals may refuse so much: E writes it to a file" in desk.status


@pytest.mark.parametrize(
    ("name", "start_of_text"), [("a.md", "| layer"), ("a.csv", "layer,"), ("a.toml", "ratio = 0.5")]
)
async def test_export_writes_what_the_suffix_says(start, digits, name, start_of_text):
    async with start((80, 24), opened=digits) as desk:
        await desk.press("g", "5", "0", "enter", "E")
        assert desk.app.focused.value == "nin.md"
        await desk.type(name)
        await desk.press("enter")
        assert Path(name).read_text().startswith(start_of_text)
        assert "written to" in desk.status
        assert desk.app.focused is desk.tree


async def test_export_of_the_report_and_the_prints(start, digits):
    async with start((80, 24), opened=digits) as desk:
        await desk.press("g", "5", "0", "enter")
        for name in ("a.json", "a.txt"):
            await desk.press("E")
            await desk.type(name)
            await desk.press("enter")
        assert json.loads(Path("a.json").read_text())["layers"][0]["after"] == 96
        assert "Conv2d(3, 96, kernel_size=(5, 5)" in Path("a.txt").read_text()


async def test_export_asks_before_it_replaces_a_file(start, digits):
    Path("there.md").write_text("precious")
    async with start((80, 24), opened=digits) as desk:
        await desk.press("E")
        await desk.type("there.md")
        await desk.press("enter")
        assert "there already; enter replaces it" in desk.effect
        assert Path("there.md").read_text() == "precious"
        await desk.press("escape", "E")
        await desk.type("there.md")
        await desk.press("enter")
        assert Path("there.md").read_text() == "precious"
        await desk.press("enter")
        assert Path("there.md").read_text().startswith("| layer")


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.docx", "End it in .md .txt .csv .json .toml"), ("no/such/a.md", "There is no folder no/such")],
)
async def test_export_says_what_will_not_do(start, digits, name, words):
    async with start((120, 36), opened=digits) as desk:
        await desk.press("E")
        await desk.type(name)
        await desk.press("enter")
        assert words in desk.effect
        assert not list(Path().iterdir())


async def test_a_long_complaint_is_cut_and_not_left_out(start, digits):
    async with start((80, 24), opened=digits) as desk:
        await desk.press("E")
        await desk.type(f"{'deep/' * 30}a.md")
        await desk.press("enter")
        assert desk.effect.startswith("! There is no folder deep/")
        assert desk.effect.rstrip().endswith("…")


async def test_the_home_of_nobody_is_no_crash(start, small):
    async with start((120, 36), opened=small) as desk:
        await desk.press("E")
        await desk.type("~nobody-at-all/a.md")
        await desk.press("enter")
        assert desk.effect.startswith("!")


async def test_what_was_done_is_told_as_commands_and_copied(start):
    async with start((80, 24)) as desk:
        await desk.press("g", "2", "5", "enter", "Y")
        assert isinstance(desk.app.screen, CommandLogDialog)
        words = "\n".join(text_of(line) for line in desk.app.screen.query_one(LinePane).lines)
        assert "tui-prune prune nin --ratio 0.25 -o nin-pruned.pt" in words
        for key, start_of in (("t", "ratio = 0.25"), ("p", "import tui_prune"), ("c", "tui-prune prune nin")):
            await desk.press(key)
            assert desk.app.clipboard.startswith(start_of)
        await desk.press("escape")
        assert desk.app.screen is desk.screen
