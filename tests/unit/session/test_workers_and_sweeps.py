"""Scans and sweeps by workers: the same numbers as in this process, and a table of recipes with the best marked."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import tui_prune
from tui_prune.cli.main import app
from tui_prune.errors import UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.recipe import Recipe
from tui_prune.search.sweep import Sweep, SweptPoint, grid, parse_ratios, with_trade_off
from tui_prune.session.session import Session
from tui_prune.tasks.registry import open_task
from tui_prune.workers import Here

NET = """
import torch
from torch import nn

def make():
    '''With other weights in each run.'''
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.Flatten(1))
"""
TASK = """
import torch
IMAGES = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(1))

def evaluate(model):
    with torch.no_grad():
        return float(model(IMAGES).square().mean())

def calibration():
    return [IMAGES]
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "task.py").write_text(TASK)
    return Session.open(f"{tmp_path / 'net.py'}:make", input_spec="1,3,4,4", task=tmp_path / "task.py")


def test_workers_measure_this_network_and_not_one_of_its_kind(session: Session) -> None:
    by_workers = session.sensitivity(ratios=(0.25, 0.5), backend=Here())
    for file in (Path(session.request.task).parent / "state").rglob("*.json"):
        file.unlink()
    session.set_task(session.task)
    assert session.sensitivity(ratios=(0.25, 0.5)) == by_workers
    assert by_workers.done == 1 and all(len(curve.points) == 2 for curve in by_workers.curves)


FINETUNE = """
def finetune(model, progress):
    with torch.no_grad():
        model[3].bias += 1
    progress(1.0)
"""


def test_suggestions_and_their_finalists_are_the_same_by_workers(session: Session, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK + FINETUNE)
    session.set_task(open_task(tmp_path / "task.py"))
    wanted = {"target_macs": 0.6, "finalists": 2, "criteria": ["l2", "l1"], "ratios": (0.5,)}
    alone = session.suggest(**wanted)
    kept = session.recoveries[-1]
    for file in (tmp_path / "state").rglob("*.json"):
        file.unlink()
    session = Session(session.opened, task=open_task(tmp_path / "task.py"))
    session.request = OpenRequest(f"{tmp_path / 'net.py'}:make", None, "1,3,4,4")
    assert session.suggest(**wanted, backend=Here()) == alone
    (found,) = session.recoveries
    assert found.report.recovered == kept.report.recovered and "fine-tuned" in found.report.recovered
    for name, tensor in found.model.state_dict().items():
        torch.testing.assert_close(tensor, kept.model.state_dict()[name])
    by_curves = session.suggest(target_macs=0.5, backend=Here())
    assert by_curves == Session(session.opened, task=session.task).suggest(target_macs=0.5)


def test_what_workers_have_measured_is_remembered(session: Session) -> None:
    session.sensitivity(ratios=(0.5,), backend=Here())

    class NoneLeft(Here):
        def outcomes(self, setup, points, progress):
            assert not points
            return iter(())

    assert session.sensitivity(ratios=(0.5,), backend=NoneLeft()).done == 1


def test_networks_in_memory_have_no_workers() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    session = Session(open_model(model=model, input_spec="1,4"), task=tui_prune.Task(evaluate=lambda model: 0.5))
    with pytest.raises(UsageError, match="Leave --jobs and --cluster out"):
        session.sensitivity(backend=Here())


def test_a_sweep_tries_every_recipe(session: Session) -> None:
    recipes = [*grid(Recipe(), ["l2", "l1"], [0.25, 0.5]), Recipe(ratio=0.5, lock=("nothing",))]
    alone = session.sweep(recipes)
    assert [(one.criterion, one.ratio) for one in alone.points] == [(r.criterion, r.ratio) for r in recipes]
    assert (
        [bool(one.failure) for one in alone.points]
        == [one.score is None for one in alone.points]
        == [False] * 4 + [True]
    )
    assert alone == session.sweep(recipes, backend=Here())
    half = alone.points[1]
    session.set_ratio(0.5)
    assert half.macs == session.plan.after.macs / session.plan.before.macs
    assert half.score == session.expected(Recipe(ratio=0.5)).recovered


def test_the_best_are_those_that_no_other_beats() -> None:
    points = [(0.8, 0.9), (0.5, 0.9), (0.5, 0.7), (0.2, 0.5), (0.1, 0.5), (0.3, 0.8)]
    made = [SweptPoint("l2", 0.5, macs, macs, score) for macs, score in points]
    best = with_trade_off(Sweep(0.9, (*made, SweptPoint("l2", 0.9, failure="no"))))
    assert [one.best for one in best.points] == [False, True, False, False, True, True, False]


@pytest.mark.parametrize(
    ("text", "ratios"),
    [("0.2:0.8:0.1", (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)), ("0.5", (0.5,)), ("0.3,0.1", (0.3, 0.1)), ("0:0:1", (0,))],
)
def test_ratios_of_a_sweep(text: str, ratios: tuple[float, ...]) -> None:
    assert parse_ratios(text) == ratios


@pytest.mark.parametrize("text", ["", "a", "0.2:0.8", "0.8:0.2:0.1", "0.2:0.8:0", "0:0.9:1e-9", "0.5,1", "nan", "-0.1"])
def test_wrong_ratios_of_a_sweep(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ratios(text)


def test_the_command_prints_a_table_and_an_object(session: Session) -> None:
    request = session.request
    arguments = ["sweep", request.spec, "--input", "1,3,4,4", "--task", request.task, "--ratios", "0.25,0.5"]
    torch.manual_seed(0)
    done = CliRunner().invoke(app, [*arguments, "--criteria", "l2,l1"])
    assert done.exit_code == 0, done.output
    assert "No other one has as few MACs" in done.stdout and done.stdout.count("0.25") >= 2
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [one["ratio"] for one in found["points"]] == [0.25, 0.5] and any(one["best"] for one in found["points"])
