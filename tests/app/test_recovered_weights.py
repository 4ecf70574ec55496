"""Recovered weights: they come back with their plan, also another time, and what can't be kept is said."""

from pathlib import Path

import pytest
import torch

import tui_prune
from tests.app.networks import small_nin
from tui_prune.app.screens.dialog import OpenDialog, QuitDialog
from tui_prune.app.screens.going_on import GoingOn
from tui_prune.app.screens.save import SaveScreen
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.saving.checkpoint import read_checkpoint
from tui_prune.session.autosave import recovered_files, state_folder
from tui_prune.session.autosave.writer import is_writing
from tui_prune.tasks.task import Task, load_task

WORKING = 60.0
"""Seconds that a recovery of the digits network may take on a busy machine."""

TASK = """
import torch

def evaluate(model):
    tracked = next(value for name, value in model.named_buffers() if name.endswith("num_batches_tracked"))
    return 0.9 if int(tracked) == 1 else 0.6

def calibration():
    return [torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))]
"""


@pytest.fixture
def task() -> Task:
    """By this task a network is right in 90 % of all cases once it is recalibrated, and else in 60 %."""
    Path("task.py").write_text(TASK)
    return load_task("task.py")


def said(dialog):
    return " ".join("".join(cell.text for cell in line) for line in dialog.query_one("#words").lines)


def styles(dialog):
    return {cell.style for line in dialog.query_one("#words").lines for cell in line}


def files():
    return sorted((state_folder() / "recovered").glob("*.safetensors"))


def weights(session):
    return {name: tensor.clone() for name, tensor in session.recovered.model.state_dict().items()}


def loaded(path):
    return tui_prune.load(path, model=small_nin().module)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


async def recover(desk, percent="50"):
    await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
    await desk.press("g", *percent, "enter", "R", "down", "enter")
    await desk.until(lambda: desk.session.recovered is not None, "the recovery", WORKING)
    await desk.until(lambda: desk.screen.work.job is None, "its end")


async def kept(desk, number=1):
    await desk.until(lambda: len(files()) == number, "the weights on the disk")


async def save(desk, name="nin-pruned.pt"):
    await desk.press("s")
    await desk.type(name)
    await desk.press("enter")
    dialog = desk.app.screen
    await desk.until(lambda: dialog.state == "done", "the file", WORKING)
    await desk.press("escape")


async def leave(desk):
    """As a signal does it: nothing is asked."""
    desk.app.exit()
    await desk.pilot.pause()


async def answer(desk, key):
    assert isinstance(desk.app.screen, GoingOn)
    await desk.press(key)
    await desk.until(lambda: not isinstance(desk.app.screen, GoingOn), "the main screen", WORKING)


@pytest.fixture
async def worked(start, task):
    """Somebody has cut 50 % and recovered that; the weights."""
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        await kept(desk)
        found = weights(desk.session)
        await leave(desk)
    return found


# Moving between plans


async def test_each_recovered_plan_comes_back_and_none_is_saved_for_another(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        half = weights(desk.session)
        await desk.press("escape")
        assert "60.0 → 90.0 %" in desk.title
        await recover(desk, "30")
        third = weights(desk.session)
        await desk.press("g", "4", "0", "enter")
        assert "90.0 %" not in desk.title
        await save(desk, "other.pt")
        assert "recovered" not in read_checkpoint("other.pt").report
        await desk.press("u")
        assert same(weights(desk.session), third)
        await desk.press("u")
        assert same(weights(desk.session), half)
        assert "60.0 → 90.0 %" in desk.title
        await save(desk, "half.pt")
        assert same(loaded("half.pt").state_dict(), half)
        await desk.press("ctrl+r")
        await save(desk, "third.pt")
        assert same(loaded("third.pt").state_dict(), third)


async def test_another_example_input_leaves_them(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        before, old = weights(desk.session), desk.screen
        await desk.press("I")
        await desk.type("2,3,32,32")
        await desk.press("enter")
        await desk.until(lambda: desk.screen is not old, "the network on the other input", WORKING)
        assert same(weights(desk.session), before)


# Another time


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "not saved"])
async def test_going_on_brings_them_back(start, task, saved):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        if saved:
            await save(desk, "mine.pt")
        found = weights(desk.session)
        await kept(desk)
        await leave(desk)
    where = "those weights are in mine.pt, and kept, too." if saved else "those weights are kept, too."
    for _ in range(2):  # it holds as long as nothing else is chosen
        async with start(opened=small_nin(), task=task) as desk:
            assert f"90.0 % was reached by recovering; {where}" in said(desk.app.screen)
            await answer(desk, "enter")
            assert same(weights(desk.session), found)
            assert desk.session.recovered.report.recovered == ("recalibrated",)
            await desk.until(lambda: "60.0 → 90.0 %" in desk.title, "the accuracy")
            assert "the recovered weights are back: 90.0 %" in desk.status
            await leave(desk)
    async with start(opened=small_nin(), task=task) as desk:
        await answer(desk, "enter")
        await save(desk, "again.pt")
        assert same(loaded("again.pt").state_dict(), found)
        assert read_checkpoint("again.pt").report["accuracy"]["recovered"] == 0.9
        await desk.press("g", "4", "0", "enter")
        assert desk.session.recovered is None
        await leave(desk)
    async with start(opened=small_nin(), task=task) as desk:
        assert "was reached" not in said(desk.app.screen)
        assert "The recovered weights of 1 other plan are kept." in said(desk.app.screen)
        await answer(desk, "enter")
        assert desk.session.recovered is None
        await desk.press("u")
        assert same(weights(desk.session), found)


async def test_starting_anew_undo_brings_them_back(start, task, worked):
    async with start(opened=small_nin(), task=task) as desk:
        await answer(desk, "n")
        assert desk.session.recovered is None
        await desk.press("u")
        assert same(weights(desk.session), worked)


async def test_by_another_task_their_accuracy_is_unknown(start, task, worked):
    Path("task.py").write_text(TASK.replace("0.9", "0.8"))
    async with start(opened=small_nin(), task=load_task("task.py")) as desk:
        await answer(desk, "enter")
        assert same(weights(desk.session), worked)
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        assert "90.0 %" not in desk.title
        await desk.press("e")
        await desk.until(lambda: "60.0 → 80.0 %" in desk.title, "the accuracy", WORKING)


async def test_weights_that_are_not_whole_are_left_aside(start, task, worked):
    (file,) = files()
    file.write_bytes(file.read_bytes()[:-1000])
    async with start(opened=small_nin(), task=task) as desk:
        await answer(desk, "enter")
        assert desk.session.recipe.ratio == 0.5
        assert desk.session.recovered is None
        assert "Recovered weights can't be taken up" in desk.status
        await desk.press("exclamation_mark")
        assert str(state_folder() / "recovered" / "aside") in said(desk.app.screen).replace(" ", "")
        await desk.press("escape")
        await recover(desk)
        assert "60.0 → 90.0 %" in desk.title
    assert (state_folder() / "recovered" / "aside" / file.name).is_file()


async def test_where_memory_is_short_they_stay_for_another_time(start, task, worked, monkeypatch):
    def fail(*of):
        raise MemoryError

    async with start(opened=small_nin(), task=task) as desk:
        monkeypatch.setattr(desk.session, "take_up", fail)
        await answer(desk, "enter")
        assert desk.session.recipe.ratio == 0.5
        assert desk.session.recovered is None
        assert "Recovered weights can't be taken up now: MemoryError" in desk.status
        await leave(desk)
    async with start(opened=small_nin(), task=task) as desk:
        await answer(desk, "enter")
        assert same(weights(desk.session), worked)


@pytest.mark.parametrize(
    ("key", "place"), [("enter", "tui_prune.app.screens.going_on"), ("n", "tui_prune.app.keeper")], ids=["on", "anew"]
)
async def test_where_going_on_fails_it_starts_as_the_screen_says(start, task, worked, monkeypatch, key, place):
    def fail(*of):
        raise RuntimeError("no")

    monkeypatch.setattr(f"{place}.take_up", fail)
    async with start(opened=small_nin(), task=task) as desk:
        dialog = desk.app.screen
        await desk.press(key)
        await desk.until(lambda: "It starts anew" in said(dialog), "the refusal", WORKING)
        await answer(desk, "enter")
        assert desk.session.recipe == Recipe()
        assert not desk.session.plan.cuts
        assert not desk.session.can_undo
        await leave(desk)


# What is said of them


async def test_quitting_says_that_they_are_kept_still(start, task, worked):
    for key in ("enter", "n"):
        async with start(opened=small_nin(), task=task) as desk:
            await answer(desk, key)
            if key == "n":
                await desk.press("u")
            assert same(weights(desk.session), worked)
            await desk.press("q")
            assert isinstance(desk.app.screen, QuitDialog)
            assert "All of it is kept: open the network again to go on with it." in said(desk.app.screen)
            await leave(desk)


async def test_quitting_says_when_they_are_not_kept_any_more(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        await kept(desk)
        await desk.until(lambda: not is_writing(), "the end of it")
        files()[0].unlink()
        await desk.press("q")
        assert "The recovered weights (90.0 %) are in no file: s saves them." in said(desk.app.screen)
        await leave(desk)


async def test_quitting_says_that_they_are_kept(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        await desk.press("q")
        dialog = desk.app.screen
        assert isinstance(dialog, QuitDialog)
        assert "What you have chosen and the recovered weights (90.0 %) are in no checkpoint yet." in said(dialog)
        assert "All of it is kept: open the network again to go on with it." in said(dialog)
        assert "error" not in styles(dialog)
        await desk.press("s")
        assert isinstance(desk.app.screen, SaveScreen)
        assert "weights     recalibrated, 90.0 %" in desk.app.screen.words
        await desk.press("escape")
        await save(desk)
        await desk.press("q")
    assert desk.app.return_code == 0


async def test_a_full_disk_is_said_and_loses_nothing_else(start, task, monkeypatch):
    monkeypatch.setattr(recovered_files, "free_space", lambda folder: recovered_files.RESERVE)
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        await desk.until(lambda: "recovered weights aren't kept for another time" in desk.status, "the sentence")
        assert "has only 100 MB left" in desk.screen.failure.sentence
        await desk.press("q")
        assert "The recovered weights (90.0 %) are in no file: s saves them." in said(desk.app.screen)
        assert "error" in styles(desk.app.screen)
        await desk.press("escape")
        assert desk.session.recovered is not None
        await leave(desk)
    assert not files()
    async with start(opened=small_nin(), task=task) as desk:
        words = "90.0 % was reached by recovering; those weights aren't there any more: R recovers again."
        assert words in said(desk.app.screen)
        await answer(desk, "enter")
        assert desk.session.recipe.ratio == 0.5


async def test_opening_another_says_so_too(start, task):
    async with start(opened=small_nin(), task=task) as desk:
        await recover(desk)
        await desk.press("O", "slash", *"plain_conv", "enter")
        await desk.until(lambda: isinstance(desk.app.screen, OpenDialog), "the question")
        assert "and the recovered weights (90.0 %) are in no checkpoint yet" in said(desk.app.screen)
        await desk.press("escape")


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
        assert "The file there was recovered (90.0 %); this one isn't. Enter replaces it." in words
        await desk.press("escape")
