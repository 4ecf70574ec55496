"""Saving, and leaving without having saved."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.walker import key_event
from tui_prune.app.screens.dialog import QuitDialog
from tui_prune.app.screens.save import SaveScreen, loading_lines
from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.session.work import Work


async def save_as(desk, name):
    await desk.press("s")
    assert isinstance(desk.app.screen, SaveScreen)
    await desk.type(name)
    await desk.press("enter")
    return desk.app.screen


async def test_it_saves_and_shows_the_lines_that_load_it(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "s")
        dialog = desk.app.screen
        assert "nin-pruned.pt" in desk.app.focused.value
        assert "970k → 248k" in dialog.words
        await desk.until(lambda: "about 1.04 MB" in dialog.words, "how large it will be")
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        assert f'tui_prune.load("{Path.cwd()}/nin-pruned.pt")' in dialog.words.replace("\n  ", "")
        assert "verified" in dialog.words
        assert "unsaved" not in desk.title, "already while the dialog says how to load it"
        await desk.press("c")
        assert desk.app.clipboard == f'import tui_prune\nmodel = tui_prune.load("{Path.cwd()}/nin-pruned.pt")\n'
        await desk.press("escape")
        assert not desk.session.dirty
        assert "verified" in desk.status
        params = desk.session.plan.after.params
    program = "import tui_prune; print(sum(p.numel() for p in tui_prune.load('nin-pruned.pt').parameters()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(params), done.stderr


async def test_it_asks_before_it_replaces_a_file(start):
    Path("there.pt").write_text("precious")
    async with start() as desk:
        await desk.press("g", "5", "0", "enter")
        dialog = await save_as(desk, "there.pt")
        assert "there already" in dialog.words
        assert Path("there.pt").read_text() == "precious"
        await desk.type("there2.pt")
        assert "there already" not in dialog.words
        await desk.type("there.pt")
        await desk.press("enter")
        assert Path("there.pt").read_text() == "precious"
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        assert Path("there.pt").stat().st_size > 100_000


async def test_escape_stops_it_and_nothing_is_written(start, slow):
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter")
        dialog = await save_as(desk, "stopped.pt")
        await desk.until(lambda: "25 %" in dialog.words, "the progress")
        await desk.press("escape")
        assert dialog.state == "asking"
        assert "nothing was written" in dialog.words
        assert desk.app.focused.value == "stopped.pt"
        desk.session.go_on.set()
        await desk.pilot.pause(0.2)
        assert not list(Path().iterdir())
        await desk.press("escape")
        assert desk.session.dirty


@pytest.mark.parametrize(("name", "words"), [("", "Type a path"), (".", "is a directory")])
async def test_a_path_that_wont_do(start, name, words):
    async with start() as desk:
        dialog = await save_as(desk, name)
        assert words in dialog.words
        assert dialog.state == "asking"


async def test_a_failure_is_said_in_the_dialog(start, monkeypatch):
    def save(self, path, *, force, progress):
        raise TuiPruneError("The disk is full; nothing was written.")

    monkeypatch.setattr(Work, "save", save)
    async with start() as desk:
        await desk.press("plus")
        dialog = await save_as(desk, "full.pt")
        await desk.until(lambda: "disk is full" in dialog.words, "the sentence")
        assert dialog.state == "asking"


async def test_quitting_asks_when_the_plan_isnt_saved(start):
    async with start() as desk:
        await desk.press("plus", "q")
        assert isinstance(desk.app.screen, QuitDialog)
        await desk.press("escape", "ctrl+q")
        assert isinstance(desk.app.screen, QuitDialog)
        await desk.press("s")
        assert isinstance(desk.app.screen, SaveScreen)
        await desk.press("escape", "q", "q")
    assert desk.app.return_code == 0


async def test_quitting_at_once_when_nothing_would_be_lost(start):
    async with start() as desk:
        await desk.press("q")
    assert desk.app.return_code == 0


def test_the_lines_that_load_a_network_of_somebodys_own():
    path = Path("/runs/out.pt")
    of_file = loading_lines(Origin("file", "/home/ada/net.py:make"), path)
    assert of_file[1:] == ["from net import make", 'model = tui_prune.load("/runs/out.pt", model=make())']
    assert "model=Net()" in loading_lines(Origin("module", "nets.Net"), path)[-1]


async def test_keys_typed_ahead_of_the_end_are_dropped_without_a_word(start):
    async with start() as desk:
        for _ in range(50):
            desk.app.post_message(key_event("j"))
        await asyncio.sleep(0.01)
        at_the_end = asyncio.all_tasks()
    await asyncio.sleep(0.1)
    failed = [task.exception() for task in at_the_end if task.done() and not task.cancelled()]
    assert failed and set(failed) == {None}


async def test_ctrl_q_leaves_from_every_dialog_and_while_one_types(start):
    async with start() as desk:
        await desk.press("plus")
        for key in ("ctrl+s", "question_mark", "colon", "O", "H", "P", "B", "t", "slash"):
            await desk.press(key)
            over = desk.app.screen
            assert over is not desk.screen or desk.question, key
            await desk.press("ctrl+q")
            assert isinstance(desk.app.screen, QuitDialog), key
            await desk.press("escape")
            assert desk.app.screen is over
            await desk.press("escape", "escape")
            assert desk.app.screen is desk.screen
        await desk.press("ctrl+q", "ctrl+q")
    assert desk.app.return_code == 0
