"""Take the pictures in screenshots/ from the running app, on the bundled network and on resnet50:
`python tests/screenshots.py`."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from tui_prune.app.cells import text_of
from tui_prune.app.widgets.line_pane import LinePane

if TYPE_CHECKING:
    from tui_prune.app.app import PruneApp
    from tui_prune.loading.request import OpenRequest

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZE, WIDE = (120, 36), (160, 44)
PATIENCE = 600.0
RECIPE = ("c", "down", "down", "enter", "o", "g", "5", "0", "enter", "a", "8", "enter")
"""Batch norm scales, all channels ranked together, half of them, in multiples of 8."""


async def main() -> None:
    """Take all pictures."""
    draw_surface()
    await on_the_digits()
    await on_resnet()


async def on_the_digits() -> None:
    """Choose the bundled network, cut half of it, look at it from all sides, recover it, save it."""
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.app.screens.save import SaveScreen
    from tui_prune.loading.request import OpenRequest

    app = app_on(OpenRequest())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: any(isinstance(screen, MainScreen) for screen in app.screen_stack))
        screen = next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))
        await until(pilot, lambda: screen.work.job is None)
        take(app, "start.svg")
        await pilot.press("escape")
        await pilot.press(*RECIPE, "e")
        await until(pilot, lambda: screen.work.job is None)
        await pilot.press(*["j"] * 5)
        await pilot.pause(0.5)
        take(app, "main.svg")
        await pilot.press("2")
        await until(pilot, lambda: screen.query_one("#pictures").lines)
        await pilot.pause(0.5)
        take(app, "histogram.svg")
        await pilot.press("tab", "space")
        await until(pilot, lambda: "grey goes" in drawn(screen))
        take(app, "weights.svg")
        await pilot.press("tab", "comma")
        await pilot.pause(0.5)
        take(app, "recipe.svg")
        await pilot.press("escape", "1", "P", "a", "enter", "escape", "g", "3", "0", "enter", "P", "a", "enter", "e")
        await until(pilot, lambda: screen.work.job is None)
        await pilot.pause(0.5)
        take(app, "plans.svg")
        await pilot.press("escape", "n")
        await until(pilot, lambda: screen.work.job is None)
        await pilot.pause(0.5)
        take(app, "sensitivity.svg")
        await pilot.press("g", *"70", "enter", "R", "down", "down", "enter")
        await until(pilot, lambda: screen.work.job is None)
        await pilot.pause(0.5)
        take(app, "recovery.svg")
        await pilot.press("7")
        await pilot.pause(0.5)
        take(app, "trade-off.svg")
        await pilot.press("1", "s")
        dialog = app.screen
        assert isinstance(dialog, SaveScreen)
        await pilot.press("enter")
        await until(pilot, lambda: dialog.state == "done")
        take(app, "save.svg")
    if app.crash is not None:
        raise app.crash


async def on_resnet() -> None:
    """A larger network: its tree with repeated blocks in one row, and both networks as PyTorch prints them."""
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.app.widgets.print_pane import PrintPane
    from tui_prune.loading.request import OpenRequest

    app = app_on(OpenRequest("resnet50"))
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen) and app.screen.is_mounted)
        await pilot.press("j", "L", "t", "enter", "a", *"16", "enter", *["j"] * 5)
        await pilot.pause(0.5)
        take(app, "tree.svg")
        await pilot.press("5")
        await until(pilot, lambda: "Bottleneck" in app.screen.query_one("#print", PrintPane).words)
        take(app, "print.svg")
        await pilot.press("escape", "H")
        await pilot.pause(0.5)
        take(app, "history.svg")
    if app.crash is not None:
        raise app.crash


def app_on(request: "OpenRequest") -> "PruneApp":
    """The app, on a network with the task that is bundled with it."""
    from tui_prune.app.app import PruneApp
    from tui_prune.loading.sources.bundled import bundled_task
    from tui_prune.session.session import Session

    return PruneApp(
        lambda wanted, progress: Session.open(wanted.spec, task=bundled_task(wanted.spec), progress=progress), request
    )


def draw_surface() -> None:
    """The picture that the README has of `tui-prune plot`."""
    from typer.testing import CliRunner

    from tui_prune.cli.main import app

    words = ["plot", "nin", "--layer", "tnn_bin.0", "--kind", "surface", "--ratio", "0.5", "--force"]
    done = CliRunner().invoke(app, [*words, "--height", "520", "-o", str(FOLDER / "surface.svg")])
    assert done.exit_code == 0, done.output
    print(FOLDER / "surface.svg")


def drawn(screen: Screen[None]) -> str:
    """What the histogram tab says."""
    return "\n".join(text_of(line) for line in screen.query_one("#pictures", LinePane).lines)


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
