"""However the app ends, what was chosen is there when the network is opened again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ENTER, CTRL_R, CTRL_Z, BACKSPACE = "\r", "\x12", "\x1a", "\x7f"
ALTERNATE_SCREEN_OFF, CURSOR_ON, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"


def kept(folder: Path) -> dict:
    """What is on the disk."""
    (file,) = (folder / "xdg_state_home" / "tui-prune" / "sessions").glob("*.json")
    return json.loads(file.read_text())


def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def choose(app, folder: Path) -> None:
    """Cut a half, align to 8, lock a layer and take that back, look at the channels of a layer."""
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("→  96")
    app.press("a", "8", ENTER)
    app.wait_for("align 8")
    app.press("j", "j", "j", "L")
    app.wait_for("1 locked")
    app.press("u")
    app.wait_for(lambda text: "locked" not in text.splitlines()[-2])
    app.press("3")
    app.wait_for("They put the channels out")
    until(lambda: kept(folder)["summary"].startswith("cut 50 %, align 8"), "the choices on the disk")


def check_that_it_goes_on(open_terminal) -> None:
    app = open_terminal("nin")
    app.wait_for("goes on with it")
    assert "cut 50 %, align 8" in app.text
    app.press(ENTER)
    app.wait_for("970k → 248k")
    app.wait_for("[Channels]")
    assert "tnn_bin.2.conv" in app.text
    assert "160 → 80" in app.text
    app.press(CTRL_R)
    app.wait_for("1 locked")
    app.press("u", "u")
    app.wait_for(lambda text: text.splitlines()[-2].strip().endswith("undone: align 8"))
    assert app.text.splitlines()[-2].strip().startswith("cut 50 % · l2")
    app.press("u")
    app.wait_for(lambda text: "cut 0 %" in text)
    app.press("q")
    assert app.wait_for_end() == 0


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.networks), signal.SIGKILL])
def test_a_signal_loses_nothing(open_terminal, tmp_path: Path, number: signal.Signals) -> None:
    app = open_terminal("nin")
    choose(app, tmp_path)
    if number == signal.SIGKILL:  # the position is kept with some delay
        until(lambda: kept(tmp_path)["state"]["position"]["tab"] == "channels", "the position on the disk")
    if number == signal.SIGTERM:
        app.press("v")  # while something is going on
    os.kill(app.process.pid, number)
    assert app.wait_for_end() == 128 + number
    if number != signal.SIGKILL:
        assert ALTERNATE_SCREEN_OFF in app.bytes
        assert CURSOR_ON in app.bytes
        assert MOUSE_OFF in app.bytes or b"\x1b[?1000h" not in app.bytes
    check_that_it_goes_on(open_terminal)


def test_a_closed_terminal_loses_nothing(open_terminal, tmp_path: Path) -> None:
    app = open_terminal("nin")
    choose(app, tmp_path)
    process = app.process.ptyproc
    process.fileobj.close()  # not by its number: that would be closed once more, when another file may have it
    until(lambda: os.waitpid(process.pid, os.WNOHANG)[0] == process.pid, "the end")
    process.terminated = process.closed = True
    app.process.closed = app.process.terminated = True
    work = kept(tmp_path)
    assert work["summary"].startswith("cut 50 %, align 8")
    assert work["state"]["position"]["tab"] == "channels"
    log = (tmp_path / "xdg_state_home" / "tui-prune" / "log" / "tui-prune.log").read_text()
    for words in ("opened nin", "evaluating: started", "chosen: global ratio 50 %", "chosen: align 8"):
        assert words in log


def test_killed_while_it_saves(open_terminal, tmp_path: Path) -> None:
    target = tmp_path / "there.pt"
    target.write_bytes(b"precious")
    app = open_terminal("nin")
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("→  96")
    app.press("s", *[BACKSPACE] * len("nin-pruned.pt"), *"there.pt", ENTER)
    app.wait_for("Enter replaces it")
    app.process.send(ENTER)
    for _ in range(2000):
        if any(tmp_path.glob(".there.pt.*.part")) or target.read_bytes() != b"precious":
            break
        app.read(0.005)
    os.kill(app.process.pid, signal.SIGKILL)
    app.wait_for_end()
    if target.read_bytes() != b"precious":
        program = f"import tui_prune; tui_prune.load({str(target)!r})"
        subprocess.run([sys.executable, "-c", program], check=True)
    assert kept(tmp_path)["summary"].startswith("cut 50 %")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_to_the_shell_and_back(open_terminal) -> None:
    app = open_terminal(shell=True)
    app.press(f"PS1='shell''> '; {sys.executable} -m tui_prune nin", ENTER)
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("→  96")
    app.press(CTRL_Z)
    app.wait_for("shell> ")
    app.press("fg", ENTER)
    app.wait_for("→  96")
    app.press("u")
    app.wait_for("cut 0 %")
    app.press("q")
    app.wait_for("shell> ")
