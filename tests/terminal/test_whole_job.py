"""From a trained network to a pruned checkpoint, by keys in a terminal."""

import subprocess
import sys
from pathlib import Path

ENTER, ESCAPE, CTRL_Q = "\r", "\x1b", "\x11"


def test_open_choose_save_and_load(open_terminal, tmp_path: Path) -> None:
    app = open_terminal("nin")
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("unsaved")
    app.press("q")
    asked = app.wait_for("isn't saved")
    assert app.process.isalive(), asked
    app.press(ESCAPE)
    app.wait_for("→  96")
    app.press("a", "8", ENTER)
    app.wait_for("align 8")
    app.press("s")
    app.wait_for("enter saves")
    app.press(ENTER)
    app.wait_for("Saved")
    app.press(ESCAPE, "q")
    assert app.wait_for_end() == 0

    saved = tmp_path / "nin-pruned.pt"
    program = (
        "import torch, tui_prune\n"
        f"model = tui_prune.load({str(saved)!r})\n"
        "print(sum(p.numel() for p in model.parameters()), tuple(model(torch.zeros(2, 3, 32, 32)).shape))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["247614", "(2,", "10)"]


def test_an_unknown_name_is_explained_on_the_screen(open_terminal) -> None:
    app = open_terminal("resnet51")
    app.wait_for("resnet50")
    app.press("q")
    assert app.wait_for_end() in (0, 1, 2)


def test_without_colour_no_colour_is_sent(open_terminal) -> None:
    app = open_terminal("nin", NO_COLOR="1")
    app.wait_for("tnn_bin")
    app.press("g", "5", "0", ENTER)
    app.wait_for("→  96")
    assert b"38;2;" not in app.bytes
    assert b"38;5;" not in app.bytes
    app.press(CTRL_Q)
