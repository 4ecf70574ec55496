"""Paths mean what they meant when they were given, and those that can't be looked at lead to a sentence."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tui_prune
from tui_prune import paths
from tui_prune.cli.main import app
from tui_prune.errors import TuiPruneError
from tui_prune.saving.whole_file import check_target

NOBODY = 65534
MOVES = "import os\nos.chdir({other!r})\n"
NET = """
from torch import nn
def make():
    import os
    os.chdir({other!r})
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
"""


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tui-prune")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The folder in which everything starts, and the one that code of the user's goes to."""
    start, other = tmp_path / "start", tmp_path / "other"
    start.mkdir()
    other.mkdir()
    monkeypatch.chdir(start)
    yield start, other


def test_a_task_that_changes_the_folder_moves_no_file(folders: tuple[Path, Path]) -> None:
    start, other = folders
    assert call("prune", "nin", "--ratio", "0.3", "-o", "weights.pt").exit_code == 0
    for name in ("out.pt", "table.md"):
        (other / name).write_text("not to be replaced")
    Path("task.py").write_text(MOVES.format(other=str(other)) + "def evaluate(model): return 0.5\n")
    done = call(*"prune weights.pt --task task.py --ratio 0.5 -o out.pt --export table.md --force".split())
    assert done.exit_code == 0, done.output
    assert {path.name for path in start.iterdir()} == {"weights.pt", "task.py", "out.pt", "table.md"}
    assert {path.read_text() for path in other.iterdir()} == {"not to be replaced"}
    os.chdir(start)
    assert call("verify", "out.pt").exit_code == 0


def test_a_factory_that_changes_the_folder_moves_no_file(folders: tuple[Path, Path]) -> None:
    start, other = folders
    Path("net.py").write_text(NET.format(other=str(other)))
    Path("half.toml").write_text("ratio = 0.5\n")
    done = call(*"prune net.py:make --input 1,3,8,8 --recipe half.toml -o out.pt".split())
    assert done.exit_code == 0, done.output
    assert (start / "out.pt").is_file()
    assert not list(other.iterdir())


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder has been removed."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    return folder


def test_where_the_folder_is_gone_absolute_paths_work(gone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    done = call("prune", "nin", "--ratio", "0.5", "-o", out)
    assert done.exit_code == 0, done.output
    assert out.is_file()


@pytest.mark.parametrize(
    "arguments",
    ["prune nin -o out.pt", "verify out.pt", "inspect net.py:make", "inspect nin --weights w.pt", "bench nin out.pt"],
)
def test_where_the_folder_is_gone_relative_paths_get_a_sentence(gone: Path, arguments: str) -> None:
    done = call(*arguments.split())
    assert done.exit_code == 2
    assert "The folder in which this was started is gone" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def odd_paths(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "pipe")
    os.symlink(folder / "circle", folder / "circle")
    (folder / "folder").mkdir()
    return {
        "a pipe": str(folder / "pipe"),
        "a device": "/dev/null",
        "a folder": str(folder / "folder"),
        "in a circle": str(folder / "circle"),
        "too long": str(folder / ("x" * 300)),
        "below a file": "/etc/passwd/x.pt",
        "no home": "~no-such-user-here/x.pt",
    }


USES = {
    "MODEL": ("inspect", "{}"),
    "factory": ("inspect", "{}.py:make"),
    "weights": ("inspect", "nin", "--weights", "{}"),
    "task": ("inspect", "nin", "--task", "{}"),
    "recipe": ("prune", "nin", "-o", "{out}", "--recipe", "{}"),
    "checkpoint": ("verify", "{}"),
    "bench": ("bench", "nin", "{}"),
    "output": ("prune", "nin", "-o", "{}", "--force"),
    "table": ("prune", "nin", "-o", "{out}", "--force", "--export", "{}"),
    "svg": ("plot", "nin", "--kind", "costs", "-o", "{}", "--force"),
}


KINDS = ("a pipe", "a device", "a folder", "in a circle", "too long", "below a file", "no home")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_path_ends_in_a_traceback(use: str, kind: str, tmp_path: Path) -> None:
    path, out = odd_paths(tmp_path)[kind], tmp_path / "fine.pt"
    if use == "task" and "--task" not in CliRunner().invoke(app, ["inspect", "--help"]).output:
        arguments = ("sensitivity", "nin", "--task", path)
    else:
        arguments = tuple(word.format(path, out=out) for word in USES[use])
    before = sorted(os.listdir(tmp_path))
    done = call(*arguments)
    assert done.exit_code in (1, 2), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert sorted(os.listdir(tmp_path)) == before
    assert Path("/dev/null").is_char_device()


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(TuiPruneError, match="/dev/null is a device"):
        check_target(Path("/dev/null"), force=True)


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.pt").write_text("x")
    os.symlink(tmp_path / "real.pt", tmp_path / "link.pt")
    assert check_target(tmp_path / "link.pt", force=True) == (tmp_path / "real.pt").resolve()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_belongs_to_somebody_else_gets_a_sentence(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "weights.pt").write_bytes(b"x")
    program = (
        "import os, sys\n"
        "from typer.testing import CliRunner\n"
        "from tui_prune.cli.main import app\n"
        "def call(path):\n"
        "    for words in ('verify', path), ('bench', 'nin', path), ('prune', 'nin', '-o', path, '--force'):\n"
        "        yield CliRunner().invoke(app, words)\n"
        "ready = [*call(sys.argv[2])]  # what is imported now need not be readable later\n"
        f"os.chdir('/'); os.seteuid({NOBODY})\n"
        "for done in call(sys.argv[1]):\n"
        "    fine = done.exit_code in (1, 2) and isinstance(done.exception, SystemExit)\n"
        "    print(fine, len(done.stderr.strip().splitlines()), done.stderr.strip())\n"
    )
    command = [sys.executable, "-c", program, str(private / "weights.pt"), str(tmp_path / "own.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("True 1 ") for line in lines), done.stdout + done.stderr


def test_paths_from_python_start_where_the_call_is_made(folders: tuple[Path, Path]) -> None:
    start, other = folders
    os.chdir(other)
    assert paths.absolute("x.pt") == other / "x.pt"
    os.chdir(start)
    assert paths.absolute("x.pt") == start / "x.pt"
    assert tui_prune.Recipe().ratio == 0
