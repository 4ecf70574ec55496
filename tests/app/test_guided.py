"""The guided way: one key takes the next step, and steps that were taken by hand count."""

from pathlib import Path

import pytest
import torch

from tests.app.networks import small_nin
from tui_prune.app.cells import text_of
from tui_prune.app.guided import Clock, Way, WayStep, next_step
from tui_prune.app.headlines import Doing
from tui_prune.app.jobs import Job, JobKind
from tui_prune.app.screens.save import SaveScreen
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.tasks.task import Task


@pytest.fixture
def task() -> Task:
    torch.manual_seed(0)
    inputs = torch.randn(16, 3, 32, 32)
    return Task(Path("task.py"), calibration=lambda: [inputs], finetune=lambda model, progress: progress(1.0))


def way(desk) -> str:
    line = desk.screen.query_one("#way", OneLine)
    return text_of(line.line) if line.display else ""


async def test_one_key_leads_from_the_target_to_the_file(start, task, tmp_path):
    async with start((120, 30), opened=small_nin(), task=task) as desk:
        assert way(desk) == ""
        await desk.press("w")
        assert desk.screen.prompt.display
        assert way(desk).startswith("▸ 1 target   2 suggest   3 reconstruct   4 fine-tune   5 save")
        await desk.press("enter", "w")
        await desk.until(lambda: desk.screen.work.suggested is not None and desk.screen.work.job is None, "a recipe")
        assert "✓ 2 suggest" in way(desk)
        assert "▸ 3 reconstruct" in way(desk)
        assert desk.session.plan.after.macs <= 0.5 * desk.session.plan.before.macs
        await desk.press("w")
        await desk.until(lambda: "✓ 3 reconstruct" in way(desk) and desk.screen.work.job is None, "refitting")
        await desk.press("w")
        await desk.until(lambda: "✓ 4 fine-tune" in way(desk) and desk.screen.work.job is None, "fine-tuning")
        await desk.press("w")
        assert isinstance(desk.app.screen, SaveScreen)
        await desk.type(str(tmp_path / "small.pt"))
        await desk.press("enter")
        await desk.until((tmp_path / "small.pt").exists, "the file")
        await desk.until(lambda: desk.app.screen.state == "done", "the end")
        await desk.press("escape")
        assert "✓ 5 save small.pt" in way(desk)
        await desk.press("escape")
        assert way(desk) == ""


async def test_steps_that_were_taken_by_hand_count_and_can_be_passed_over(start):
    async with start((100, 30), opened=small_nin()) as desk:
        await desk.press("g", "3", "0", "enter", "w")
        assert "task:" in desk.question  # the next step needs one
        await desk.press("escape")
        assert "✓ 1 target" in way(desk)
        await desk.press("u")
        assert "▸ 1 target" in way(desk)


@pytest.mark.parametrize(
    ("done", "coming"),
    [((), Way.TARGET), ((0,), Way.SUGGEST), ((0, 2), Way.FINE_TUNE), ((4,), None)],
)
def test_the_next_step_follows_the_last_that_is_done(done, coming):
    assert next_step([WayStep(one, place in done) for place, one in enumerate(Way)]) is coming


def test_what_is_left_of_a_job_follows_from_what_it_has_taken():
    now = 100.0
    clock, job = Clock(lambda: now), Job(JobKind.SUGGESTING, lambda progress: None)
    assert clock.left(job, Doing("suggesting", "", 0.0)) == ""
    now = 130.0
    assert clock.left(job, Doing("suggesting", "", 0.25)) == "90 s left"
    assert clock.left(Job(JobKind.RECOVERING, lambda progress: None), Doing("recovering", "", 0.5)) == "0.00 s left"
