"""Take the pictures in screenshots/ from the running app on the bundled network: `python tests/screenshots.py`."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from tui_prune.app.cells import text_of
from tui_prune.app.widgets.line_pane import LinePane

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZE = (120, 36)
PATIENCE = 120.0
RECIPE = ("c", "down", "enter", "o", "g", "5", "0", "enter", "a", "8", "enter")
"""Batch norm scales, all channels ranked together, half of them, in multiples of 8."""


async def main() -> None:
    """Open the network, cut half of it, and look at it from three sides."""
    from tui_prune.app.app import PruneApp
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.app.screens.save import SaveScreen
    from tui_prune.opening.bundled_networks import bundled_task
    from tui_prune.request import OpenRequest
    from tui_prune.session import Session

    draw_surface()
    app = PruneApp(
        lambda request, progress: Session.open(task=bundled_task(None), progress=progress), OpenRequest("nin")
    )
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen) and app.screen.is_mounted)
        screen = app.screen
        assert isinstance(screen, MainScreen)
        await until(pilot, lambda: screen.work.job is None)
        await pilot.press(*RECIPE, "e")
        await until(pilot, lambda: screen.work.job is None)
        await pilot.press(*["j"] * 5)
        await pilot.pause(0.5)
        take(app, "main.svg")
        await pilot.press("2")
        await until(pilot, lambda: screen.query_one("#histogram").lines)
        await pilot.pause(0.5)
        take(app, "histogram.svg")
        await pilot.press("tab", "space")
        await until(pilot, lambda: "grey goes" in drawn(screen))
        take(app, "weights.svg")
        await pilot.press("tab")
        await pilot.press("1", "s")
        dialog = app.screen
        assert isinstance(dialog, SaveScreen)
        await pilot.press("enter")
        await until(pilot, lambda: dialog.state == "done")
        take(app, "save.svg")
    if app.crash is not None:
        raise app.crash


def draw_surface() -> None:
    """The picture that the README has of `tui-prune plot`."""
    from typer.testing import CliRunner

    from tui_prune.cli import app

    words = ["plot", "nin", "--layer", "tnn_bin.0", "--kind", "surface", "--ratio", "0.5", "--force"]
    done = CliRunner().invoke(app, [*words, "--height", "520", "-o", str(FOLDER / "surface.svg")])
    assert done.exit_code == 0, done.output
    print(FOLDER / "surface.svg")


def drawn(screen: Screen[None]) -> str:
    """What the histogram tab says."""
    return "\n".join(text_of(line) for line in screen.query_one("#histogram", LinePane).lines)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    waited = 0.0
    while not condition():
        await pilot.pause(0.05)
        waited += 0.05
        if waited > PATIENCE:
            raise TimeoutError
    await pilot.pause()


def take(app: App[None], name: str) -> None:
    """Write a picture of the screen as it is."""
    app.save_screenshot(name, str(FOLDER))
    print(FOLDER / name)


if __name__ == "__main__":
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    os.environ.pop("NO_COLOR", None)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, **{f"XDG_{kind}_HOME": f"{home}/{kind}" for kind in ("CONFIG", "CACHE", "STATE")})
        os.chdir(home)
        asyncio.run(main())
