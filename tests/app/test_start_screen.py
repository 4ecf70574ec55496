"""Without a name: the bundled network at once, and over it a list of what else can be opened."""

import gc
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs
import pytest
import torch
from textual.command import CommandPalette
from textual.widgets import Input
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

from tests.app.conftest import Desk
from tui_prune.app import garbage
from tui_prune.app.app import PruneApp
from tui_prune.app.cells import text_of
from tui_prune.app.entries import Folder
from tui_prune.app.screens.dialog import OpenDialog
from tui_prune.app.screens.help import HelpScreen
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.screens.others import OthersDialog
from tui_prune.app.screens.save import SaveScreen
from tui_prune.app.screens.start import StartScreen
from tui_prune.app.widgets.entry_list import EntryList
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.errors import Remedy, TuiPruneError, UsageError
from tui_prune.loading import known_names
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.progress import Progress
from tui_prune.session.session import Session

NETS = '''
from torch import nn

def make():
    """A small one."""
    return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))

def with_width(width):
    raise SystemExit("this file isn't to be run")

class Net(nn.Sequential):
    pass
'''


class Start:
    """The app without a name, what it was asked to open, and words for what a user sees."""

    def __init__(self, digits: OpenedModel) -> None:
        self.digits = digits
        self.asked: list[OpenRequest] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.failures: dict[str | None, Exception] = {}
        self.real = False

    def open_session(self, request: OpenRequest, progress: Progress) -> Session:
        self.asked.append(request)
        while not self.go_on.wait(0.02):
            progress("trace", 0.5)
        if request.spec in self.failures and request.input_spec is None:
            raise self.failures[request.spec]
        if self.real and request.spec is not None:
            opened = open_model(request.spec, weights=request.weights, input_spec=request.input_spec)
            return Session(opened, probing=False, progress=progress)
        return Session(self.digits, probing=False, progress=progress)

    @asynccontextmanager
    async def run(self, request: OpenRequest | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Desk]:
        app = PruneApp(self.open_session, request or OpenRequest())
        async with app.run_test(size=size) as pilot:
            yield Desk(app, pilot)
        if app.crash is not None:
            raise app.crash


def main_is_there(desk: Desk) -> Callable[[], bool]:
    return lambda: any(isinstance(screen, MainScreen) for screen in desk.app.screen_stack)


def on(desk: Desk, kind: type) -> Callable[[], bool]:
    return lambda: isinstance(desk.app.screen, kind)


def rows(desk: Desk) -> list[str]:
    """What the list says, row by row."""
    entries = desk.app.screen.query_one(EntryList)
    return [" ".join(text_of(entries.row_cells(index, 72)).split()) for index in range(entries.row_count())]


def under_cursor(desk: Desk) -> str:
    entries = desk.app.screen.query_one(EntryList)
    return entries.entries[entries.cursor].name


def words(desk: Desk) -> str:
    return " ".join(text_of(line).strip() for line in desk.app.screen.query_one(LinePane).lines)


@pytest.fixture
def begin(digits: OpenedModel) -> Start:
    return Start(digits)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_names, "find_names", lambda: ("resnet50", "wide_resnet50_2", "timm:resnet50"))
    monkeypatch.setattr("tui_prune.app.screens.start.find_names", known_names.find_names)


def keep(name: str, work: dict[str, object]) -> None:
    folder = platformdirs.user_state_path("tui-prune", appauthor=False) / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(work))


# The first frame, and keys that are pressed right away


async def test_the_list_lies_over_the_screen_that_comes_and_leaves_its_outer_lines_in_sight(begin):
    begin.go_on.clear()
    async with begin.run() as desk:
        assert isinstance(desk.app.screen, StartScreen)
        assert under_cursor(desk) == "nin"
        begin.go_on.set()
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        box = desk.app.screen.query_one("#start").region
        assert (box.y >= 1, box.bottom <= 22, box.height <= 20) == (True, True, True)
        assert begin.asked == [OpenRequest()]
        await desk.press("escape")
        assert isinstance(desk.app.screen, MainScreen)
        assert desk.title.startswith("nin")


@pytest.mark.parametrize(("size", "columns"), [((160, 50), 120), ((100, 30), 96), ((80, 24), 76), ((40, 12), 36)])
async def test_the_list_is_as_wide_as_the_window_allows(begin, size, columns):
    async with begin.run(size=size) as desk:
        assert desk.app.screen.query_one("#start").outer_size.width == columns


async def test_where_one_is_stays_when_the_main_screen_comes(begin):
    begin.go_on.clear()
    async with begin.run() as desk:
        await desk.press("down", "slash", "r", "e", "s")
        begin.go_on.set()
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        assert desk.app.screen.query_one(Input).value == "res"
        await desk.press("n")
        assert desk.app.screen.query_one(Input).value == "resn"


async def test_keys_of_the_main_screen_go_to_it_once_it_is_there(begin):
    begin.go_on.clear()
    async with begin.run() as desk:
        await desk.press("g", "5", "0", "enter", "a", "8", "enter")
        assert isinstance(desk.app.screen, OpeningScreen)
        begin.go_on.set()
        await desk.until(lambda: main_is_there(desk)() and desk.session.recipe.align == 8)
        assert desk.session.recipe.ratio == 0.5
        assert "● unsaved" in desk.title
        assert isinstance(desk.app.screen, MainScreen)


@pytest.mark.parametrize(
    ("key", "leads"),
    [
        ("s", lambda desk: isinstance(desk.app.screen, SaveScreen)),
        ("question_mark", lambda desk: isinstance(desk.app.screen, HelpScreen)),
        ("t", lambda desk: desk.screen.prompt.question is not None),
        ("2", lambda desk: desk.screen.tabs.active == "pictures"),
        ("tab", lambda desk: desk.screen.in_details),
        ("ctrl+p", lambda desk: isinstance(desk.app.screen, CommandPalette)),
    ],
)
async def test_a_key_that_the_list_does_not_know_closes_it_and_acts(begin, key, leads):
    async with begin.run() as desk:
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        await desk.press(key)
        await desk.until(lambda: leads(desk))


async def test_after_esc_keys_wait_for_the_main_screen(begin):
    begin.go_on.clear()
    async with begin.run() as desk:
        await desk.press("escape", "escape", "plus")
        begin.go_on.set()
        await desk.until(lambda: main_is_there(desk)() and desk.session.recipe.ratio == 0.05)


async def test_a_key_of_nobody_does_nothing(begin):
    async with begin.run() as desk:
        await desk.press("f7", "X")
        assert isinstance(desk.app.screen, StartScreen)


async def test_what_is_typed_before_a_named_network_is_there_is_kept_too(begin):
    begin.go_on.clear()
    async with begin.run(OpenRequest("nin")) as desk:
        assert isinstance(desk.app.screen, OpeningScreen)
        await desk.press("g", "2", "5", "enter")
        begin.go_on.set()
        await desk.until(lambda: main_is_there(desk)() and desk.session.recipe.ratio == 0.25)


async def test_q_leaves_at_once(begin):
    begin.go_on.clear()
    async with begin.run() as desk:
        await desk.press("q")
        assert desk.app.return_code == 0
        begin.go_on.set()


# What can be chosen


async def test_recent_networks_come_first_with_what_was_chosen_and_when(begin):
    work = {"version": 1, "files": {}, "state": {}, "title": "resnet50", "summary": "cut 50 %, align 8"}
    keep("a", {**work, "request": {"spec": "resnet50"}, "changed": time.time() - 3 * 3600})
    keep("b", {**work, "title": "best.pt", "request": {"spec": "/runs/best.pt"}, "changed": time.time() - 30})
    keep("broken", {"request": 3})
    async with begin.run() as desk:
        shown = rows(desk)
        assert shown[:3] == [
            "Recent",
            "best.pt cut 50 %, align 8 just now",
            "resnet50 cut 50 %, align 8 3 hours ago",
        ]
        assert "nin the network of the digits, trained 970k" in shown
        assert under_cursor(desk) == "best.pt"
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        await desk.press("j", "enter")
        await desk.until(lambda: len(begin.asked) == 2)
        assert begin.asked[1] == OpenRequest("resnet50")


async def test_recent_networks_of_one_title_are_told_apart_by_their_files(begin):
    work = {"version": 1, "files": {}, "state": {}, "title": "nin", "summary": "cut 50 %"}
    keep("a", {**work, "request": {"spec": "nin"}, "changed": time.time() - 30})
    keep("b", {**work, "request": {"spec": "/runs/nin-pruned.pt"}, "changed": time.time() - 31})
    async with begin.run() as desk:
        assert [row.partition(" cut")[0] for row in rows(desk)[1:3]] == ["nin", "nin · nin-pruned.pt"]
    keep("c", {**work, "request": {"spec": "nin", "weights": "/old/nin-pruned.pt"}, "changed": time.time() - 32})
    async with begin.run() as desk:
        shown = {row.partition(" cut")[0] for row in rows(desk)[1:4]}
        assert shown == {"nin", "nin · runs/nin-pruned.pt", "nin · old/nin-pruned.pt"}


async def test_the_cursor_passes_over_headings(begin):
    async with begin.run() as desk:
        assert under_cursor(desk) == "nin"
        await desk.press("k")
        assert under_cursor(desk) == "a name…"
        await desk.press("k", "k", "k")
        assert under_cursor(desk) == "a file…"
        await desk.press("G")
        assert under_cursor(desk) == "darknet53"


async def test_enter_on_the_network_that_is_open_only_closes_the_list(begin):
    async with begin.run() as desk:
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        await desk.press("enter")
        assert isinstance(desk.app.screen, MainScreen)
        assert len(begin.asked) == 1


async def test_typing_filters_the_names_of_torchvision_and_timm(begin):
    async with begin.run() as desk:
        await desk.press("slash", *"resnet50")
        await desk.until(lambda: "timm:resnet50 timm" in rows(desk))
        assert [row.split()[0] for row in rows(desk)] == [
            "resnet50",
            "timm:resnet50",
            "se_resnet50",
            "wide_resnet50_2",
        ]
        await desk.press("down", "enter")
        await desk.until(lambda: OpenRequest("timm:resnet50") in begin.asked)


async def test_a_name_that_is_not_listed_can_be_tried(begin):
    begin.failures["resnet51"] = UsageError("There is no model 'resnet51'.")
    async with begin.run() as desk:
        await desk.press("slash", *"resnet51", "enter")
        await desk.until(lambda: isinstance(desk.app.screen, OpeningScreen) and desk.app.screen.failure)
        assert "no model 'resnet51'" in words(desk)


async def test_esc_leaves_the_field_and_then_the_list(begin):
    async with begin.run() as desk:
        await desk.until(main_is_there(desk))
        await desk.until(on(desk, StartScreen))
        await desk.press("slash", "x", "escape")
        assert isinstance(desk.app.screen, StartScreen)
        assert under_cursor(desk) == "nin"
        await desk.press("escape")
        assert isinstance(desk.app.screen, MainScreen)


# Files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    (here / "runs" / "old").mkdir(parents=True)
    for name in ("Best.pt", "last.safetensors", ".secret.pth", "notes.txt"):
        (here / "runs" / name).write_bytes(b"x" * 1500)
    (here / "nets.py").write_text(NETS)
    return here


async def browse(desk: Desk) -> None:
    await desk.press("home", "enter")
    await desk.until(lambda: isinstance(desk.app.screen.page, Folder) and desk.app.screen.rows.row_count() > 1)


async def test_directories_come_first_then_what_can_be_opened_with_size_and_date(begin, files):
    async with begin.run() as desk:
        await browse(desk)
        assert [row.split()[0] for row in rows(desk)] == ["../", "runs/", "nets.py"]
        assert under_cursor(desk) == "runs/"
        await desk.press("enter")
        await desk.until(lambda: "old/" in rows(desk))
        shown = rows(desk)
        assert [row.split()[0] for row in shown] == ["../", "old/", "Best.pt", "last.safetensors"]
        assert shown[2].startswith("Best.pt 1.50 kB ")
        await desk.press("full_stop")
        await desk.until(lambda: any(row.startswith(".secret.pth") for row in rows(desk)))
        await desk.press("full_stop", "backspace")
        await desk.until(lambda: "runs/" in rows(desk))
        assert under_cursor(desk) == "runs/"
        await desk.press("escape")
        assert "Bundled" in " ".join(rows(desk))


async def test_a_file_is_opened(begin, files):
    async with begin.run() as desk:
        await browse(desk)
        await desk.press("enter")
        await desk.until(lambda: "old/" in rows(desk))
        await desk.press("down", "enter")
        await desk.until(lambda: OpenRequest(str(files / "runs" / "Best.pt")) in begin.asked)


async def test_a_path_is_typed_with_completion(begin, files):
    async with begin.run() as desk:
        await desk.press("slash", *"ru")
        await desk.type("./ru")
        await desk.until(lambda: rows(desk) == ["./runs/"])
        await desk.press("tab")
        field = desk.app.screen.query_one(Input)
        assert field.value == "./runs/"
        await desk.until(lambda: "./runs/old/" in rows(desk))
        await desk.type("./runs/l")
        await desk.until(lambda: len(rows(desk)) == 1 and rows(desk)[0].startswith("./runs/last.safetensors"))
        await desk.press("tab", "enter")
        await desk.until(lambda: OpenRequest(str(files / "runs" / "last.safetensors")) in begin.asked)


async def test_a_python_file_asks_what_makes_the_network_without_running_it(begin, files):
    async with begin.run() as desk:
        await browse(desk)
        await desk.press("down", "enter")
        assert rows(desk) == ["make() A small one. line 4", "Net() a class line 11"]
        await desk.press("enter")
        assert [row.split(" ")[0] for row in rows(desk)] == ["as", "a"]
        await desk.press("enter")
        await desk.until(lambda: OpenRequest(f"{files / 'nets.py'}:make") in begin.asked)
        assert "nets" not in sys.modules


async def test_a_factory_can_have_weights(begin, files):
    async with begin.run() as desk:
        await browse(desk)
        await desk.press("down", "enter", "enter", "down", "enter")
        await desk.until(lambda: "runs/" in rows(desk))
        assert not any("nets.py" in row for row in rows(desk))
        await desk.press("enter")
        await desk.until(lambda: "old/" in rows(desk))
        await desk.press("down", "enter")
        wanted = OpenRequest(f"{files / 'nets.py'}:make", str(files / "runs" / "Best.pt"))
        await desk.until(lambda: wanted in begin.asked)


async def test_what_cannot_be_read_says_so(begin, files, monkeypatch):
    (files / "bad.py").write_text("def make(:\n")
    real = __import__("os").scandir

    def scandir(path):
        if str(path).endswith("runs"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("tui_prune.app.entries.os.scandir", scandir)
    async with begin.run() as desk:
        await browse(desk)
        await desk.press("enter")
        await desk.until(lambda: "This directory can't be read: Permission denied." in rows(desk))
        await desk.press("backspace")
        await desk.until(lambda: "runs/" in rows(desk))
        await desk.press("down", "enter")
        assert rows(desk)[0].startswith("bad.py, line 1: ")


async def test_a_huge_directory(begin, files):
    for number in range(3000):
        (files / "runs" / f"epoch{number:05}.pt").touch()
    async with begin.run() as desk:
        await browse(desk)
        await desk.press("enter")
        await desk.until(lambda: desk.app.screen.rows.row_count() == 3004)
        await desk.press("G")
        assert under_cursor(desk) == "last.safetensors"
        await desk.press("slash", *"02999")
        await desk.until(lambda: [row.split()[0] for row in rows(desk)] == ["epoch02999.pt"])


# From the main screen


async def test_another_network_is_opened_in_place_of_this_one(begin, files):
    begin.real = True
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        await desk.press("O")
        await desk.press("slash")
        await desk.type(f"{files / 'nets.py'}:make")
        await desk.until(lambda: len(rows(desk)) == 1)
        await desk.press("enter")
        await desk.until(lambda: main_is_there(desk)() and desk.title.startswith("nets.py:make"))
        assert [type(screen).__name__ for screen in desk.app.screen_stack] == ["OpeningScreen", "MainScreen"]
        assert "The example input 1,20 is a guess" in desk.status
        assert desk.app.request == OpenRequest(f"{files / 'nets.py'}:make")


async def test_only_the_large_network_that_is_open_is_kept_from_the_collector(begin, files, monkeypatch):
    monkeypatch.setattr(garbage, "LARGE", 5)
    begin.real = True
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        assert gc.get_freeze_count(), "the collector would go through it again and again"
        await desk.press("O", "slash")
        await desk.type(f"{files / 'nets.py'}:make")
        await desk.until(lambda: len(rows(desk)) == 1)
        await desk.press("enter")
        await desk.until(lambda: main_is_there(desk)() and desk.title.startswith("nets.py:make"))
        assert not gc.get_freeze_count()


async def test_an_unsaved_plan_is_asked_about(begin):
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        await desk.press("plus", "O", "slash", *"plain_conv", "enter")
        assert isinstance(desk.app.screen, OpenDialog)
        await desk.press("escape")
        assert desk.session.recipe.ratio == 0.05
        await desk.press("O", "slash", *"plain_conv", "enter", "enter")
        await desk.until(lambda: len(begin.asked) == 2 and isinstance(desk.app.screen, MainScreen))
        assert desk.session.recipe.ratio == 0
        await desk.press("plus", "O", "slash", *"plain_conv", "enter", "s")
        await desk.until(on(desk, SaveScreen))


async def test_what_fails_leaves_the_network_that_is_open(begin):
    begin.failures["plain_conv"] = TuiPruneError("It is broken.")
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        await desk.press("O", "slash", *"plain_conv", "enter")
        await desk.until(lambda: isinstance(desk.app.screen, OpeningScreen) and desk.app.screen.failure)
        assert "It is broken." in words(desk)
        assert "esc goes back" in words(desk)
        await desk.press("escape")
        assert isinstance(desk.app.screen, MainScreen)
        await desk.press("plus")
        assert desk.session.recipe.ratio == 0.05
        assert desk.app.request == OpenRequest("nin")


async def test_the_input_is_changed_and_the_recipe_stays(begin):
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        await desk.press("g", "5", "0", "enter")
        macs, session = desk.session.plan.after.macs, desk.session
        await desk.press("I")
        assert desk.app.focused.value == "1,3,32,32"
        await desk.type("2,3,32,32")
        assert "2 x 3 x 32 x 32" in desk.effect
        await desk.press("enter")
        await desk.until(lambda: main_is_there(desk)() and desk.session is not session)
        assert desk.session.opened.input_spec == "2,3,32,32"
        assert (desk.session.recipe.ratio, desk.session.plan.after.macs) == (0.5, 2 * macs)
        assert desk.session.opened.module is session.opened.module
        assert len(begin.asked) == 1


async def test_an_input_that_does_not_fit_can_be_mended_where_one_is(begin):
    async with begin.run(OpenRequest("nin")) as desk:
        await desk.until(main_is_there(desk))
        await desk.press("I")
        await desk.type("1,4,32,32")
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, OpeningScreen) and desk.app.screen.failure)
        assert "I types another example input" in words(desk)
        await desk.press("I")
        assert desk.app.focused.value == "1,4,32,32"
        await desk.type("1x3")
        await desk.press("enter")
        assert "is not the shape of an input" in desk.app.screen.query_one("#prompt").effect
        await desk.type("1,3,40,40")
        await desk.press("enter")
        await desk.until(lambda: main_is_there(desk)() and desk.session.opened.input_spec == "1,3,40,40")


# Failures


async def test_a_failure_says_what_fits_it(begin, tmp_path):
    sentence = "mine.pt is cut short or damaged. Save, copy or download it again."
    begin.failures["mine.pt"] = TuiPruneError(sentence, remedies=[Remedy.AGAIN])
    async with begin.run(OpenRequest("mine.pt")) as desk:
        await desk.until(lambda: desk.app.screen.failure)
        assert "tries again, once that is mended" in words(desk)
        assert "example input" not in words(desk)
        keys = text_of(desk.app.screen.query_one("#keys").line)
        assert keys == "enter try again   I type an input   O open another   q quit"
        del begin.failures["mine.pt"]
        await desk.press("enter")
        await desk.until(main_is_there(desk))
        assert begin.asked == [OpenRequest("mine.pt")] * 2


async def test_from_a_failure_something_else_is_opened(begin):
    begin.failures["mine.pt"] = TuiPruneError("mine.pt is broken.")
    async with begin.run(OpenRequest("mine.pt")) as desk:
        await desk.until(lambda: desk.app.screen.failure)
        await desk.press("O", "g")
        assert isinstance(desk.app.screen, StartScreen), "there is no main screen for g to go to"
        await desk.press("enter")
        await desk.until(main_is_there(desk))
        assert begin.asked[-1] == OpenRequest("nin")


async def test_opening_is_stopped_by_esc(begin):
    begin.go_on.clear()
    async with begin.run(OpenRequest("resnet50")) as desk:
        await desk.until(lambda: "esc stops it" in words(desk))
        await desk.press("escape")
        assert "Stopped: nothing was opened." in words(desk)
        begin.go_on.set()
        await desk.press("enter")
        await desk.until(main_is_there(desk))


# Weights that fit several networks


async def test_where_several_networks_fit_one_may_choose_another(begin, tmp_path):
    begin.real = True
    network = fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None, num_classes=3)
    file = tmp_path / "last.pth"
    torch.save(network.state_dict(), file)
    async with begin.run(OpenRequest(str(file), input_spec="[3,64,64]")) as desk:
        await desk.until(on(desk, OthersDialog), patience=90)
        assert "the shortest name was taken" in words(desk)
        assert [row.split()[0] for row in rows(desk)] == [
            "fasterrcnn_mobilenet_v3_large_fpn",
            "fasterrcnn_mobilenet_v3_large_320_fpn",
        ]
        await desk.press("down", "enter")
        await desk.until(lambda: len(begin.asked) == 2 and isinstance(desk.app.screen, MainScreen), patience=90)
        assert desk.title.startswith("fasterrcnn_mobilenet_v3_large_320_fpn")
        assert begin.asked[1].weights == str(file)
