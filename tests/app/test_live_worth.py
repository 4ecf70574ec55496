"""What the plan on the screen is worth, measured while the keys rest."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tui_prune.tasks.evidence import Score
from tui_prune.tasks.task import Task


@pytest.fixture
def task() -> Task:
    def calibration() -> Iterator[torch.Tensor]:
        yield torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    return Task(Path("task.py"), lambda model: Score([True] * 3 + [False]), calibration, None)


@pytest.fixture(autouse=True)
def _soon(_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_prune.app.screens.live_worth.REST", 0.05)


async def test_accuracy_and_errors_appear_when_the_keys_rest(start, task):
    async with start((160, 40), task=task) as desk:
        await desk.press("g", "5", "0", "enter")
        await desk.until(lambda: "if reconstructed" in desk.title, "the live accuracy")
        assert "75.0 % ±" in desk.title
        assert "if reconstructed (R)" in desk.pane("overview")
        assert "error by layer, expected" in desk.pane("overview")
        assert desk.session.recovered is None, "nothing is kept of it"
        await desk.press("7")
        chart = desk.pane("tradeoff").split("\n")[:-5]
        assert any("◆" in line for line in chart)
        assert not any("◇" in line for line in chart)


async def test_a_key_turns_it_off_and_on(start, task):
    async with start((160, 40), task=task) as desk:
        await desk.press("V")
        assert "off" in desk.status
        await desk.press("g", "5", "0", "enter")
        await desk.pilot.pause(0.3)
        assert not desk.screen.live.measuring
        assert "if reconstructed" not in desk.title
        await desk.press("V")
        await desk.until(lambda: "if reconstructed" in desk.title, "the live accuracy")


async def test_where_it_takes_long_it_is_off_until_it_is_wanted(start, task, monkeypatch):
    monkeypatch.setattr("tui_prune.app.screens.live_worth.LIMIT", 0.0)
    async with start((160, 40), task=task) as desk:
        await desk.press("plus")
        await desk.until(lambda: "live accuracy is off" in desk.status, "why it is off")
        await desk.press("V")
        await desk.until(lambda: "if reconstructed" in desk.title, "the live accuracy")


async def test_a_task_that_fails_is_asked_once(start, task):
    def fails(model: torch.nn.Module) -> float:
        asked.append(model)
        if len(asked) > 1:
            raise RuntimeError("no data")
        return 0.5

    asked: list[torch.nn.Module] = []
    async with start((160, 40), task=dataclasses.replace(task, evaluate=fails)) as desk:
        await desk.until(lambda: "50.0" in desk.title, "the uncut network's")
        await desk.press("g", "5", "0", "enter")
        await desk.until(lambda: desk.screen.failure is not None, "the failure")
        assert "live accuracy is off" in desk.screen.failure.sentence
        await desk.press("plus")
        await desk.pilot.pause(0.3)
        assert len(asked) == 2
