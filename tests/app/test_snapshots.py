"""Pictures of the main states, for what only an eye would miss. `pytest --snapshot-update` takes them anew."""

import pytest
import textual

from tui_prune.app.app import PruneApp
from tui_prune.app.cells import text_of
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.screens.save import SaveScreen
from tui_prune.loading.request import OpenRequest
from tui_prune.session.session import Session

TAKEN_WITH = "8.2.8"
"""Another Textual may draw the same screen in other words of SVG."""

SMALL, LARGE = (80, 24), (160, 50)
CUT = ("g", "5", "0", "enter", "c", "down", "down", "enter", "o")

pytestmark = pytest.mark.skipif(textual.__version__ != TAKEN_WITH, reason=f"taken with Textual {TAKEN_WITH}")


@pytest.mark.parametrize(
    ("size", "keys"),
    [
        (SMALL, ()),
        (LARGE, ("g", "5", "0", "enter", "a", "8", "enter", "j", "j", "j", "r", "2", "5", "enter", "j", "L")),
        (SMALL, (*CUT, "j", "j", "2", "space", "space", "see kernels of 5x5")),
        (SMALL, ("g", "5", "0", "enter", "s", "see 1.04 MB")),
        (SMALL, ("comma", "j", "j")),
        (LARGE, ("g", "5", "0", "enter", "5", "see (0): Conv2d(3, 96")),
    ],
    ids="opened cut weights save recipe print".split(),
)
def test_it_looks_as_it_did(snap_compare, digits, monkeypatch, size, keys):
    monkeypatch.chdir("/")  # the dialog names the directory; nothing is written
    monkeypatch.setattr("tui_prune.app.screens.save.free_space", lambda folder: 10**11)
    app = PruneApp(lambda request, progress: Session(digits, probing=False), OpenRequest("nin"))

    async def until(pilot, condition):
        for _ in range(1000):
            if condition():
                break
            await pilot.pause(0.02)
        await pilot.pause()

    def seen():
        if isinstance(app.screen, SaveScreen):
            return app.screen.words
        if app.screen.tabs.active == "print":
            return app.screen.query_one("#print").words
        return "\n".join(text_of(line) for line in app.screen.query_one("#pictures").lines)

    async def run_before(pilot):
        await until(pilot, lambda: isinstance(app.screen, MainScreen) and app.screen.is_mounted)
        for key in keys:
            if key.startswith("see "):
                await until(pilot, lambda words=key[4:]: words in seen())
            else:
                await pilot.press(key)

    assert snap_compare(app, terminal_size=size, run_before=run_before)
