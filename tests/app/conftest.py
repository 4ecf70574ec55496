"""The app on a real session, away from the developer's own settings and without anything that moves."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from textual.pilot import Pilot
from textual.widgets import Input

from tui_prune.app.app import PruneApp
from tui_prune.app.cells import text_of
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.widgets.layer_tree import LayerTree
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.structure_table import StructureTable
from tui_prune.config import Config
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.progress import Progress
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task

PATIENCE = 60.0
"""Seconds to wait for something that should happen at once: on a busy machine it may take long, and a fault lasts."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kind in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(Input.cursor_blink, "_default", False)
    monkeypatch.setattr("tui_prune.app.screens.long_work.PATIENCE", 60.0)  # a busy machine may take long to stop
    monkeypatch.setattr("tui_prune.app.screens.live_worth.REST", 600.0)  # tests look at what keys do by themselves
    monkeypatch.setattr("tui_prune.app.screens.live_worth.REST", 3600.0)  # tests of live accuracy turn it on
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)


@pytest.fixture(scope="session")
def digits() -> OpenedModel:
    """The bundled, trained network: nine convolutions in a row."""
    torch.set_num_threads(1)
    return open_model("nin")


@pytest.fixture(scope="session")
def resnet() -> OpenedModel:
    """A network with layers that are tied to each other."""
    torch.set_num_threads(1)
    return open_model("resnet18", input_spec="1,3,64,64")


class SlowSession(Session):
    """A session whose work waits until it is told to go on, so that a test can look at it or stop it."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.go_on = threading.Event()

    def work(self, *deliver: Any) -> Any:
        work = super().work(*deliver)
        cut_at_once = work.cut

        def cut(progress: Progress = lambda stage, done: None) -> Any:
            while not self.go_on.wait(0.02):
                progress("cut", 0.25)
            return cut_at_once(progress)

        work.cut = cut
        return work


class Desk:
    """The app under test, with words for what a user sees in it."""

    def __init__(self, app: PruneApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> MainScreen:
        return next(screen for screen in self.app.screen_stack if isinstance(screen, MainScreen))

    @property
    def session(self) -> Any:
        return self.screen.session

    @property
    def tree(self) -> LayerTree:
        return self.screen.query_one("#tree", LayerTree)

    @property
    def table(self) -> StructureTable:
        return self.screen.query_one("#structure", StructureTable)

    @property
    def title(self) -> str:
        return text_of(self.screen.query_one("#title", OneLine).line)

    @property
    def status(self) -> str:
        return text_of(self.screen.query_one("#status", OneLine).line)

    @property
    def keys(self) -> str:
        return text_of(self.screen.query_one("#keys", OneLine).line)

    @property
    def question(self) -> str:
        """What is asked in the last lines; nothing while nothing is."""
        prompt = self.screen.prompt
        return text_of(prompt.query_one("#prompt-label", OneLine).line) if prompt.display else ""

    @property
    def effect(self) -> str:
        return self.screen.prompt.effect

    def row(self, path: str) -> str:
        """What the tree says of a module."""
        place = next(index for index, row in enumerate(self.tree.rows) if row.node.path == path)
        return " ".join(text_of(self.tree.row_cells(place, 76)).split())

    def table_row(self, layer: str) -> str:
        place = next(index for index, row in enumerate(self.table.rows) if row.node.path == layer)
        return " ".join(text_of(self.table.row_cells(place, 90)).split())

    def pane(self, name: str) -> str:
        return "\n".join(text_of(line) for line in self.screen.query_one(f"#{name}", LinePane).lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type something in place of what a field holds."""
        field = self.app.focused
        assert isinstance(field, Input)
        field.value = ""
        field.insert_text_at_cursor(text)
        await self.pilot.pause()

    async def go_to(self, path: str) -> None:
        """Move the cursor of the tree to a module by keys."""
        place = next(index for index, row in enumerate(self.tree.rows) if row.node.path == path)
        await self.press("home", *["j"] * place)

    async def to_table(self) -> None:
        """Send the keys to the table of the Structure tab."""
        await self.press("8")
        if not self.screen.in_details:
            await self.press("tab")

    async def until(self, condition: Callable[[], Any], what: str = "it", patience: float = PATIENCE) -> None:
        """Wait until something holds."""
        waited = 0.0
        while not condition():
            await self.pilot.pause(0.02)
            waited += 0.02
            assert waited < patience, (
                f"waited in vain for {what}; {getattr(self.app.screen, 'failure', None) or self.app.crash}"
            )
        await self.pilot.pause()


Start = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def start(digits: OpenedModel) -> Start:
    """`async with start() as desk`: the app on the digits network, or on what is given."""

    @asynccontextmanager
    async def started(
        size: tuple[int, int] = (120, 36),
        *,
        opened: OpenedModel | None = None,
        kind: type[Session] = Session,
        task: Task | None = None,
        config: Config | None = None,
    ) -> AsyncIterator[Desk]:
        def open_session(request: OpenRequest, progress: Progress) -> Session:
            return kind(opened or digits, task=task, probing=False, progress=progress)

        app = PruneApp(open_session, OpenRequest("nin"), config)
        async with app.run_test(size=size) as pilot:
            desk = Desk(app, pilot)
            # What was kept of earlier work may be offered over it.
            await desk.until(
                lambda: any(isinstance(screen, MainScreen) and screen.is_mounted for screen in app.screen_stack),
                "the main screen",
            )
            await pilot.pause()
            yield desk
        if app.crash is not None:
            raise app.crash

    return started


@pytest.fixture
def slow() -> type[Session]:
    return SlowSession


@pytest.fixture
def half_right() -> Task:
    """A task by which every network is right half the time."""
    return Task(Path("task.py"), lambda model: 0.5, None, None)
