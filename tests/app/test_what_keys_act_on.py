"""Keys act on the row that is highlighted, ask before an output is cut, and say what they have taken back."""

import pytest


async def test_keys_act_on_the_row_under_the_bar_of_the_table(start):
    async with start((120, 40)) as desk:
        assert desk.screen.node.path == ""
        await desk.press("8", "tab")
        row = desk.table.path
        assert row and desk.screen.node.path == row
        await desk.press("plus")
        assert [*desk.session.recipe.layers] == [f"{row}.*"]
        assert desk.session.recipe.ratio == 0


async def test_so_they_do_after_two_plans_were_put_beside_each_other(start):
    async with start((120, 40)) as desk:
        await desk.press("g", "5", "0", "enter", "P", "home", "c")
        assert desk.app.focused is desk.table
        row = desk.table.path
        assert desk.screen.node.path == row
        await desk.press("minus")
        assert [*desk.session.recipe.layers] == [f"{row}.*"]


async def test_the_lock_of_an_output_is_lifted_by_the_second_l_only(start):
    async with start((120, 40)) as desk:
        await desk.press("end", "L")
        last = desk.screen.node.path
        assert not desk.session.recipe.unlock
        assert f"{last} puts out the model's output: L again" in desk.status
        await desk.press("up", "down", "L")
        assert desk.session.recipe.unlock
        await desk.press("g", "5", "0", "enter")
        assert any(f"{last} puts out the model's output, which has 5 of 10" in note for note in desk.session.plan.notes)
        await desk.press("u", "L")
        assert not desk.session.recipe.unlock


async def test_a_question_starts_at_what_is_in_force(start):
    async with start((120, 40)) as desk:
        await desk.press("t")
        await desk.type("37 % macs")
        await desk.press("enter")
        plan = desk.session.plan
        await desk.press("g")
        assert float(desk.app.focused.value) == pytest.approx(100 * plan.ratio, abs=0.1)
        assert desk.screen.plan.ratio == pytest.approx(plan.ratio, abs=1e-3)
        await desk.press("escape", "down", "r")
        assert float(desk.app.focused.value) == pytest.approx(100 * plan.ratio, abs=0.1)


async def test_a_target_that_gives_way_is_named(start):
    async with start((120, 40)) as desk:
        await desk.press("t")
        await desk.type("50 % macs")
        await desk.press("enter", "g", "ctrl+u")
        await desk.type("30")
        await desk.press("enter")
        assert "the target of MACs to 50 % no longer holds; u brings it back" in desk.status
        await desk.press("u")
        assert desk.session.recipe.target_macs == 0.5
        assert "undone: global ratio 30 %" in desk.status
        await desk.press("ctrl+r")
        assert "done again: global ratio 30 %" in desk.status
