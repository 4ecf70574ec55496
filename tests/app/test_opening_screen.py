"""The first frame, and what becomes of a model that can't be opened."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tui_prune.app.app import PruneApp
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.errors import UsageError
from tui_prune.loading.request import OpenRequest


def words(app: PruneApp) -> str:
    pane = app.screen.query_one(LinePane)
    return "\n".join("".join(cell.text for cell in line).strip() for line in pane.lines)


async def until(pilot, condition):
    for _ in range(500):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("request_for", ["OpenRequest('nin')", "OpenRequest()"], ids=["named", "start screen"])
def test_the_first_frame_comes_before_torch(request_for):
    program = (
        "import asyncio, sys\n"
        "from tui_prune.app.app import PruneApp\n"
        "from tui_prune.loading.request import OpenRequest\n"
        "def open_session(request, progress):\n"
        "    seen.append('torch' in sys.modules)\n"
        "    raise SystemExit\n"
        "async def look():\n"
        "    async with PruneApp(open_session, REQUEST).run_test() as pilot:\n"
        "        await pilot.pause(0.2)\n"
        "seen = []\n"
        "import contextlib\n"
        "with contextlib.suppress(BaseException):\n"
        "    asyncio.run(look())\n"
        "print(seen, {'torch', 'plotext', 'numpy'} & set(sys.modules))\n"
    )
    program = program.replace("REQUEST", request_for)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[False] set()", done.stdout + done.stderr


def test_keys_of_ones_own_bring_no_torch_before_the_first_frame():
    program = (
        "import sys\n"
        "from tui_prune.app.app import PruneApp\n"
        "from tui_prune.config import Config\n"
        "from tui_prune.loading.request import OpenRequest\n"
        "app = PruneApp(lambda request, progress: None, OpenRequest('nin'), Config(keys={'save': 'f9'}))\n"
        "print([app.wrong_settings()], 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[''] False", done.stdout + done.stderr


async def test_it_says_what_is_opened_and_how_far_that_is():
    go_on = threading.Event()

    def open_session(request, progress):
        progress("trace", 0.5)
        go_on.wait(10)
        raise UsageError("No.")

    app = PruneApp(open_session, OpenRequest("resnet50"))
    async with app.run_test(size=(80, 24)) as pilot:
        assert "opening resnet50…" in words(app)
        await until(pilot, lambda: "trace" in words(app))
        assert "━━━━━━━━━━━━╌" in words(app)
        go_on.set()
        await until(pilot, lambda: "can't be opened" in words(app))


async def test_a_mistake_of_the_users_is_a_sentence_and_what_to_do():
    def open_session(request, progress):
        raise UsageError("There is no model 'resnet51'.")

    app = PruneApp(open_session, OpenRequest("resnet51"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no model 'resnet51'" in words(app))
        assert "tui-prune --help" in words(app)
        assert "Traceback" not in words(app)
        await pilot.resize_terminal(60, 20)
        assert "no model 'resnet51'" in words(app)
        await pilot.press("q")
    assert app.return_code == 2


async def test_a_fault_of_ours_leaves_a_report(tmp_path):
    def open_session(request, progress):
        raise ZeroDivisionError("by nought")

    app = PruneApp(open_session, OpenRequest("nin"))
    async with app.run_test(size=(100, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, OpeningScreen) and app.screen.failure)
        assert "fault of tui-prune" in app.screen.failure
        reports = list(tmp_path.rglob("crash-*.log"))
        assert len(reports) == 1
        assert str(reports[0]) in app.screen.failure
        assert "ZeroDivisionError: by nought" in reports[0].read_text()
        await pilot.press("q")
    assert app.return_code == 1


async def test_a_crash_ends_the_app_and_is_kept_for_the_report(start):
    app = None
    try:
        async with start() as desk:
            app = desk.app
            app.call_later(lambda: [][0])
            await desk.pilot.pause()
    except IndexError:
        pass
    assert isinstance(app.crash, IndexError)
    assert app.return_code == 1


async def test_notes_of_the_opening_are_said_and_kept(start, resnet):
    async with start(opened=resnet) as desk:
        assert "weights are random" in desk.status
        await desk.press("plus")
        assert "random" not in desk.status
        await desk.press("3")
        assert "weights are random" in desk.pane("channels")


async def test_the_main_screen_lies_over_the_opening(start):
    async with start() as desk:
        assert isinstance(desk.app.screen, MainScreen)
        assert desk.app.return_code is None


def test_the_name_of_what_is_opened():
    assert OpenRequest().name == "nin"
    assert OpenRequest(weights="runs/7/best.pt").name == "best.pt"
    assert OpenRequest("resnet50").name == "resnet50"
    assert OpenRequest(str(Path("nets") / "mine.py:make")).name == "mine.py:make"
