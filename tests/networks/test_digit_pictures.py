"""The guide's commands on folders of pictures, with the bundled network."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.digit_pictures import write
from tui_prune.cli.main import app

pytestmark = pytest.mark.networks


def test_a_folder_of_digits_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "digits")
    for task, uncut, count in (("imagefolder:{}/digits", 445 / 450, 450), ("images:{}/digits/val", 1.0, 225)):
        out = tmp_path / f"{count}.pt"
        options = ["--task", task.format(tmp_path), "--target-macs", "0.3", "--reconstruct", "-o", str(out), "--json"]
        done = CliRunner().invoke(app, ["prune", "nin", *options], prog_name="tui-prune")
        assert done.exit_code == 0, done.output
        accuracy = json.loads(done.stdout)["accuracy"]
        assert accuracy["before"] == pytest.approx(uncut)
        assert accuracy["recovered"] >= uncut - 0.02
        assert accuracy["count"] == count
        assert out.exists()
