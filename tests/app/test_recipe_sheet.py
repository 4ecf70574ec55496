"""The sheet of all fields of the recipe: looked at, changed, put back."""

import dataclasses

import pytest

from tui_prune.app.cells import text_of
from tui_prune.app.widgets.recipe_pane import RecipePane
from tui_prune.planning.fields import FIELDS
from tui_prune.planning.recipe import Recipe
from tui_prune.session.plans import Plans


def sheet(desk) -> RecipePane:
    return desk.screen.query_one("#recipe", RecipePane)


def row(desk, name: str) -> str:
    place = next(index for index, field in enumerate(FIELDS) if field.name == name)
    return " ".join(text_of(sheet(desk).row_cells(place, 78)).split())


async def go_to(desk, name: str) -> None:
    place = next(index for index, field in enumerate(FIELDS) if field.name == name)
    await desk.press("home", *["j"] * place)


async def test_a_long_value_is_shown_whole_where_there_is_room(start):
    async with start((80, 24)) as desk:
        desk.screen.change(lambda: desk.session.set_ratio(0.25, "tnn_bin.10.conv"))
        desk.screen.change(lambda: desk.session.apply(desk.session.recipe.changed(lock=("tnn_bin.[0-9].conv",))))
        await desk.press("comma")
        assert row(desk, "layers") == "• own ratios tnn_bin.10.conv=25 conv1=25, layer2.*=50 (also r)"
        assert row(desk, "lock") == "• locked tnn_bin.[0-9].conv layers or globs that stay (also L)"
        desk.screen.change(lambda: desk.session.set_alignment(8, "tnn_bin.5.conv"))
        desk.screen.change(lambda: desk.session.set_alignment(16, "tnn_bin.6.conv"))
        assert row(desk, "layer_align") == "• own alignments tnn_bin.5.conv=8, tnn_bin.6.conv=16"


def test_every_field_of_a_recipe_has_a_row():
    assert {field.name for field in FIELDS} == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_what_is_shown_can_be_typed(field):
    recipe = Recipe(
        layers={"conv1": 0.25, "layer2.*": 0.5},
        layer_align={"conv1": 16},
        lock=("a", "b.*"),
        unlock=("fc",),
        max_ratio=0.75,
        min_channels=3,
        align="auto",
    )
    for one in (recipe, Recipe(ratio=0.125), Recipe(threshold=-0.5), Recipe(target_macs=0.3, target_bytes="5MB")):
        again = field.changed(one, field.value(one))
        assert getattr(again, field.name) == getattr(one, field.name)
    assert not field.is_changed(field.reset(recipe))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=str)
async def test_a_field_is_typed_with_its_effect_in_sight_and_can_be_undone(start, size):
    async with start(size=size) as desk:
        await desk.press("g", "5", "0", "enter", "comma")
        assert desk.app.focused is sheet(desk)
        assert row(desk, "ratio").startswith("• cut 50 %")
        assert row(desk, "min_channels").startswith("least channels 1 ")
        await go_to(desk, "min_channels")
        await desk.press("enter")
        assert "least channels:" in desk.question
        await desk.type("150")
        assert "params 970k" not in desk.effect
        assert "MACs" in desk.effect
        assert row(desk, "min_channels").startswith("• least channels 150")
        await desk.press("enter")
        assert desk.session.recipe.min_channels == 150
        assert min(layer.after for layer in desk.session.plan.layers if layer.before > 160) == 150
        assert desk.app.focused is sheet(desk)
        await desk.press("u")
        assert desk.session.recipe == Recipe(ratio=0.5)
        assert row(desk, "min_channels").startswith("least channels 1 ")
        await desk.press("escape")
        assert desk.app.focused is desk.tree
        assert desk.screen.tabs.active == "overview"


async def test_a_wrong_value_is_said_and_changes_nothing(start):
    async with start() as desk:
        await desk.press("comma")
        for name, text, sentence in [
            ("min_channels", "0", "at least 1"),
            ("max_ratio", "half", "share"),
            ("threshold", "low", "number"),
            ("lock", "conv7", "No layer is called conv7"),
            ("layers", "conv1", "conv1=25"),
            ("target_bytes", "5 parsecs", "size"),
        ]:
            await go_to(desk, name)
            await desk.press("enter")
            await desk.type(text)
            await desk.press("enter")
            assert sentence in desk.effect, name
            await desk.press("escape")
        assert desk.session.recipe == Recipe()


async def test_arrows_choose_and_x_puts_the_default_back(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "comma")
        await go_to(desk, "scope")
        await desk.press("right")
        assert desk.session.recipe.scope == "global"
        assert row(desk, "scope").startswith("• scope global")
        await desk.press("left")
        assert desk.session.recipe.scope == "local"
        await desk.press("right", "x")
        assert desk.session.recipe == Recipe(ratio=0.5)
        await go_to(desk, "criterion")
        seen = set()
        for _ in range(8):
            await desk.press("right")
            seen.add(desk.session.recipe.criterion)
        assert {"l1", "l2", "fpgm"} <= seen
        assert not {"taylor", "activation"} & seen, "they need calibration data, and there is none"


async def test_layers_are_typed_as_a_list(start):
    async with start() as desk:
        await desk.press("comma")
        await go_to(desk, "layers")
        await desk.press("enter")
        await desk.type("tnn_bin.0=25, tnn_bin.3.*=50 %")
        await desk.press("enter")
        assert desk.session.recipe.layers == {"tnn_bin.0": 0.25, "tnn_bin.3.*": 0.5}
        assert desk.table_row("tnn_bin.0").endswith("25 %")
        await desk.press("x")
        assert not desk.session.recipe.layers


async def test_what_a_list_of_layers_previews_is_what_enter_takes(start):
    async with start() as desk:
        await desk.press("comma")
        await go_to(desk, "layers")
        for text in ("tnn_bin.0=50, tnn_bin.*=25", "tnn_bin.*=25, tnn_bin.0=50", "tnn_bin.*=25, tnn_bin.?=50"):
            await desk.press("enter", "ctrl+u")
            await desk.type(text)
            previewed = desk.table_row("tnn_bin.0")
            await desk.press("enter")
            assert desk.table_row("tnn_bin.0") == previewed
            assert [*desk.session.recipe.layers] == [part.partition("=")[0] for part in text.split(", ")]
            await desk.press("u")
            await desk.press("ctrl+r")
            assert desk.table_row("tnn_bin.0") == previewed


async def test_the_sheet_goes_away_for_a_tab_and_comes_back(start):
    async with start() as desk:
        await desk.press("3", "comma")
        assert desk.screen.tabs.active == "recipe"
        await desk.press("comma")
        assert desk.screen.tabs.active == "channels"
        await desk.press("comma", "2")
        assert desk.screen.tabs.active == "pictures"
        await desk.press("comma", "right_square_bracket")
        assert desk.screen.tabs.active == "channels"


async def test_alignment_to_what_suits_the_device_is_measured_first(start, monkeypatch):
    prepared = []
    monkeypatch.setattr(Plans, "waits_for", lambda self, graph, recipe: "" if prepared else "layers are measured")
    monkeypatch.setattr(Plans, "prepare", lambda self, graph, recipe, progress: prepared.append(recipe.align))
    make = Plans.make
    monkeypatch.setattr(
        Plans, "make", lambda self, graph, recipe, *more: make(self, graph, recipe.changed(align=8), *more)
    )
    async with start() as desk:
        await desk.press("a")
        assert "auto" in (desk.effect if not desk.app.focused.value else "auto")
        await desk.type("auto")
        assert "enter starts: layers are measured" in desk.effect
        await desk.press("enter")
        await desk.until(lambda: desk.session.recipe.align == "auto", "the alignment")
        assert prepared == ["auto"]
