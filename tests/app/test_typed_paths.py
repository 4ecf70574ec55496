"""Completing what somebody types: the same in the save dialog, at the prompt for a task and on the start screen."""

from pathlib import Path

import pytest

from tui_prune.app import typed_paths
from tui_prune.app.entries import path_entries
from tui_prune.app.typed_paths import complete


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "a b.pt").write_text("")
    (home / ".hidden").write_text("")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home


def test_a_task_is_a_file_or_a_built_in_one_with_its_data(home: Path) -> None:
    from tui_prune.app.screens.questions import _completed, _path_goes_on
    from tui_prune.errors import UsageError

    assert _completed("images:~/d") == "images:~/data/"
    assert _path_goes_on("images:data,limit=5") == "enter reads it"
    assert _path_goes_on("images:da") == "data/"
    with pytest.raises(UsageError, match="There is no nothing for images:"):
        _path_goes_on("images:nothing")


def test_home_stays_as_it_was_typed(home: Path) -> None:
    assert complete("~").text == "~/"
    assert complete("~/d").text == "~/data/"
    assert complete("~/data/a").candidates == ("~/data/a b.pt",)
    assert complete(f"{home}/data/a").text == f"{home}/data/a b.pt"


@pytest.mark.parametrize(
    "text", ["~/nothing", "~/no/such/folder", "~nobody-at-all/x", "~/data/a b.pt/", "~/.hidden/x", "a\0b/"]
)
def test_where_nothing_is_the_text_stays(home: Path, text: str) -> None:
    assert complete(text).text == text
    assert complete(text).candidates == ()


def test_a_folder_that_cant_be_read_has_no_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    assert complete("data/").candidates == ()
    assert [entry.words for entry in path_entries("data/", home)] == ["data/ can't be read: Permission denied."]


def test_hidden_names_are_for_those_who_type_a_dot(home: Path) -> None:
    assert complete("~/").candidates == ("~/data/",)
    assert complete("~/.h").text == "~/.hidden"
    assert [entry.name for entry in path_entries("~/", home)] == ["~/", "~/data/"]


def test_only_files_that_are_wanted_and_folders(home: Path) -> None:
    for name in ("task.py", "task.txt", "tasks"):
        (home / name).write_text("")
    (home / "tasks of mine").mkdir()
    assert complete("ta", wanted=lambda name: name.endswith(".py")).names == ("task.py", "tasks of mine/")
    assert complete("task.", wanted=lambda name: name.endswith(".py")).text == "task.py"


def test_a_relative_path_begins_where_one_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert complete("./da", home).text == "./data/"
    assert complete("..", home).text == "../"


def test_in_a_huge_folder_no_letter_is_added_that_is_not_sure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (home / "data" / f"run_1_{number}").write_text("")
    assert complete("data/r").text == "data/run_1_"
    monkeypatch.setattr(typed_paths, "LOOKED_AT", 20)
    assert complete("data/r").text == "data/r"
    assert 0 < len(complete("data/r").names) <= 20
    assert path_entries("data/r", home)[-1].words == "and more: type on"
