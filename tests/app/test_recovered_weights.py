"""Recovered weights, which aren't kept with the choices: that they may be lost is said wherever that happens."""

from pathlib import Path

import pytest
import torch

from tui_prune.app.screens.dialog import OpenDialog, QuitDialog
from tui_prune.app.screens.going_on import GoingOn
from tui_prune.app.screens.save import SaveScreen
from tui_prune.evaluating.task import Task
from tui_prune.opening.open_model import open_model

WORKING = 60.0
"""Seconds that a recovery of the digits network may take on a busy machine."""


@pytest.fixture
def task() -> Task:
    """The more parameters the better: cut by half, the digits network is right in 24.8 % of all cases."""
    torch.manual_seed(0)

    def evaluate(model):
        return sum(parameter.numel() for parameter in model.parameters()) / 1e6

    return Task(Path("task.py"), evaluate, lambda: [torch.randn(16, 3, 32, 32)])


def said(dialog):
    return " ".join("".join(cell.text for cell in line) for line in dialog.query_one("#words").lines)


def styles(dialog):
    return {cell.style for line in dialog.query_one("#words").lines for cell in line}


async def recover(desk):
    await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
    await desk.press("g", "5", "0", "enter", "R", "enter")
    await desk.until(lambda: desk.session.recovered is not None, "the recovery", WORKING)


async def save(desk, name="nin-pruned.pt"):
    await desk.press("s")
    await desk.type(name)
    await desk.press("enter")
    dialog = desk.app.screen
    await desk.until(lambda: dialog.state == "done", "the file", WORKING)
    await desk.press("escape")


async def test_quitting_says_that_recovered_weights_are_in_no_file(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:
        await recover(desk)
        await desk.press("escape", "q")
        dialog = desk.app.screen
        assert isinstance(dialog, QuitDialog)
        assert "The recovered weights (24.8 %) are in no file: s saves them." in said(dialog)
        assert "error" in styles(dialog)
        assert "go on with it" not in said(dialog)
        await desk.press("s")
        assert isinstance(desk.app.screen, SaveScreen)
        await desk.press("escape")
        await save(desk)
        await desk.press("q")
    assert desk.app.return_code == 0


async def test_opening_another_says_so_too(start, task):
    async with start(opened=open_model("nin"), task=task) as desk:
        await recover(desk)
        await desk.press("escape", "O", "slash", *"plain_conv", "enter")
        await desk.until(lambda: isinstance(desk.app.screen, OpenDialog), "the question")
        assert "are in no file: s saves them" in said(desk.app.screen)
        await desk.press("escape")


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "not saved"])
async def test_going_on_says_where_the_recovered_weights_are(start, task, saved):
    async with start(opened=open_model("nin"), task=task) as desk:
        await recover(desk)
        if saved:
            await save(desk, "mine.pt")
        desk.app.exit()
        await desk.pilot.pause()
    where = "those weights are in mine.pt." if saved else "those weights were not saved: R recovers again."
    for _ in range(2):  # it holds as long as nothing else is chosen
        async with start(task=task) as desk:
            assert isinstance(desk.app.screen, GoingOn)
            assert f"24.8 % was reached by recovering; {where}" in said(desk.app.screen)
            await desk.press("enter")
            await desk.until(lambda: not isinstance(desk.app.screen, GoingOn), "the main screen")
            desk.app.exit()
            await desk.pilot.pause()
    async with start() as desk:
        await desk.press("enter")
        await desk.until(lambda: not isinstance(desk.app.screen, GoingOn), "the main screen")
        await desk.press("plus")
        desk.app.exit()
        await desk.pilot.pause()
    async with start() as desk:
        assert "recovering" not in said(desk.app.screen)


@pytest.mark.parametrize("name", ["there.pt", "there.safetensors"])
async def test_replacing_a_recovered_network_by_one_that_isnt_names_it(start, task, name):
    async with start(opened=open_model("nin"), task=task) as desk:
        await recover(desk)
        await save(desk, name)
        await desk.press("s")
        await desk.type(name)
        await desk.press("enter")
        assert "was recovered" not in desk.app.screen.words
        assert "is there already" in desk.app.screen.words
        await desk.press("escape", "plus", "s")
        await desk.type(name)
        await desk.press("enter")
        words = " ".join(desk.app.screen.words.split())
        assert "The file there was recovered (24.8 %); this one isn't. Enter replaces it." in words
        await desk.press("escape")
