"""What the command line prints: its own results on stdout, and nothing in it that steers the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tui_prune.cli import console
from tui_prune.cli.main import app
from tui_prune.formatting import abridged, printable

NOISY = """
import os, sys, torch
from torch import nn
print("imported")
def make():
    print("made")
    os.system("echo from a process of its own")
    os.write(1, b"to the file descriptor\\n")
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
def evaluate(model):
    print("evaluated")
    sys.__stdout__.write("behind Python's back\\n")
    return 0.5
"""
STEERING = "\x1b[2J\x1b]0;gone\x07 \u202egnorw\r\x9b31m"


@pytest.mark.parametrize(
    "words", ["prune net.py:make --ratio 0.5 -o out.pt --task net.py --json", "inspect net.py:make --json"]
)
def test_json_is_one_object_whatever_other_code_prints(words: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NOISY)
    command = [sys.executable, "-m", "tui_prune", *words.split(), "--input", "1,3,8,8"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["params"]
    said = ["imported", "made", "from a process of its own", "to the file descriptor"]
    if "prune" in words:
        said += ["evaluated", "behind Python's back"]
    assert all(line in done.stderr for line in said), done.stderr


def test_stdout_is_as_before_after_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    with console.stdout_for_results():
        print("aside")
        console.print_lines(["result"])
    print("after")
    out, err = capfd.readouterr()
    assert (out.split(), err.split()) == (["result", "after"], ["aside"])


def names_steer(folder: Path) -> str:
    (folder / "net.py").write_text(
        "from torch import nn\n"
        f"NAME = {STEERING!r}\n"
        "def make():\n"
        "    parts = {NAME: nn.Conv2d(3, 8, 3), 'x' * 5000: nn.ReLU(), 'last': nn.Conv2d(8, 4, 1)}\n"
        "    net = nn.Sequential()\n"
        "    for name, part in parts.items():\n"
        "        net._modules[name] = part\n"
        "    return net\n"
        "def broken():\n"
        "    raise ValueError(NAME + 'x' * 100_000)\n"
    )
    return str(folder / "net.py")


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments], prog_name="tui-prune")
    return done.stdout + done.stderr


@pytest.mark.parametrize("use", ["inspect", "prune", "plot", "broken", "weights"])
def test_nothing_that_steers_a_terminal_is_printed(use: str, tmp_path: Path) -> None:
    file = names_steer(tmp_path)
    torch.save({f"{STEERING}.weight": torch.zeros(3), "y" * 100_000: torch.zeros(1)}, tmp_path / "odd.pt")
    uses = {
        "inspect": ("inspect", f"{file}:make", "--input", "1,3,8,8"),
        "prune": ("prune", f"{file}:make", "--input", "1,3,8,8", "--ratio", "0.5", "-o", str(tmp_path / "out.pt")),
        "plot": ("plot", f"{file}:make", "--input", "1,3,8,8", "--layer", STEERING),
        "broken": ("inspect", f"{file}:broken", "--input", "1,3,8,8"),
        "weights": ("inspect", f"{file}:make", "--input", "1,3,8,8", "--weights", str(tmp_path / "odd.pt")),
    }
    printed = call(*uses[use])
    assert printed
    assert all(line.isprintable() for line in printed.splitlines()), printed
    assert max(map(len, printed.splitlines())) <= console.LONGEST


def test_a_long_name_is_abridged_in_the_middle() -> None:
    assert abridged("short", 8) == "short"
    assert abridged("encoder.layer.11.output", 11) == "encod…utput"
    assert printable("plain") == "plain"
