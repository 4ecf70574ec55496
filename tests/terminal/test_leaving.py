"""Whatever ends the app, the terminal is as it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ESCAPE = "\x1b"
ALTERNATE_SCREEN_OFF, CURSOR_ON, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"


def lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def test_nothing_is_sent_at_rest_and_a_signal_leaves_a_clean_terminal(open_terminal) -> None:
    app = open_terminal("nin")
    app.wait_for("acc")
    app.read(2)
    assert app.read(5) == b""
    os.kill(app.process.pid, signal.SIGHUP)
    assert app.wait_for_end() == 128 + signal.SIGHUP
    assert ALTERNATE_SCREEN_OFF in app.bytes
    assert CURSOR_ON in app.bytes
    assert MOUSE_OFF in app.bytes or b"\x1b[?1000h" not in app.bytes


def test_quitting_waits_for_no_task_that_never_ends(open_terminal, tmp_path) -> None:
    program = (
        "import time\ndef evaluate(model):\n    print(flush=True, file=open('begun', 'a'))\n    time.sleep(10 ** 6)\n"
    )
    (tmp_path / "task.py").write_text(program)
    app = open_terminal("nin", "--task", "task.py")
    for number in range(1, 11):
        app.wait_for(lambda _, number=number: (tmp_path / "begun").is_file() and lines(tmp_path / "begun") >= number)
        app.press(ESCAPE)
        app.wait_for(lambda text: "esc stops it" not in text)
        if number < 10:
            app.press("e")
    app.press("q")
    assert app.wait_for_end() == 0
    assert ALTERNATE_SCREEN_OFF in app.bytes
    assert CURSOR_ON in app.bytes
    assert b"Traceback" not in app.bytes


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui_prune", "nin"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "terminal" in done.stderr
    assert "Traceback" not in done.stderr


NOISY = """
import os, sys, torch
from torch import nn
os.write(2, b"NOISE at import\\n")
os.system("echo NOISE of a process")
def make():
    os.write(1, b"NOISE by the number\\n" * 50)
    print("NOISE printed")
    sys.__stdout__.write("NOISE behind Python's back")
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
"""


def test_what_other_code_prints_never_draws_over_the_screen_and_sigint_from_outside_is_clean(
    open_terminal, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NOISY)
    app = open_terminal("net.py:make", "--input", "1,3,8,8", COLUMNS="999999")
    app.wait_for("MACs")
    os.kill(app.process.pid, signal.SIGINT)
    assert app.wait_for_end() == 128 + signal.SIGINT
    assert b"NOISE" not in app.bytes
    assert b"Traceback" not in app.bytes
    assert ALTERNATE_SCREEN_OFF in app.bytes
    log = (tmp_path / "xdg_state_home" / "tui-prune" / "log" / "tui-prune.log").read_text()
    assert log.count("printed: NOISE by the number") == 50
    assert "printed: NOISE of a process" in log
