"""Long work in threads while the recipe goes on changing: each outcome belongs to the plan that it began with."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.small_nets import conv
from tui_prune.loading.open_model import open_model
from tui_prune.progress import Progress
from tui_prune.session.session import Session
from tui_prune.session.state import CutMade, Outcome, Recovered
from tui_prune.tasks.task import Task

CHANGES = 200


class ByItsWidth(nn.Module):
    """Its code reads a width, so that a cut finds a layer that has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = conv(3, 16), conv(16, 16), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        return self.head(self.norm(self.b(x + x.shape[1] * 0.05)).relu().mean((2, 3)))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    torch.manual_seed(0)
    task = Task(None, lambda model: float(model.head.bias[0].detach()), lambda: [torch.randn(4, 3, 4, 4)], None)
    return Session(open_model(model=ByItsWidth().eval(), input_spec="1,3,4,4"), task=task, probing=False)


def test_outcomes_are_found_with_their_plans(session: Session) -> None:
    outcomes: queue.Queue[Outcome] = queue.Queue()
    halfway = threading.Event()
    faults: list[BaseException] = []

    def waiting(stage: str, done: float) -> None:
        assert halfway.wait(30), "the changes"

    def in_a_thread(work: Callable[[Progress], Any]) -> threading.Thread:
        def do() -> None:
            try:
                work(waiting)
            except BaseException as error:
                faults.append(error)

        thread = threading.Thread(target=do)
        thread.start()
        return thread

    session.set_ratio(0.5)
    cut_from = session.plan
    threads = [in_a_thread(session.work(outcomes.put).cut)]
    session.set_ratio(0.25)
    recovered_from = session.plan
    threads.append(in_a_thread(session.work(outcomes.put).recover))
    threads.append(in_a_thread(session.search(outcomes.put).sensitivity))
    for number in range(CHANGES):
        session.set_ratio(0.3 + number / 1000)
        assert session.snapshot.plan.recipe == session.snapshot.choices.recipe
        if number == CHANGES // 2:
            halfway.set()
    last, steps = session.plan, session.steps
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert session.plan is last
    assert session.recoveries == ()
    assert session.recovering, "what was recovered isn't taken in yet"

    found = [outcomes.get() for _ in range(outcomes.qsize())]
    for outcome in found:
        session.accept(outcome)
    cuts = {outcome.plan.recipe.ratio: outcome.result for outcome in found if isinstance(outcome, CutMade)}
    assert cuts[0.5].plan.recipe == cut_from.recipe
    assert cuts[0.5].model.b.out_channels == 8
    (recovered,) = (outcome.result for outcome in found if isinstance(outcome, Recovered))
    assert recovered.plan.recipe == recovered_from.recipe
    assert recovered.model.b.out_channels == 12
    assert session.plan is last
    assert session.steps == steps
    assert session.recovered is None
    assert session.figures(last.recipe).recovered is None
    assert session.figures(recovered_from.recipe).recovered == recovered.report.accuracy.recovered
    assert not session.recovering
    session.apply(recovered_from.recipe)
    assert session.recovered is recovered
    session.apply(cut_from.recipe)
    assert session.plan.layer("a").after == 16, "what the cut has found holds for its recipe"


def test_what_another_task_has_measured_meanwhile_is_not_taken_in(session: Session) -> None:
    outcomes: list[Outcome] = []
    session.set_ratio(0.5)
    work = session.work(outcomes.append)
    session.set_task(Task(None, lambda model: 7.0, None, None))
    work.evaluate()
    for outcome in outcomes:
        session.accept(outcome)
    assert session.figures(session.recipe).accuracy is None
    assert session.evaluate().before == 7.0
