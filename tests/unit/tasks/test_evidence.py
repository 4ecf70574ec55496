"""What stands behind an accuracy."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import tui_prune
from tui_prune.loading.open_model import open_model
from tui_prune.models import digits
from tui_prune.planning.recipe import Recipe
from tui_prune.report import tables
from tui_prune.session.session import Session
from tui_prune.tasks.evidence import Half, Score, evidence, mcnemar, wilson
from tui_prune.tasks.task import Task


@pytest.mark.parametrize("right", [[1, 0, 1, 1], [True, False, True, True], torch.tensor([1, 0, 1, 1]).bool()])
def test_a_score_is_a_number_that_knows_its_examples(right) -> None:
    score = Score(right)
    assert score == 0.75
    assert score.right.tolist() == [True, False, True, True]
    for other in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert other == score
        assert other.right.tolist() == score.right.tolist()
    assert json.dumps(score) == "0.75"
    with pytest.raises(ValueError, match="one example"):
        Score([])


@pytest.mark.parametrize(("right", "count", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611)])
def test_the_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I."""
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_networks_that_are_equally_good_are_seldom_told_apart() -> None:
    generator = np.random.default_rng(0)
    pairs = [(generator.random((2, 300)) < 0.9) for _ in range(1000)]
    assert sum(mcnemar(*pair) < 0.05 for pair in pairs) <= 50
    better = generator.random(300) < 0.9, generator.random(300) < 0.6
    assert mcnemar(*better) < 1e-6
    assert mcnemar(better[0], better[0]) == 1.0


def test_plain_numbers_have_no_evidence() -> None:
    score = Score([1, 0, 1, 1])
    assert evidence(0.75) is None
    assert evidence(None) is None
    assert evidence(score).p is None
    assert evidence(score, 0.5).p is None
    assert evidence(score, Score([1, 1])).p is None
    assert evidence(score, Score([1, 1, 1, 1]))[:2] == (4, 3)


def test_the_report_tells_count_interval_and_p() -> None:
    session = Session(open_model("nin"), recipe=Recipe(ratio=0.6), task=Task(evaluate=digits.evaluate), probing=False)
    session.evaluate()
    report = session.result().report.to_dict()
    assert report["evidence"]["before"] | {"interval": 0} == {"count": 450, "right": 445, "interval": 0, "p": None}
    low, high = report["evidence"]["after"]["interval"]
    assert low < report["accuracy"]["after"] < high
    assert report["evidence"]["after"]["p"] < 0.001
    json.dumps(report)
    assert report["accuracy"]["count"] == 450
    assert report["accuracy"]["interval"] == [low, high]
    line = next(line for line in tables.report_lines(report, {}) if line.startswith("accuracy "))
    assert line.startswith("accuracy 98.9 % ±1.0 (n 450) → ")
    assert line.endswith(" points less than uncut, p < 0.001")


def test_one_half_of_the_examples_chooses_and_the_other_reports() -> None:
    halves = [half.of(9).tolist() for half in Half]
    assert sorted([*halves[0], *halves[1]]) == list(range(9))
    assert halves == [half.of(9).tolist() for half in Half]
    score = Score([n in halves[0] for n in range(9)])
    assert [score.half(half) for half in Half] == [1.0, 0.0]
    task = Task(evaluate=lambda model: score)
    assert [task.half(half).score(nn.Linear(2, 2)) for half in Half] == [1.0, 0.0]
    assert Task(evaluate=lambda model: 0.5).half(Half.CHOOSING).score(nn.Linear(2, 2)) == 0.5


def test_a_task_without_examples_says_no_more_than_its_number() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)).eval()
    task = Task(evaluate=lambda model: 0.5, calibration=lambda: [torch.randn(16, 4)])
    made = tui_prune.recover(tui_prune.prune(net, torch.randn(1, 4), ratio=0.5), task, reconstruct=True)
    assert "evidence" not in made.report.to_dict()
