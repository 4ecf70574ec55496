"""The user's own code fails, gives no number or never ends: the app says so, shows where, and goes on."""

import threading
from pathlib import Path

import pytest
import torch
from textual.app import App

from tui_prune.app import tracebacks
from tui_prune.app.app import PruneApp
from tui_prune.app.cells import text_of
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.screens.traceback import TracebackDialog
from tui_prune.app.tracebacks import Failure
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.loading.open_model import open_model
from tui_prune.loading.request import OpenRequest
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task, load_task

FAILING = """
import torch

def evaluate(model):
    return helper(model)

def helper(model):
    return float(model(torch.zeros(1, 5, 32, 32)).mean())  # five channels
"""


@pytest.fixture
def failing() -> Task:
    Path("failing.py").write_text(FAILING)
    return load_task("failing.py")


def words(app: App[None]) -> str:
    return "\n".join(text_of(line) for line in app.screen.query_one(LinePane).lines)


async def test_a_task_that_raises_says_so_and_shows_where(start, failing, monkeypatch):
    async with start(task=failing) as desk:
        await desk.until(lambda: "! shows where" in desk.status, "the sentence")
        assert "! failing.py, line 8: RuntimeError" in desk.status
        await desk.press("exclamation_mark")
        assert isinstance(desk.app.screen, TracebackDialog)
        shown = words(desk.app)
        assert "failing.py line 5, in evaluate" in shown
        assert "return float(model(torch.zeros(1, 5, 32, 32)).mean())  # five channels" in shown
        assert "to have 3 channels" in shown
        assert "calls of torch and tui-prune" in shown
        assert "torch/nn/modules" not in shown
        copied = []
        monkeypatch.setattr(desk.app, "copy_to_clipboard", copied.append)
        await desk.press("c")
        assert "Copied" in words(desk.app)
        assert "torch/nn/modules" in copied[0]
        assert copied[0].startswith("Traceback (most recent call last):")
        await desk.press("escape")
        assert isinstance(desk.app.screen, MainScreen)
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "verified" in desk.status, "the verification")


async def test_a_narrow_terminal_shortens_the_sentence_and_not_the_key(start, failing):
    async with start(size=(80, 24), task=failing) as desk:
        await desk.until(lambda: desk.status.endswith("…   ! shows where"), "the sentence")
        assert len(desk.status) <= 78


async def test_without_a_failure_there_is_nothing_to_show(start):
    async with start() as desk:
        await desk.press("exclamation_mark")
        assert "nothing has failed" in desk.status


async def test_a_refusal_that_is_too_long_for_its_line_is_shown_whole(start):
    async with start(size=(80, 24)) as desk:
        sentence = "A sentence that goes on and on, " * 4
        desk.screen.remark(f"! {sentence}", "error")
        assert desk.status.endswith("…   ! shows all")
        await desk.press("exclamation_mark")
        assert " ".join(words(desk.app).split()) == sentence.strip()


async def test_what_is_no_number_is_said(start):
    async with start(task=Task(Path("task.py"), lambda model: float("nan"))) as desk:
        await desk.until(lambda: "nan, which is no number" in desk.status, "the sentence")
        assert "shows where" not in desk.status


async def test_a_task_that_never_ends_is_left_to_itself(start, monkeypatch):
    monkeypatch.setattr("tui_prune.app.screens.long_work.PATIENCE", 0.1)
    over = threading.Event()
    stuck = Task(Path("task.py"), lambda model: over.wait() / 2)
    try:
        async with start(task=stuck) as desk:
            await desk.until(lambda: "evaluating" in desk.status, "the evaluation")
            await desk.press("escape")
            await desk.until(lambda: "goes on in the background" in desk.status, "the remark")
            assert "tui-prune no longer waits" in desk.status
            await desk.press("g", "5", "0", "enter", "v")
            await desk.until(lambda: "verified" in desk.status, "the verification")
            await desk.press("e")
            await desk.until(lambda: "evaluating" in desk.status, "another evaluation")
            await desk.press("escape", "q", "q")
        assert desk.app.return_code == 0
    finally:
        over.set()


async def test_a_task_that_ends_after_all_no_longer_goes_on(start, monkeypatch):
    monkeypatch.setattr("tui_prune.app.screens.long_work.PATIENCE", 0.1)
    over = threading.Event()
    try:
        async with start(task=Task(Path("task.py"), lambda model: over.wait() / 2)) as desk:
            await desk.until(lambda: "evaluating" in desk.status, "the evaluation")
            await desk.press("escape")
            await desk.until(lambda: "goes on in the background" in desk.status, "the remark")
            over.set()
            await desk.until(lambda: "in the background" not in desk.status, "its end")
            assert "stopped; nothing was changed" in desk.status
    finally:
        over.set()


async def test_an_evaluation_that_was_given_up_stops_none_after_it(start):
    """Both run on the same network: what was asked to stop is the first alone."""
    first, go_on = threading.Event(), threading.Event()

    def evaluate(model: torch.nn.Module) -> float:
        if not first.is_set():
            first.set()
            go_on.wait()
        with torch.no_grad():
            model(torch.zeros(1, 3, 32, 32))
        return 0.25

    try:
        async with start(task=Task(Path("task.py"), evaluate)) as desk:
            await desk.until(first.is_set, "the evaluation")
            await desk.press("escape", "e")
            await desk.until(lambda: "accuracy 25.0 %" in desk.title, "the second evaluation")
            go_on.set()
            await desk.press("e")
            await desk.until(lambda: desk.screen.work.job is None, "the third evaluation")
            assert "accuracy 25.0 %" in desk.title
    finally:
        go_on.set()


NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        return self.b(self.a(x).view(-1, 9))
"""


async def test_a_model_that_cant_be_opened_shows_where():
    Path("net.py").write_text(NETWORK)

    def open_session(request, progress):
        return Session(open_model("net.py:Net", input_spec="1,3,8,8"), progress=progress)

    app = PruneApp(open_session, OpenRequest("net.py:Net"))
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(500):
            if isinstance(app.screen, OpeningScreen) and app.screen.failure:
                break
            await pilot.pause(0.02)
        await pilot.pause()
        await pilot.press("exclamation_mark")
        assert isinstance(app.screen, TracebackDialog)
        assert "net.py line 10, in forward" in words(app)
        assert "return self.b(self.a(x).view(-1, 9))" in words(app)
        await pilot.press("escape", "q")
    assert app.return_code == 1


def test_a_file_that_isnt_python_shows_its_line():
    Path("task.py").write_text("def evaluate(model:\n    return 1\n")
    with pytest.raises(Exception, match="SyntaxError") as caught:
        load_task("task.py")
    lines = [text_of(line) for line in tracebacks.shown(Failure("It fails.", tracebacks.of_error(caught.value)), 80)]
    assert any(line.startswith("  task.py line 1") for line in lines)
    assert any("def evaluate(model:" in line for line in lines)


def test_errors_without_code_of_the_users_have_nothing_to_show():
    with pytest.raises(Exception, match="no file") as caught:
        open_model("nothing.pt")
    assert tracebacks.of_error(caught.value) is None
