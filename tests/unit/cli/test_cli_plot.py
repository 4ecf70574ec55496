"""`tui-prune plot`: every kind as text and as SVG, and what is said where there is nothing to draw."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tui_prune.cli.main import app
from tui_prune.report.kinds import KINDS
from tui_prune.session.session import Session

FIRST = "tnn_bin.0"
SVG = "{http://www.w3.org/2000/svg}"
BROKEN = """
import torch
from tui_prune.models.plain_conv import plain_conv

def net():
    made = plain_conv()
    with torch.no_grad():
        made.conv1.weight[3, 1, 0, 0] = float("nan")
    return made
"""
FEW_INPUTS = """
from itertools import islice
from tui_prune.models import digits

def calibration():
    return (batch[:48] for batch in islice(digits.calibration(), 2))
"""


@pytest.fixture(autouse=True)
def opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network with each recipe is opened only once; drawing changes nothing in it."""
    monkeypatch.setattr(Session, "open", _open)
    monkeypatch.setenv("COLUMNS", "78")
    monkeypatch.setenv("LINES", "24")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


_real_open = Session.open
_sessions: dict[str, Session] = {}


def _open(*arguments: Any, progress: Any, **options: Any) -> Session:
    key = f"{arguments} {options}"
    if key not in _sessions:
        _sessions[key] = _real_open(*arguments, progress=progress, **options)
    return _sessions[key]


def plot(*arguments: str | Path, kind: str, layer: str = FIRST) -> Any:
    words = ["plot", "nin", "--kind", kind, "--ratio", "0.5", *map(str, arguments)]
    return CliRunner().invoke(app, [*words, *(["--layer", layer] if layer else [])], prog_name="tui-prune")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_text_as_large_as_the_terminal_and_svg(kind: str, tmp_path: Path) -> None:
    task = tmp_path / "task.py"
    task.write_text(FEW_INPUTS)
    done = plot("--task", task, kind=kind)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{FIRST} · conv 5x5 · ")
    assert 10 <= len(lines) <= 22
    assert max(map(len, lines[1:])) <= 78
    assert "\x1b" not in done.stdout

    target = tmp_path / "picture.svg"
    done = plot("--task", task, "-o", target, kind=kind)
    assert (done.exit_code, done.stdout) == (0, f"Written to {target}.\n")
    picture = ElementTree.parse(target).getroot()
    assert picture.tag == f"{SVG}svg"
    assert any(FIRST in (text.text or "") for text in picture.iter(f"{SVG}text"))
    width, height = (float(picture.get(side)) for side in ("width", "height"))
    for text in picture.iter(f"{SVG}text"):
        assert float(text.get("x")) <= width
        assert float(text.get("y")) <= height


def test_an_svg_is_only_replaced_on_purpose(tmp_path: Path) -> None:
    target = tmp_path / "picture.svg"
    target.write_text("mine")
    done = plot("-o", target, kind="hist")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert target.read_text() == "mine"
    assert plot("-o", target, "--force", kind="hist").exit_code == 0
    assert target.read_text().startswith("<svg")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]


@pytest.mark.parametrize("kind", ["heat", "surface"])
def test_colours_are_shown_where_there_are_some(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[38;5;" in plot(kind=kind).stdout
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    assert "38;5" not in plot(kind=kind).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in plot(kind=kind).stdout


def test_a_size_a_scale_a_zoom_and_an_angle_can_be_asked_for() -> None:
    done = plot("--width", "40", "--height", "10", "--log", kind="hist")
    assert len(done.stdout.splitlines()) == 10
    assert max(map(len, done.stdout.splitlines()[1:])) <= 40
    assert "log" in done.stdout.splitlines()[0]
    assert done.stdout != plot("--width", "40", "--height", "10", kind="hist").stdout
    assert "central 99 %" in plot("--zoom", kind="hist").stdout
    assert len(plot("--zoom", kind="heat").stdout.splitlines()) > 100
    assert plot("--angle", "75", kind="surface").stdout != plot(kind="surface").stdout


def test_the_whole_network_is_drawn_where_no_layer_is_named() -> None:
    scales = plot(kind="scales", layer="").stdout
    assert "704 of 1418 go (shaded), 9 layers" in scales
    costs = plot(kind="costs", layer="").stdout
    assert "MACs" in costs
    assert all(layer in costs for layer in ("tnn_bin.0", "tnn_bin.2.conv", "tnn_bin.11"))
    done = plot(kind="heat", layer="")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--layer NAME" in done.stderr


def test_errors_need_a_cut() -> None:
    done = CliRunner().invoke(app, ["plot", "nin", "--kind", "errors"], prog_name="tui-prune")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "give --ratio" in done.stderr


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [("scales", 1, "No batch norm with scales runs over fc"), ("activations", 2, "--task FILE.py")],
)
def test_where_there_is_nothing_to_draw_it_says_why(kind: str, status: int, said: str) -> None:
    words = ["plot", "resnet18", "--input", "1,3,64,64", "--layer", "fc", "--kind", kind]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr


def test_weights_that_are_no_numbers_are_drawn_as_such(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    words = ["plot", f"{tmp_path}/broken.py:net", "--input", "1,3,16,16", "--layer", "conv1", "--kind"]
    for kind, said in (("hist", "1 not finite"), ("heat", "1 not finite (?)"), ("surface", "not finite: ?")):
        done = CliRunner().invoke(app, [*words, kind])
        assert done.exit_code == 0, done.output
        assert said in done.stdout
    assert "?" in done.stdout
    done = CliRunner().invoke(app, [*words, "scores"])
    assert done.exit_code == 1
    assert "Repair the checkpoint" in done.stderr
