"""Weights that took an hour to recover survive whatever ends the app."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENTER, ESCAPE, BACKSPACE = "\r", "\x1b", "\x7f"
TASK = """
import time
import torch

def bias(model):
    return next(parameter for name, parameter in model.named_parameters() if name.endswith("bias"))

def evaluate(model):
    return min(1.0, abs(float(bias(model).detach()[0])))

def finetune(model, progress):
    with torch.no_grad():
        bias(model).fill_(0.8)
    progress(0.5, accuracy=evaluate(model))
    while True:
        time.sleep(0.05)
        progress(0.6)
"""
COMPARE = """
import torch, tui_prune
kept, saved = (tui_prune.load(path).state_dict() for path in {paths})
assert kept.keys() == saved.keys() and all(torch.equal(kept[name], saved[name]) for name in kept)
import task
print(task.evaluate(tui_prune.load({paths}[1])))
"""


def the_file(folder: Path) -> Path:
    """That of the recovered weights, once it is there."""
    for _ in range(1800):
        found = [*(folder / "xdg_state_home" / "tui-prune" / "recovered").glob("*.safetensors")]
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("nothing was kept")


def test_killed_while_it_is_fine_tuned_gone_on_with_and_saved(open_terminal, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    app = open_terminal("nin", "--task", "task.py")
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("→  96")
    app.press("R", *[BACKSPACE] * len("recalibrate"), *"finetune", ENTER)
    app.wait_for("80.0 %")
    file = the_file(tmp_path)
    os.kill(app.process.pid, signal.SIGKILL)
    app.wait_for_end()

    app = open_terminal("nin", "--task", "task.py")
    app.wait_for("goes on with it")
    assert "80.0 % was reached by recovering; those weights are kept, too." in " ".join(app.text.split())
    app.press(ENTER)
    app.wait_for(lambda text: "80.0 %" in text.split("\n")[0])
    app.press("s")
    app.wait_for("fine-tuned, 80.0 %")
    app.press(ENTER)
    app.wait_for("Saved")
    app.press(ESCAPE, "q")
    assert app.wait_for_end() == 0
    program = COMPARE.format(paths=[str(file), str(tmp_path / "nin-pruned.pt")])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.8)
