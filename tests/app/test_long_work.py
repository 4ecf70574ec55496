"""Cutting to verify and evaluating: how far it is, how it ends, and that it can be stopped."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tui_prune import Recipe
from tui_prune.app.screens.save import SaveScreen
from tui_prune.app.widgets.details_pane import PicturesPane
from tui_prune.app.widgets.print_pane import PrintPane
from tui_prune.errors import TuiPruneError
from tui_prune.report import prints
from tui_prune.saving import estimate
from tui_prune.session.cutting import carry_out
from tui_prune.session.session import Session
from tui_prune.session.state import CutMade
from tui_prune.session.work import Work
from tui_prune.tasks.task import Task

PATIENCE = 60.0


async def test_verifying_says_what_it_has_shown_until_the_plan_changes(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "verified" in desk.status, "the verification")
        assert "proved · verified" in desk.status
        await desk.press("plus")
        assert "verified" not in desk.status
        await desk.press("u")
        assert "verified" in desk.status


async def test_work_shows_how_far_it_is_and_escape_stops_it(start, slow):
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "25 %" in desk.status, "the progress")
        assert "esc stops it" in desk.status
        await desk.press("j")
        assert desk.tree.cursor == 1
        await desk.press("escape")
        assert "stopped" in desk.status
        assert desk.screen.work.job is None
        desk.session.go_on.set()
        await desk.press("v")
        await desk.until(lambda: "verified" in desk.status, "the verification")


async def test_a_second_piece_of_work_waits_for_the_first(start, slow, half_right):
    async with start(kind=slow, task=half_right) as desk:
        await desk.until(lambda: "accuracy 50.0 %" in desk.title, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "v", "e")
        await desk.until(lambda: "25 %" in desk.status, "the progress")
        assert "verifying" in desk.status
        desk.session.go_on.set()
        await desk.until(lambda: "50.0 → 50.0 %" in desk.title, "the second evaluation")
        assert "verified" in desk.status
        await desk.press("plus")
        assert "accuracy 50.0 → ?" in desk.title


@pytest.mark.parametrize(
    ("error", "words"),
    [(TuiPruneError("The cut network differs."), "! The cut network differs."), (KeyError("x"), "fault of tui-prune")],
    ids=["refused", "a fault"],
)
async def test_a_failure_is_said_and_loses_nothing(start, monkeypatch, error, words):
    def cut(self, progress):
        raise error

    monkeypatch.setattr(Work, "cut", cut)
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: words in desk.status, "the sentence")
        assert desk.session.recipe.ratio == 0.5


async def test_widths_that_the_code_fixes_are_shown_when_a_cut_has_found_them(start):
    class Finding(Session):
        """A session whose cut finds out that a layer has to stay."""

        def work(self, *deliver):
            work = super().work(*deliver)

            def cut(progress):
                plan = replace(self.preview(self.recipe.changed(lock=("tnn_bin.0",))), recipe=self.recipe)
                result = replace(carry_out(work.state.planning, work.plan, progress), plan=plan)
                work.found(CutMade(work.plan, work.state.evaluation, result))
                return result

            work.cut = cut
            return work

    async with start(kind=Finding) as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "fixes some widths" in desk.status, "the remark")
        assert desk.row("tnn_bin.0").endswith("locked")


async def test_a_choice_that_is_stopped_before_it_can_be_planned_leaves_no_preview(start):
    going_on = threading.Event()

    def wait(recipe, progress):
        while not going_on.wait(0.02):
            progress("calibrate", 0.25)

    class Waiting(Session):
        """A session that measures until it is told to go on."""

        def work(self, *deliver):
            work = super().work(*deliver)
            work.prepare = wait
            return work

    task = Task(Path("task.py"), None, lambda: [torch.zeros(2, 3, 32, 32)], None)
    async with start(kind=Waiting, task=task) as desk:
        await desk.press("g", "5", "0", "enter", "c")
        await desk.type("bn_scale")
        assert desk.screen.plan.recipe.criterion == "bn_scale"
        await desk.type("activation")
        assert desk.screen.plan is desk.session.plan, "what can't be shown yet shows what there is"
        await desk.press("enter", "escape")
        await desk.until(lambda: "stopped" in desk.status, "the end of it")
        assert desk.screen.plan is desk.session.plan
        assert desk.session.recipe == Recipe(ratio=0.5)


async def test_work_that_ends_while_one_types_leaves_the_preview_alone(start, slow):
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter", "v", "g", "2", "5")
        assert "160 → 120" in desk.row("tnn_bin.2.conv")
        desk.session.go_on.set()
        await desk.until(lambda: desk.screen.work.job is None, "the end of the work")
        assert "160 → 120" in desk.row("tnn_bin.2.conv")
        await desk.press("escape")
        assert "160 → 80" in desk.row("tnn_bin.2.conv")
        assert "verified" in desk.status


@pytest.mark.parametrize("keys", [["s"], ["5"], ["2"], ["v"]], ids=["save", "print", "draw", "verify"])
async def test_no_key_writes_out_all_weights_before_it_shows_anything(start, monkeypatch, keys):
    written = []
    monkeypatch.setattr(torch.Tensor, "__repr__", lambda self, **_: written.append(self.shape) or "weights")
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", *keys)
        await desk.app.workers.wait_for_complete()
        assert not written


async def test_the_size_of_the_file_is_filled_in_once_it_is_known(start, monkeypatch):
    known = threading.Event()

    def slowly(opened, plan, form):
        known.wait(PATIENCE)
        return 1_230_000

    monkeypatch.setattr(estimate, "expected_size", slowly)
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "s")
        try:
            assert "about …" in desk.app.screen.words
        finally:
            known.set()
        await desk.until(lambda: "about 1.23 MB" in desk.app.screen.words, "the size")


async def test_the_print_tab_says_that_it_prints(start, monkeypatch):
    go_on = threading.Event()
    real = prints.prints

    def slowly(plan):
        go_on.wait(PATIENCE)
        return real(plan)

    monkeypatch.setattr(prints, "prints", slowly)
    async with start() as desk:
        await desk.press("5")
        pane = desk.screen.query_one(PrintPane)
        try:
            assert "printing…" in pane.words
        finally:
            go_on.set()
        await desk.until(lambda: "nothing differs" in pane.words, "both prints")


async def test_ten_tasks_that_never_end_leave_everything_usable(start):
    at_last = threading.Event()
    asked = []

    def never(model):
        asked.append(model)
        at_last.wait()
        return 0.5

    try:
        async with start(task=Task(Path("task.py"), never)) as desk:
            for number in range(1, 11):
                await desk.until(lambda number=number: len(asked) == number, f"evaluation {number}")
                await desk.press("escape")
                await desk.until(lambda: "esc stops it" not in desk.status, "that it is given up")
                if number < 10:
                    await desk.press("e")
            await desk.press("g", "5", "0", "enter", "v")
            await desk.until(lambda: "verified" in desk.status, "the verification")
            await desk.press("2")
            await desk.until(lambda: len(desk.screen.query_one(PicturesPane).lines) > 5, "the picture")
            await desk.press("s")
            await desk.until(lambda: isinstance(desk.app.screen, SaveScreen), "the question where to")
            await desk.press("enter")
            await desk.until(lambda: "Saved" in desk.app.screen.words, "the file")
    finally:
        at_last.set()
