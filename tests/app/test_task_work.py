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


TASK = """
import torch

def evaluate(model):
    return 0.25

def calibration():
    return [torch.randn(16, 3, 32, 32)]
"""


@pytest.mark.parametrize("key", ["e", "n", "S", "R"])
async def test_without_a_task_it_says_how_to_give_one(start, key):
    async with start() as desk:
        assert "accuracy" not in desk.title
        await desk.press(key)
        assert "task file:" in desk.question
        assert "--task FILE.py" in desk.effect
        await desk.press("escape")
        assert desk.session.task is None


async def test_a_task_file_that_is_typed_is_worked_by_from_then_on(start):
    Path("tasks").mkdir()
    Path("tasks/digits.py").write_text(TASK)
    Path("tasks/notes.txt").write_text("no task")
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "R", *"ta", "tab")
        assert desk.app.focused.value == "tasks/"
        assert "digits.py" in desk.effect
        assert "notes.txt" not in desk.effect
        await desk.press("tab")
        assert desk.app.focused.value == "tasks/digits.py"
        assert "enter reads it" in desk.effect
        await desk.press("enter")
        await desk.until(lambda: "recover:" in desk.question, "what was asked for")
        await desk.press("enter")
        await desk.until(lambda: "recalibrated" in desk.status, "the recovery", SCANNING)
        assert "25.0 → 25.0 → 25.0 %" in desk.title
        assert desk.app.request.task == str(Path("tasks/digits.py").resolve())
        await desk.press("escape", "escape", "c")
        await desk.type("activation")
        assert "calibration data has to be run" in desk.effect


@pytest.mark.parametrize(
    ("name", "words"), [("nothing.py", "no file nothing.py"), ("empty.py", "none of the functions"), ("", "enter")]
)
async def test_a_file_that_is_no_task_is_said(start, name, words):
    Path("empty.py").write_text("x = 1")
    async with start() as desk:
        await desk.press("e")
        await desk.type(name)
        await desk.press("enter")
        await desk.until(lambda: words in desk.effect + desk.status, "the sentence")
        assert desk.session.task is None
