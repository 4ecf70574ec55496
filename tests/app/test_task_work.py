"""What the app does by the user's task: scan, suggest, recover."""

import dataclasses
import re
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.app.networks import small_nin
from tui_prune.loading.open_model import open_model
from tui_prune.tasks.task import Task
from tui_prune.workers import WorkerState

SCANNING = 60.0
"""Seconds that a scan may take on a busy machine: some forty cuts."""


def small(model: nn.Module) -> float:
    """The more parameters the better; 1 with all that there are."""
    return sum(parameter.numel() for parameter in model.parameters()) / 6684


@pytest.fixture
def task() -> Task:
    torch.manual_seed(0)
    return Task(Path("task.py"), small, lambda: [torch.randn(16, 3, 32, 32)])


async def test_a_scan_shows_layer_by_ratio_what_the_task_says(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await desk.press("4")
        assert "n starts the scan" in desk.pane("sensitivity")
        await desk.press("n")
        await desk.until(lambda: desk.screen.work.sensitivity and desk.screen.work.job is None, "the scan", SCANNING)
        shown = desk.pane("sensitivity")
        rows = {line.split()[0]: line for line in shown.split("\n") if line.startswith("tnn_bin")}
        assert {"tnn_bin.0", "tnn_bin.2.conv"} <= rows.keys()
        assert "tnn_bin.11" not in rows, "it is locked"
        assert any(mark in rows["tnn_bin.2.conv"] for mark in "░▒▓█")


class Sharing:
    """Two workers, as it looks."""

    watch = None

    def outcomes(self, setup, points, progress):
        self.watch((WorkerState("cuda:0", 3, 0.5, 8.0), WorkerState("cuda:1", None)))
        while True:  # until it is stopped
            progress("2 workers", 0.1)
            time.sleep(0.01)
            yield from ()


async def test_each_worker_of_a_scan_has_a_line_until_it_is_stopped(start, task, monkeypatch):
    monkeypatch.setattr("tui_prune.workers.backend_for", lambda *given: Sharing())
    monkeypatch.setattr("tui_prune.session.searching.remote_scanner", lambda *given, **choices: nullcontext(()))
    async with start(opened=small_nin(), task=task) as desk:
        await desk.press("4", "n")
        await desk.until(lambda: "worker 1" in desk.pane("sensitivity"), "the workers", SCANNING)
        shown = desk.pane("sensitivity")
        assert re.search(r"worker 1  cuda:0  point    4  ▰▰▰▰▱▱▱▱  8\.0 s left", shown)
        assert re.search(r"worker 2  cuda:1  starts, or waits", shown)
        await desk.press("escape")
        await desk.until(lambda: "worker 1" not in desk.pane("sensitivity"), "the end")
        assert desk.screen.work.job is None


async def test_the_tab_shows_errors_of_one_pass_before_anything_is_scanned(start, task):
    asked = []
    task = dataclasses.replace(task, evaluate=lambda model: asked.append(model) or small(model))
    async with start(opened=small_nin(), task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        before = len(asked)
        await desk.press("4")
        await desk.until(lambda: desk.screen.work.errors and desk.screen.work.job is None, "the errors", SCANNING)
        shown = desk.pane("sensitivity")
        assert "error of the outputs by l2 once refitted (R), from one pass" in shown
        (row,) = [line for line in shown.split("\n") if "tnn_bin.2.conv" in line]
        assert row.count("%") == 5
        assert "n starts the scan" in shown
        assert len(asked) == before


async def test_a_stopped_scan_says_how_far_it_is_and_goes_on(start, task):
    at_work, go_on = threading.Event(), threading.Event()
    asked = []

    def evaluate(model):
        asked.append(model)
        if len(asked) == 12:  # the network as it is, twice, and nine points before
            at_work.set()
            go_on.wait(SCANNING)
        return small(model)

    task = dataclasses.replace(task, evaluate=evaluate)
    async with start(size=(160, 50), opened=small_nin(), task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("4", "n")
        await desk.until(at_work.is_set, "the scan", SCANNING)
        assert "starts the scan" not in desk.pane("sensitivity")
        assert "n goes on" not in desk.pane("sensitivity")
        await desk.press("escape")
        kept = re.search(r"stopped; (\d+) of (\d+) points kept; n goes on", desk.status)
        assert kept and int(kept[2]) == desk.screen.work.sensitivity.total > int(kept[1]) > 5
        assert f"{kept[1]} of {kept[2]} points; n goes on" in desk.pane("sensitivity")
        go_on.set()
        await desk.until(lambda: not desk.screen.work._stopped, "the end")
        before = len(asked)
        await desk.press("n")
        await desk.until(lambda: desk.screen.work.job is None, "the scan", SCANNING)
        assert len(asked) - before <= int(kept[2]) - int(kept[1])
        assert "n goes on" not in desk.pane("sensitivity")


async def test_before_its_first_point_a_scan_that_runs_is_not_to_be_started(start, task):
    at_work, go_on = threading.Event(), threading.Event()

    def evaluate(model):
        at_work.set()
        go_on.wait(SCANNING)
        return small(model)

    async with start(opened=small_nin(), task=dataclasses.replace(task, evaluate=evaluate)) as desk:
        await desk.until(at_work.is_set, "the first evaluation")
        await desk.press("4")
        assert "n starts the scan" in desk.pane("sensitivity")
        await desk.press("n")
        assert "n starts" not in desk.pane("sensitivity")
        assert "on its way; esc stops it" in desk.pane("sensitivity")
        await desk.press("escape", "escape")
        assert "n starts the scan" in desk.pane("sensitivity")
        go_on.set()


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=str)
async def test_it_says_what_could_be_asked_of_the_task_next(start, task, size):
    task = dataclasses.replace(task, evaluate=lambda model: small(model) * 6684 / 1e6)
    async with start(size, opened=open_model("nin"), task=task) as desk:  # trained: recovering brings something
        await desk.until(lambda: "97.0 %" in desk.title, "the first evaluation")
        assert "e measures" not in desk.status
        await desk.press("g", "5", "0", "enter")
        assert desk.status.endswith("e measures the accuracy")
        assert len(desk.status) <= size[0] - 2
        await desk.press("W")
        assert "e measures" not in desk.status, "something else is said"
        await desk.press("escape", "e")
        await desk.until(lambda: "verified" in desk.status, "the evaluation")
        assert desk.status.endswith("R wins accuracy back")
        await desk.press("R", "enter")
        assert "R wins" not in desk.status, "it is on its way"
        await desk.until(lambda: desk.session.recovered is not None, "the recovery", SCANNING)
        await desk.press("escape", "escape")
        assert "R wins" not in desk.status
        await desk.press("u")
        assert "e measures" not in desk.status, "nothing is cut"


async def test_a_network_that_loses_nothing_needs_no_recovery(start, half_right):
    async with start((120, 36), task=half_right) as desk:
        await desk.until(lambda: "50.0 %" in desk.title, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "e")
        await desk.until(lambda: "50.0 → 50.0 %" in desk.title, "the evaluation")
        assert "R wins" not in desk.status and "e measures" not in desk.status


async def test_a_suggestion_becomes_the_recipe(start, task):
    async with start((80, 24), opened=small_nin(), task=task) as desk:
        await desk.press("S")
        await desk.type("5 MB")
        assert "shares of MACs" in desk.effect
        await desk.type("50 % macs")
        await desk.press("enter")
        await desk.until(lambda: desk.session.recipe.layers, "the recipe", SCANNING)
        plan = desk.session.plan
        assert 0.4 * plan.before.macs < plan.after.macs <= 0.5 * plan.before.macs
        await desk.until(lambda: "suggested: " in desk.status, "what was chosen")
        number, share = len(desk.session.recipe.layers), 100 * plan.after.macs / plan.before.macs
        said = rf"suggested: {desk.session.recipe.criterion}, {number} own ratios?: MACs {share:.0f} %, "
        assert re.search(said + r"100\.0 → \d\d\.\d % recalibrated$", desk.status)
        await desk.press("u")
        assert not desk.session.recipe.layers


async def test_of_finalists_that_are_fine_tuned_the_best_is_chosen(start, task):
    def finetune(model, progress):
        with torch.no_grad():
            model.get_parameter("tnn_bin.0.weight").mul_(0.5)
        progress(1.0)

    task = dataclasses.replace(task, finetune=finetune)
    async with start((120, 36), opened=small_nin(), task=task) as desk:
        await desk.press("S")
        await desk.type("50 % macs, 2 finalists")
        assert "fine-tunes the 2 best" in desk.effect
        await desk.press("enter")
        await desk.until(lambda: "suggested: " in desk.status, "the recipe", SCANNING)
        assert "fine-tuned" in desk.status
        assert desk.session.recovered.report.recovered[-1] == "fine-tuned"
        assert desk.session.dirty


async def test_recovering_says_what_it_has_brought(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:  # trained: it brings something
        await desk.press("R")
        assert "Nothing is cut yet" in desk.effect
        await desk.press("escape", "g", "5", "0", "enter", "R", "enter")
        await desk.until(lambda: "reconstructed" in desk.status, "the recovery", SCANNING)
        assert desk.session.recovered is not None
        assert desk.session.recovered.report.recovered == ("reconstructed",)


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
        assert "task:" in desk.question
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
        await desk.press("down", "enter")
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
