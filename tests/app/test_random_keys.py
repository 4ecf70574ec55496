"""Keys pressed at random: no crash, the screen agrees with the plan, and the opened network stays as it was."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.app.walker import Walker, WatchedApp
from tui_prune.app import keymap
from tui_prune.app.screens.main import MainScreen
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task


class Small(nn.Module):
    """Tied layers, a block of two, a batch norm, an output: something of everything, in few numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))
        self.even = nn.Conv2d(8, 8, 1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(self.even(x).mean((2, 3)))


@pytest.fixture
def small() -> OpenedModel:
    torch.manual_seed(3)
    return open_model(model=Small().eval(), input_spec="1,3,8,8")


@pytest.fixture
def writes(tmp_path: Path) -> Iterator[list[str]]:
    """The files outside of the test's own folder that are opened to be written."""
    found: list[str] = []
    watching = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
            writing = any(letter in str(mode or "") for letter in "wax+") or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            inside = Path(path).absolute().is_relative_to(tmp_path) or path.startswith("/dev/")
            if writing and not inside and "__pycache__" not in path:
                found.append(path)

    sys.addaudithook(hear)  # it can't be taken away again
    yield found
    watching = False


def right_half_the_time(model: nn.Module) -> float:
    return 0.5


async def walk(opened: OpenedModel, seed: int, keys: int, size: tuple[int, int]) -> Walker:
    """Every key once, then many at random; what must hold is checked on the way."""
    weights = {name: value.clone() for name, value in opened.module.state_dict().items()}
    task = Task(Path("task.py"), right_half_the_time, lambda: [torch.zeros(2, 3, 8, 8)], None)
    app = WatchedApp(lambda request, progress: Session(opened, task=task, progress=progress), OpenRequest("nin"))
    async with app.run_test(size=size) as pilot:
        walker = Walker(app, pilot, seed)
        while not isinstance(app.screen, MainScreen):
            await pilot.pause(0.02)
            assert app.crash is None, app.crash
        app.watch_terminal(*size)
        await walker.press_all()
        await walker.press("tab")
        await walker.press_all()
        for _ in range(0, keys, 200):
            await walker.walk(min(keys, 200))
            await walker.check_terminal()
    if app.crash is not None:
        raise app.crash
    after = opened.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in weights.items())
    return walker


@pytest.mark.parametrize(("seed", "size"), [(1, (80, 24)), pytest.param(2, (130, 40), marks=pytest.mark.networks)])
async def test_every_key_and_then_many_at_random(small, writes, seed: int, size: tuple[int, int]) -> None:
    walker = await walk(small, seed, 100, size)
    of_main = {one.binding.id for one in keymap.known() if one.owner is MainScreen}
    assert of_main <= walker.used | {"half"}
    assert writes == []


@pytest.mark.networks
@pytest.mark.parametrize("seed", range(10, 20))
async def test_ten_thousand_random_keys(small, writes, seed: int) -> None:
    await walk(small, seed, 1000, [(80, 24), (160, 50), (100, 30)][seed % 3])
    assert writes == []
