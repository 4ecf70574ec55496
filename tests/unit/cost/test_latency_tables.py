"""Latency tables: measured by one file that needs only torch, and planned for where nothing can be measured."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tui_prune.cli.main import app
from tui_prune.cost import on_target
from tui_prune.cost.latency_table import parse_table, read_table
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.session.latency_work import script_of
from tui_prune.session.session import Session

NET = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(NET)
    return Session.open(f"{tmp_path / 'net.py'}:make", input_spec="1,3,6,6")


def imported(source: str) -> set[str]:
    """The packages that a script imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found - {*sys.stdlib_module_names, "__future__"}


@pytest.fixture
def file(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that the script has written."""
    script, table = script_of(session.latency_work("torch")), tmp_path / "table.json"
    assert imported(script) == {"torch", "numpy", "onnxruntime"}
    monkeypatch.setattr(sys, "argv", ["measure.py", "-o", str(table)])
    script = script.replace("ROUNDS = 25", "ROUNDS = 1")  # which is enough here
    exec(compile(script, "measure.py", "exec"), {"__name__": "__main__"})
    return table


def test_the_table_of_the_script_is_planned_for(
    session: Session, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = json.loads(file.read_text())
    assert [one["share"] for one in table["networks"]] == [1, 0.75, 0.5, 0.25] and table["device"]
    flat = dict.fromkeys(table["seconds"], 0.001)  # on this device, cutting is worth nothing
    uncut = table["networks"][0]
    steep = [{**uncut, "seconds": 1.0}, {**table["networks"][2], "seconds": 0.25}]
    for name, content in (
        ("flat", {**table, "seconds": flat, "networks": []}),
        ("steep", {**table, "networks": steep}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({**content, "device": name}))

    def measured_here(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("nothing is measured on this device")

    monkeypatch.setattr("tui_prune.cost.stopwatch.fastest", measured_here)
    monkeypatch.setattr("tui_prune.session.plans.measure", measured_here)
    net, shape = str(tmp_path / "net.py") + ":make", "1,3,6,6"
    quick = Session.open(net, input_spec=shape, latency_table=tmp_path / "steep.json")
    quick.apply(Recipe(target_latency=0.25))
    found = quick.cut().report
    assert found.latency.device == "steep" and found.latency.after is None
    assert found.latency.before == pytest.approx(1) and found.latency.predicted == pytest.approx(0.25)
    assert quick.plan.ratio <= 0.55
    assert quick.request.latency_table == str(tmp_path / "steep.json")
    slow = Session.open(net, input_spec=shape, latency_table=tmp_path / "flat.json")
    with pytest.raises(UsageError, match="can't be reached"):
        slow.apply(Recipe(target_latency=0.25))
    quick.time_plans([Recipe(ratio=0.5)])
    figures = quick.figures(Recipe(ratio=0.5))
    assert figures.latency < figures.uncut_latency == pytest.approx(1)


def test_a_table_of_another_network_is_refused(file: Path) -> None:
    torch.manual_seed(0)
    other = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 3))
    opened = open_model(model=other)
    session = Session(opened, table=read_table(file))
    with pytest.raises(UsageError, match=r"table\.json was measured for another network or input"):
        session.apply(Recipe(target_latency=0.5))


@pytest.mark.parametrize("damage", [{"format": "?"}, {"seconds": {"a": "x"}}, {"networks": [{"share": 1}]}])
def test_what_is_no_table_is_a_sentence(damage: dict[str, Any]) -> None:
    table = {"format": on_target.FORMAT, "version": 1, "network": "", "device": "", "seconds": {}, "networks": []}
    assert parse_table(table, Path("t.json")).networks == ()
    with pytest.raises(TuiPruneError, match=r"t\.json is no (whole )?latency table"):
        parse_table({**table, **damage}, Path("t.json"))


def test_onnx_runtime_measures_the_same_network() -> None:
    pytest.importorskip("onnxruntime")
    from tui_prune.saving.exporting.skeletons import skeleton_of_network

    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16, 4)).eval()
    skeleton = skeleton_of_network(model, (torch.zeros(1, 3, 3, 3),), {})
    assert [shape for _, shape in skeleton["weights"]] == [[16, 3, 3, 3]]  # 64 numbers may be sizes
    (outputs,) = on_target.OnnxRuntime(1, "cpu").network({"onnx": skeleton})()
    assert outputs.shape == (1, 4) and outputs.any()


def test_the_command_measures_here(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, out = f"{tmp_path / 'net.py'}:make", tmp_path / "measure.py"
    monkeypatch.setattr(on_target, "ROUNDS", 1)
    found = CliRunner().invoke(app, ["latency", net, "--input", "1,3,6,6", "--threads", "1", "--json"])
    report = json.loads(found.stdout)
    assert (
        found.exit_code == 0 and report["latency"] > 0 and [one["name"] for one in report["layers"]] == ["0", "3", "7"]
    )
    assert CliRunner().invoke(app, ["latency", net, "--input", "1,3,6,6", "--export", str(out)]).exit_code == 0
    assert "def program" not in out.read_text() and out.read_text().startswith('"""Measure')
    assert CliRunner().invoke(app, ["latency", net, "--export", str(out)]).exit_code == 1
