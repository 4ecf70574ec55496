"""Whatever ends the app, the terminal is as it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ESCAPE = "\x1b"
ALTERNATE_SCREEN_OFF, CURSOR_ON, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"


def lines(file: Path) -> int:
    return len(file.read_text().splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_a_clean_terminal(open_terminal, number: signal.Signals) -> None:
    app = open_terminal("nin")
    app.wait_for("tnn_bin")
    os.kill(app.process.pid, number)
    assert app.wait_for_end() == 128 + number
    assert ALTERNATE_SCREEN_OFF in app.bytes
    assert CURSOR_ON in app.bytes
    assert MOUSE_OFF in app.bytes or b"\x1b[?1000h" not in app.bytes


def test_nothing_is_sent_at_rest(open_terminal) -> None:
    app = open_terminal("nin")
    app.wait_for("acc")
    app.read(2)
    assert app.read(5) == b""


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
