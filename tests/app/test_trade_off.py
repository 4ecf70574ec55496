"""The Trade-off tab: a dot for each network that was measured, and the present plan among them."""

import dataclasses
from pathlib import Path

import pytest

from tui_prune.planning.recipe import Recipe
from tui_prune.session.trade_off import Trial, front
from tui_prune.tasks.task import Task


@pytest.fixture
def task() -> Task:
    return Task(Path("task.py"), lambda model: 0.5 + sum(p.numel() for p in model.parameters()) / 4e6)


def trial(macs: int, accuracy: float, ratio: float = 0.0) -> Trial:
    from tui_prune.cost.cost import Cost

    cost = Cost(**{field.name: macs for field in dataclasses.fields(Cost)})
    return Trial(Recipe(ratio=ratio), cost, accuracy, "candidate")


def test_the_front_holds_those_that_nothing_cheaper_equals():
    trials = [trial(10, 0.5), trial(20, 0.5), trial(30, 0.8), trial(25, 0.7), trial(40, 0.75)]
    assert [one.cost.macs for one in front(trials, "macs")] == [10, 25, 30]


async def test_without_anything_measured_it_says_how_to_fill_it(start):
    async with start() as desk:
        await desk.press("7")
        assert "S suggests cuts" in " ".join(desk.pane("tradeoff").split())


async def test_the_present_plan_is_hollow_until_it_is_measured(start, task):
    async with start(task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("7", "g", "5", "0", "enter")
        chart = desk.pane("tradeoff").split("\n")[:-5]
        assert any("◇" in line for line in chart)
        await desk.press("e")
        await desk.until(lambda: desk.screen.work.job is None, "the evaluation")
        chart = desk.pane("tradeoff").split("\n")[:-5]
        assert not any("◇" in line for line in chart)
        assert any("◆" in line for line in chart)


async def test_a_dot_is_taken_and_compared(start, task):
    async with start(task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        for ratio in ("5", "3"):
            await desk.press("g", ratio, "0", "enter", "e")
            await desk.until(lambda: desk.screen.work.job is None, "the evaluation")
        await desk.press("7", "tab", "left")
        assert "a plan of yours" in desk.pane("tradeoff")
        assert "MACs 27 %" in desk.pane("tradeoff")
        await desk.press("c")
        assert desk.screen.beside is not None
        assert desk.screen.tabs.active == "structure"
        await desk.press("escape", "7", "enter")
        assert desk.session.recipe.ratio == 0.5
        await desk.press("u")
        assert desk.session.recipe.ratio == 0.3


async def test_points_of_a_scan_and_candidates_of_a_suggestion_are_dots(start, task):
    async with start(task=task) as desk:
        desk.session.suggest(target_macs=0.6)
        await desk.press("7")
        kinds = {one.kind for one in desk.session.trade_off()}
        assert {"scan", "candidate"} <= kinds
        assert all(
            one.cost.macs < desk.session.plan.before.macs for one in desk.session.trade_off() if one.kind == "scan"
        )
