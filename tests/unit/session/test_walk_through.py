"""The README's walk-through, run as it stands there: half the MACs at no more than one point of accuracy lost."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def walk_through() -> str:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Half the MACs, in three lines")[2]
    (script,) = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert len(script.strip().splitlines()) == 3
    return script


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment with this interpreter's `python` and `tui-prune`, and folders of its own to keep things in."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("python", ""), ("tui-prune", "-m tui_prune")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: str(tmp_path / "kept") for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    search = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **kept, "PATH": search, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.networks
def test_half_the_macs_at_no_more_than_one_point_of_accuracy(tmp_path: Path, shell: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-e"], input=walk_through(), text=True, cwd=tmp_path, env=shell, capture_output=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "half.json").read_text(encoding="utf-8"))
    accuracy = report["accuracy"]
    assert report["macs"]["after"] <= 0.5 * report["macs"]["before"]
    assert accuracy["recovered"] >= accuracy["before"] - 0.01
    assert report["equivalence"]["kind"] == "exact"
    assert float(done.stdout.splitlines()[-1]) == pytest.approx(accuracy["recovered"])  # loaded in a fresh process
