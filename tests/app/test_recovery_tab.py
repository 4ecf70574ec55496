"""The Recovery tab: figures and curves while a network is recovered, and what stopping it keeps."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.app.networks import small_nin
from tui_prune.app.cells import Cell, text_of
from tui_prune.app.recovery import Recovery, recovery_lines
from tui_prune.app.widgets.recovery_pane import RecoveryPane
from tui_prune.result import Stage, TuningPoint
from tui_prune.tasks.task import Task

WORKING = 60.0
"""Seconds that a recovery of the digits network may take on a busy machine."""


class Loop:
    """A fine-tuning loop of four steps, which waits before the third until the test tells it to go on."""

    def __init__(self, fails: bool = False) -> None:
        self.go_on = threading.Event()
        self._fails = fails

    def __call__(self, model: nn.Module, progress) -> None:
        bias = next(parameter for name, parameter in model.named_parameters() if name.endswith("bias"))
        for step, accuracy in enumerate((0.6, 0.8, 0.7, 0.75), 1):
            with torch.no_grad():
                bias.fill_(accuracy)
            progress(step / 4, loss=1 / step, accuracy=accuracy)
            while step == 2 and not self.go_on.wait(0.02):
                progress(0.5)
            if step == 3 and self._fails:
                raise ValueError("the disk is full")


def first_bias(model: nn.Module) -> float:
    """By this task a network is as good as its first bias is large; that of the digits network is next to 0."""
    biases = (parameter for name, parameter in model.named_parameters() if name.endswith("bias"))
    return abs(float(next(biases)[0].detach()))


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.go_on.set()


def task(loop: Loop) -> Task:
    return Task(Path("task.py"), first_bias, lambda: [torch.randn(16, 3, 32, 32)], loop)


async def start_tuning(desk, how: str = "finetune") -> None:
    await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
    await desk.press("g", "5", "0", "enter", "R")
    await desk.type(how)
    await desk.press("enter")
    assert desk.screen.tabs.active == "recovery"
    await desk.until(lambda: "best so far" in desk.pane("recovery"), "the curve", WORKING)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=str)
async def test_curves_grow_while_it_recovers_and_stay_afterwards(start, loop, size):
    async with start(size=size, opened=small_nin(), task=task(loop)) as desk:
        await start_tuning(desk)
        await desk.until(lambda: "  50 %" in desk.status and "  50 %" in desk.pane("recovery").split("\n")[0], "50 %")
        shown = desk.pane("recovery")
        assert "fine-tune ━" in shown
        assert "esc stops it and keeps the best" in shown
        assert "before the cut" in shown and "after the cut" in shown
        assert "80.0 %  ◆ the best so far, at 50 %" in shown
        assert "loss  0.5" in shown and "accuracy  80.0 %, best 80.0 % ◆" in shown
        assert any("▖" <= letter <= "▟" for letter in shown)
        assert len(drawn(shown.split("\n"))) >= 5
        assert len(shown.split("\n")) <= desk.screen.query_one(RecoveryPane).size.height
        loop.go_on.set()
        await desk.until(lambda: "fine-tuned:" in desk.pane("recovery"), "the end", WORKING)
        assert desk.pane("recovery").count("80.0 %") >= 2
        assert "accuracy  75.0 %, best 80.0 % ◆" in desk.pane("recovery")
        assert "→ 80.0 %" in desk.title
        await desk.press("escape", "u")
        assert text_of(desk.screen.work.recovery.snapshot().headline).startswith("of another plan")
        assert desk.session.recovered is None
        await desk.press("ctrl+r")
        assert first_bias(desk.session.recovered.model) == pytest.approx(0.8)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=str)
async def test_escape_keeps_the_best_so_far_and_says_so(start, loop, size):
    async with start(size=size, opened=small_nin(), task=task(loop)) as desk:
        await start_tuning(desk)
        await desk.press("escape")
        assert "nothing was changed" not in desk.status
        await desk.until(lambda: "stopped at 50 %" in desk.pane("recovery"), "the end")
        assert "The best network up to then is kept." in " ".join(desk.pane("recovery").split())
        assert first_bias(desk.session.recovered.model) == pytest.approx(0.8)
        assert desk.session.dirty


async def test_escape_where_nothing_is_better_yet_changes_nothing(start):
    waiting, over = threading.Event(), threading.Event()

    def finetune(model: nn.Module, progress) -> None:
        waiting.set()
        while not over.wait(0.02):
            progress(0.1, loss=1.0)

    made = Task(Path("task.py"), lambda model: 0.5, None, finetune)
    try:
        async with start(opened=small_nin(), task=made) as desk:
            await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
            await desk.press("g", "5", "0", "enter", "R")
            await desk.type("finetune")
            await desk.press("enter")
            await desk.until(waiting.is_set, "the loop", WORKING)
            await desk.press("escape")
            assert "stopped; nothing changed" in desk.status
            assert desk.session.recovered is None
    finally:
        over.set()


@pytest.mark.parametrize("reports", [True, False], ids=["the loop reports accuracies", "evaluate is asked"])
async def test_what_is_worse_than_before_is_no_best_so_far_and_the_reason_is_said(start, reports):
    """Recalibrated it is right in 99.8 % of all cases, and fine-tuning begins by making that worse."""
    at_work, over = threading.Event(), threading.Event()

    def evaluate(model: nn.Module) -> float:
        return 0.989 if first_bias(model) > 0.5 else 0.998

    def finetune(model: nn.Module, progress) -> None:
        bias = next(parameter for name, parameter in model.named_parameters() if name.endswith("bias"))
        with torch.no_grad():
            bias.fill_(0.9)
        for done in (0.2, 0.4):
            progress(done, loss=1.0, accuracy=0.989 if reports else None)
        at_work.set()
        while not over.wait(0.02):
            progress(0.5)

    made = Task(Path("task.py"), evaluate, lambda: [torch.randn(16, 3, 32, 32)], finetune)
    try:
        async with start(size=(160, 40), opened=small_nin(), task=made) as desk:
            await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
            await desk.press("g", "5", "0", "enter", "R", "down", "enter")
            await desk.until(lambda: desk.session.recovered is not None, "the recalibration", WORKING)
            before = desk.session.recovered
            await desk.press("R")
            await desk.type("finetune")
            await desk.press("enter")
            await desk.until(lambda: "not better yet" in desk.pane("recovery"), "the loop", WORKING)
            assert at_work.wait(WORKING)
            assert "best so far" not in desk.pane("recovery")
            await desk.press("escape")
            words = "stopped; nothing changed: 98.9 % isn't better than the 99.8 % that it has"
            assert words in desk.status
            await desk.until(lambda: not desk.screen.work._stopped, "the end")
            assert words in desk.status
            assert words in " ".join(desk.pane("recovery").split())
            assert desk.session.recovered is before
    finally:
        over.set()


async def test_a_loop_that_nothing_judges_keeps_what_it_has_learned(start):
    at_work, over = threading.Event(), threading.Event()

    def finetune(model: nn.Module, progress) -> None:
        while not over.wait(0.02):
            progress(0.3, loss=1.0)
            at_work.set()

    try:
        async with start(opened=small_nin(), task=Task(Path("task.py"), None, None, finetune)) as desk:
            await desk.press("g", "5", "0", "enter", "R")
            await desk.type("finetune")
            await desk.press("enter")
            await desk.until(at_work.is_set, "the loop", WORKING)
            await desk.press("escape")
            assert "nothing" not in desk.status
            assert "is kept" in desk.status
            await desk.until(lambda: desk.session.recovered is not None, "the end", WORKING)
    finally:
        over.set()


async def test_a_loop_that_fails_keeps_the_best_and_shows_where(start):
    made = Loop(fails=True)
    made.go_on.set()
    async with start(opened=small_nin(), task=task(made)) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "R")
        await desk.type("finetune")
        await desk.press("enter")
        await desk.until(lambda: "the disk is full" in desk.pane("recovery"), "the end", WORKING)
        assert desk.status.endswith("! shows where")
        assert first_bias(desk.session.recovered.model) == pytest.approx(0.8)
        await desk.press("exclamation_mark")
        assert "ValueError" in desk.app.screen._failure.traceback


async def test_before_anything_was_recovered_it_says_what_it_is_for(start, half_right):
    async with start(task=half_right) as desk:
        await desk.press("6")
        await desk.until(lambda: "R starts it" in desk.pane("recovery"), "the words")
    async with start() as desk:
        await desk.press("6")
        await desk.until(lambda: "R asks for one" in desk.pane("recovery"), "the words")


def lines(found: Recovery, width: int = 78, height: int = 20) -> list[str]:
    return [text_of(line).rstrip() for line in recovery_lines(found, "", width, height)]


def drawn(shown: list[str]) -> list[str]:
    """The lines that have a part of a curve or a figure beside it."""
    top = next(number for number, line in enumerate(shown) if "loss" in line)
    return [line for line in shown[top + 1 :] if line.strip() and "%" not in line and "accuracy" not in line]


@pytest.mark.parametrize(("width", "height"), [(78, 17), (78, 40), (50, 30)])
def test_both_curves_use_the_height_that_there_is(width, height):
    stages = (Stage("before", 0.989), Stage("after", 0.102), Stage("recalibrated", 0.5))
    points = tuple(TuningPoint(n / 20, 20.0 / n, n / 20, best=True) for n in range(1, 11))
    shown = lines(Recovery(stages, points, (Cell("fine-tune"),), tuning=True), width, height)
    assert height - 1 <= len(shown) <= height
    assert all(len(line) <= width for line in shown[len(stages) + 3 :])
    assert len(drawn(shown)) >= 6
    assert sum(line.count("100 %") for line in shown) == 2, "each has its axis"


def test_figures_are_aligned_and_what_was_undone_says_so():
    stages = (Stage("before", 0.989), Stage("after", 0.102), Stage("recalibrated", 0.05, kept=False))
    shown = lines(Recovery(stages))
    assert shown[2:] == [
        "before the cut     98.9 %",
        "after the cut      10.2 %",
        "recalibrated        5.0 %  worse, so it was undone",
    ]


def test_scores_that_are_no_shares_are_numbers():
    points = tuple(TuningPoint(n / 4, None, -10.0 + n, best=True) for n in range(1, 5))
    shown = lines(Recovery((Stage("before", -3.0),), points, tuning=True))
    assert "fine-tuning            -6  ◆ the best so far, at 100 %" in shown
    assert "score  -6, best -6 ◆" in shown


def test_a_loop_that_doesnt_say_how_far_it_is_is_drawn_by_its_steps():
    points = tuple(TuningPoint(0.0, 1.0 / n, None) for n in range(1, 30))
    shown = lines(Recovery((), points))
    assert max(len(line) for line in shown[4:-2]) > 60


@pytest.mark.parametrize("size", [(1, 1), (20, 3), (30, 8), (200, 60)], ids=str)
def test_any_size_will_do(size):
    points = (TuningPoint(0.1, 0.5, None), TuningPoint(0.2, float("inf"), 0.5, True), TuningPoint(0.3, None, 0.5))
    for count in range(4):
        recovery_lines(Recovery((Stage("after", None),), points[:count], tuning=True), "R starts it.", *size)
