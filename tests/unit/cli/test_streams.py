"""Closed and full streams, accounts without a home, and devices that hold no numbers: a sentence, or nothing lost."""

import os
import pwd
import sys
from pathlib import Path

import pytest

from tui_prune import __main__, config
from tui_prune.cli import main
from tui_prune.errors import UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe_files import own_recipe_names
from tui_prune.session.autosave import saved_work


def in_a_child(work) -> int:
    """The exit status of a function in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    def work() -> int:
        for number in (0, 1, 2):
            os.close(number)
        sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]
        __main__._fill_streams()
        print("nobody reads this")
        print("nor this", file=sys.stderr, flush=True)
        with open(tmp_path / "file", "w") as file:
            return file.fileno()

    assert in_a_child(work) >= 3
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("words", [["--help"], ["plot", "--help"], ["--version"], ["config"], ["config", "--json"]])
def test_a_full_disk_behind_stdout_gets_a_sentence(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = os.dup(1)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    monkeypatch.setattr(sys, "argv", ["tui-prune", *words])
    monkeypatch.setattr(sys, "stdout", os.fdopen(os.dup(1), "w"))
    try:
        with pytest.raises(SystemExit) as left:
            main.main()
    finally:
        os.dup2(kept, 1)
    assert left.value.code == 1
    assert capfd.readouterr().err == "The output can't be written: No space left on device.\n"


def test_an_account_without_a_home_keeps_nothing_and_makes_no_folder_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", *(f"XDG_{kind}_HOME" for kind in ("CONFIG", "CACHE", "STATE", "DATA"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    assert {folder.is_relative_to(config.NOWHERE) for folder in config.folders().values()} == {True}
    assert config.load() == config.Config()
    assert own_recipe_names() == ()
    assert saved_work.recent() == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["meta", "cuda:99", "mps", "\x1b[2J", "cpu:x", ""])
def test_a_device_that_holds_no_numbers_is_refused(device: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_model("nin", device=device)
    assert str(raised.value).isprintable()
