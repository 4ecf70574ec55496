"""What earlier versions have written still opens, with the same meaning.

`tests/earlier_files` has it, written by three versions: the first that kept choices, the first that kept recovered
weights, and the last before the rooms were moved. `expected.json` beside it says what each of them made of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.earlier_files.net import make
from tui_prune import Recipe, load
from tui_prune.app.keymap import check
from tui_prune.app.weights_keeper import take_up
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.config import load as load_config
from tui_prune.loading.request import OpenRequest
from tui_prune.session.autosave import kept_work, recovered_files
from tui_prune.session.autosave.networks import key
from tui_prune.session.autosave.places import sessions_folder
from tui_prune.session.session import Session

EARLIER = Path(__file__).parents[2] / "earlier_files"
VERSIONS = ("first_choices", "first_recovered", "before_rooms")
INPUT = torch.cos(torch.arange(3 * 64.0) * 0.3).view(1, 3, 8, 8)
THERE = "/tmp/networks"
"""The folder of the network that all of it was written for."""


def expected(version: str) -> dict[str, Any]:
    return json.loads((EARLIER / version / "expected.json").read_text())


def near(outputs: list[float]) -> Any:
    return pytest.approx(outputs, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("file", sorted(EARLIER.glob("*/plan.*")), ids=lambda file: f"{file.parent.name}{file.suffix}")
def test_checkpoints(file: Path) -> None:
    then = expected(file.parent.name)
    network = load(file, model=make())
    assert network(INPUT).flatten().tolist() == near(then["outputs"])
    modules = dict(network.named_modules())
    widths = {name: modules[name].weight.shape[0] for name in then["widths"]}
    assert widths == {name: after for name, (_, after) in then["widths"].items()}
    assert Recipe.from_dict(read_checkpoint(file).recipe) == Recipe.from_dict(then["recipe"])


@pytest.mark.parametrize("version", VERSIONS)
def test_recipes(version: str) -> None:
    read, then = Recipe.from_toml(EARLIER / version / "recipe.toml"), Recipe.from_dict(expected(version)["recipe"])
    assert read.key == then.key
    assert [*read.layers.items()] == [("*", 0.5), ("c", 0.25)]


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_sessions_and_recovered_weights(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("net.py", "task.py"):
        shutil.copy(EARLIER / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    request, then = OpenRequest("net.py:make", None, "1,3,8,8", "task.py"), expected(version)
    sessions_folder().mkdir(parents=True)
    kept = (EARLIER / version / "session.json").read_text().replace(THERE, str(tmp_path))
    (sessions_folder() / f"{key(request)}.json").write_text(kept)
    recipe = Recipe.from_dict(then["recipe"])
    file = recovered_files.file_of(key(request), recipe.key)
    file.parent.mkdir(parents=True)
    shutil.copy(EARLIER / version / "recovered.safetensors", file)

    work = kept_work(request)
    assert work is not None
    session = Session.open(request.spec, input_spec=request.input_spec, task=request.task)
    session.restore(work.state["session"])
    assert session.recipe == recipe
    assert session.place == 2
    assert [step.recipe.layers.get("c") for step in session.steps] == [None, None, 0.25, 0.75]
    assert {layer.name: [layer.before, layer.after] for layer in session.plan.layers} == then["widths"]
    assert [plan.name for plan in session.shelf.plans] == ["good one"]
    assert session.figures(recipe).cost == session.plan.after, "what was measured of the weights still holds"

    assert take_up(session, work) == []
    assert session.recovered is not None
    assert list(session.recovered.report.recovered) == then["steps"]
    assert session.recovered.model(INPUT).flatten().tolist() == near(then["recovered"])


def test_settings() -> None:
    """All keys that could be chosen can be chosen still; some are others' by now."""
    config = load_config(EARLIER / "before_rooms" / "config.toml")
    assert (config.theme, config.mouse) == ("contrast", False)
    assert not [problem for problem in (*config.problems, *check(config.keys)[1]) if "called" in problem]
    assert len(config.keys) == 145
