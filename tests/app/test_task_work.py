"""What the app does by the user's task: scan, suggest, recover."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tui_prune.evaluating.task import Task
from tui_prune.opening.open_model import open_model

SCANNING = 60.0
"""Seconds that a scan of the digits network may take on a busy machine: some forty cuts."""


def small(model: nn.Module) -> float:
    """The more parameters the better."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@pytest.fixture
def task() -> Task:
    torch.manual_seed(0)
    return Task(Path("task.py"), small, lambda: [torch.randn(16, 3, 32, 32)])


async def test_a_scan_shows_layer_by_ratio_what_the_task_says(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:
        await desk.press("4")
        assert "n starts the scan" in desk.pane("sensitivity")
        await desk.press("n")
        await desk.until(lambda: desk.screen.work.sensitivity and desk.screen.work.job is None, "the scan", SCANNING)
        shown = desk.pane("sensitivity")
        rows = {line.split()[0]: line for line in shown.split("\n") if line.startswith("tnn_bin")}
        assert {"tnn_bin.0", "tnn_bin.2.conv"} <= rows.keys()
        assert "tnn_bin.11" not in rows, "it is locked"
        assert any(mark in rows["tnn_bin.2.conv"] for mark in "░▒▓█")


async def test_a_suggestion_becomes_the_recipe(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:
        await desk.press("S")
        await desk.type("5 MB")
        assert "shares of MACs" in desk.effect
        await desk.type("50 % macs")
        await desk.press("enter")
        await desk.until(lambda: desk.session.recipe.layers, "the recipe", SCANNING)
        plan = desk.session.plan
        assert 0.4 * plan.before.macs < plan.after.macs <= 0.5 * plan.before.macs
        await desk.press("u")
        assert not desk.session.recipe.layers


async def test_recovering_says_what_it_has_brought(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:
        await desk.press("R")
        assert "Nothing is cut yet" in desk.effect
        await desk.press("escape", "g", "5", "0", "enter", "R", "enter")
        await desk.until(lambda: "recalibrated" in desk.status, "the recovery", SCANNING)
        assert desk.session.recovered is not None
        assert desk.session.recovered.report.recovered == ("recalibrated",)


async def test_without_a_task_it_says_how_to_give_one(start):
    async with start() as desk:
        for key in ("n", "S", "R"):
            await desk.press(key)
            assert "--task FILE.py" in desk.status
