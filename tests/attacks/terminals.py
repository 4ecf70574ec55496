"""Odd words on the command line, odd terminals, and signals to the app."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from tests.attacks.trying import Try, attack
from tui_prune import config
from tui_prune.cli.main import app

NET = """
from torch import nn
def make():
    net = nn.Sequential()
    for name, part in (("\\x1b[2J", nn.Conv2d(3, 8, 3)), ("x" * 3000, nn.ReLU()), ("last", nn.Conv2d(8, 4, 1))):
        net._modules[name] = part
    return net
def evaluate(model):
    print("\\x1b[2J")
    return 0.5
"""
COMMANDS = (
    "inspect",
    "prune",
    "verify",
    "plot",
    "bench",
    "sensitivity",
    "config",
    "export",
    "report",
    "sweep",
    "nothing",
)
WORDS = (
    "net.py:make", "nin", "out.pt", "empty.pt", "pipe", "/dev/null", "/dev/zero", "nix", "", "\x1b[2J", "x" * 4000,
    "--json", "--force", "--ratio", "0.5", "1", "nan", "-1", "1e400", "--input", "1,3,8,8", "9,9,9,9,9,9", "--layer",
    "last", "*=0.5", "\x1b[2J=0.5", "--recipe", "half.toml", "nix.toml", "--device", "meta", "cpu", "-o", "out.pt",
    "new.pt", "x.svg", "folder", "--task", "net.py", "--kind", "hist", "costs", "heat", "--width", "9999",
    "--height", "1", "10000000000", "--align", "8", "auto", "--criterion", "l1", "random", "--lock",
    "--target-bytes", "5MB", "9" * 400, "--scope", "global", "--help", "--format", "onnx", "pt2", "--seed",
    "--threshold", "inf", "--zoom", "--log", "--example",
)  # fmt: skip


@attack("odd command lines", "an exit status, and nothing on the terminal that steers it", 400)
def command_lines(rng: random.Random, folder: Path) -> Iterator[Try]:
    (folder / "net.py").write_text(NET)
    (folder / "half.toml").write_text("ratio = 0.5\n")
    (folder / "empty.pt").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    CliRunner().invoke(app, "prune net.py:make --input 1,3,8,8 --ratio 0.5 -o out.pt".split())
    starts = (
        ("inspect", "net.py:make", "--input", "1,3,8,8"),
        ("prune", "net.py:make", "--input", "1,3,8,8", "-o", "new.pt", "--force"),
        ("verify", "out.pt"),
        ("plot", "net.py:make", "--input", "1,3,8,8", "--layer", "last"),
        ("config",),
    )
    logs = config.folders()["log"]
    while True:
        first: tuple[str, ...] = rng.choice(starts) if rng.random() < 0.7 else (rng.choice(COMMANDS),)
        words = [*first, *(rng.choice(WORDS) for _ in range(rng.randrange(4)))]

        def action(words: list[str] = words) -> None:
            done = CliRunner().invoke(app, words, prog_name="tui-prune")
            assert done.exit_code in (0, 1, 2), done.exit_code
            assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
            printed = done.stdout + done.stderr
            assert not list(logs.glob("crash-*")), next(logs.glob("crash-*")).read_text()[-300:]
            for steering in ("\x1b[2J", "\x07", "\x9b", "\u202e"):
                assert steering not in printed, printed[:200]
            assert max(map(len, printed.splitlines()), default=0) <= 20_000

        yield f"{' '.join(words)[:120]!r}", action


NAMES = ("xterm-256color", "xterm", "dumb", "", "linux", "screen", "vt100", "no-such-terminal", "x" * 1000, "\x1b[2J")
NUMBERS = ("", "0", "1", "2", "7", "80", "300", "5000", "99999999999", "-5", "x", "9" * 500, "1e9", "٣")


@attack("odd terminals", "a drawing, or a sentence", 200)
def terminals(rng: random.Random, folder: Path) -> Iterator[Try]:
    (folder / "net.py").write_text(NET)
    names = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "FORCE_COLOR", "LC_ALL", "TERM_PROGRAM")
    while True:
        values = {
            "TERM": rng.choice(NAMES),
            "COLUMNS": rng.choice(NUMBERS),
            "LINES": rng.choice(NUMBERS),
            "NO_COLOR": rng.choice(("", "1")),
            "COLORTERM": rng.choice(("", "truecolor", "x")),
            "FORCE_COLOR": rng.choice(("", "1", "x")),
            "LC_ALL": rng.choice(("", "C", "de_DE", "x")),
        }
        kind = rng.choice(("hist", "heat", "surface", "scores", "costs"))

        def action(values: dict[str, str] = values, kind: str = kind) -> None:
            kept = {name: os.environ.get(name) for name in names}
            os.environ.update(values)
            try:
                words = ["plot", "net.py:make", "--input", "1,3,8,8", "--layer", "last", "--kind", kind]
                done = CliRunner().invoke(app, words)
            finally:
                for name, value in kept.items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value
            assert done.exit_code in (0, 1, 2), done.exit_code
            assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
            assert len(done.stdout) < 5_000_000

        yield f"{kind} {values}", action


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attack("signals to the app", "the status that a shell expects, and the terminal as it was", 12)
def signals(rng: random.Random, folder: Path) -> Iterator[Try]:
    import pexpect

    (folder / "net.py").write_text(NET)
    while True:
        number, wait = rng.choice(SIGNALS), rng.random()

        def action(number: signal.Signals = number, wait: float = wait) -> None:
            command = ["-m", "tui_prune", "net.py:make", "--input", "1,3,8,8"]
            environment = {**os.environ, "TERM": "xterm-256color"}
            app = pexpect.spawn(sys.executable, command, env=environment, dimensions=(24, 80), timeout=15)
            app.expect_exact("\x1b[?1049h")
            time.sleep(wait)
            os.kill(app.pid, number)
            app.expect(pexpect.EOF)
            app.wait()
            assert app.exitstatus == 128 + number, (app.exitstatus, app.signalstatus)
            assert b"\x1b[?1049l" in app.before
            assert b"Traceback" not in app.before

        yield f"{number.name} after {wait:.1f} s", action
