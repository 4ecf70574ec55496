"""The dialog that saves: format, path with completion, size, room on the disk, and the lines that load it."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import safetensors.torch
from textual.widgets import Input

import tui_prune
from tui_prune.app.screens.save import SaveScreen
from tui_prune.app.widgets.choice_line import ChoiceLine
from tui_prune.app.widgets.line_pane import LinePane

Usage = namedtuple("Usage", ["total", "used", "free"])


async def dialog_of(desk, *keys):
    await desk.press("g", "5", "0", "enter", *keys, "s")
    dialog = desk.app.screen
    assert isinstance(dialog, SaveScreen)
    return dialog


def field(dialog):
    return dialog.query_one("#path", Input)


def names(dialog):
    return " ".join("".join(cell.text for cell in line) for line in dialog.query_one("#names", LinePane).lines).split()


def keys(dialog):
    return str(dialog.query_one(".box").border_subtitle)


async def test_the_format_is_chosen_by_arrows_and_the_name_goes_with_it(start):
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        assert "tui_prune.load builds it" in dialog.words
        await desk.press("down", "right")
        assert field(dialog).value == "nin-pruned.safetensors"
        assert "plain state dict" in dialog.words
        assert "← → format" in keys(dialog)
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        assert f'tui_prune.load("{Path.cwd()}/nin-pruned.safetensors")' in dialog.words.replace("\n  ", "")
        words = dialog.query_one("#words", LinePane)
        assert all(len("".join(cell.text for cell in line)) < words.size.width for line in words.lines)
        assert "safetensors.torch.load_file" in dialog.words
        state = safetensors.torch.load_file("nin-pruned.safetensors")
    tui_prune.load("nin-pruned.safetensors").load_state_dict(state)


async def test_the_format_follows_the_name_that_is_typed(start):
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        form = dialog.query_one("#form", ChoiceLine)
        assert form.taken == ".pt"
        await desk.type("x.safetensors")
        assert form.taken == ".safetensors"
        await desk.type("x")
        assert form.taken == ".pt"
        await desk.press("down", "right", "up")
        assert desk.app.focused is field(dialog)
        assert field(dialog).value == "x.safetensors"


async def test_how_large_it_will_be_is_shown_for_each_format(start):
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.until(lambda: "about 1.04 MB" in dialog.words, "the size")
        await desk.press("down", "right")
        assert "about 1.03 MB" in dialog.words
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        assert Path("nin-pruned.safetensors").stat().st_size == pytest.approx(1.03e6, rel=0.02)


async def test_tab_completes_folders_and_files_and_then_goes_through_them(start):
    for name in ("models_old/inner", "models_new", "other"):
        Path(name).mkdir(parents=True)
    Path("models.txt").write_text("")
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.type("mo")
        await desk.press("tab")
        assert field(dialog).value == "models"
        assert names(dialog) == ["models.txt", "models_new/", "models_old/"]
        await desk.press("tab")
        assert field(dialog).value == "models.txt"
        await desk.press("tab", "tab")
        assert field(dialog).value == "models_old/"
        await desk.press("i")
        assert names(dialog) == []
        await desk.press("tab")
        assert field(dialog).value == "models_old/inner/"
        assert desk.app.focused is field(dialog)
        assert "here/models_old/inner" in dialog.words.replace("\n", "")


async def test_a_folder_with_many_names_leaves_room_for_the_rest(start):
    for number in range(200):
        Path(f"run_{number:03}").mkdir()
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.type("run_")
        await desk.press("tab")
        assert names(dialog)[-1] == "…"
        assert dialog.query_one(".box").region.bottom <= 24
        assert "It is written only when" in dialog.words


async def test_a_disk_without_room_is_told_before_anything_is_cut(start, slow, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**6, 9 * 10**5, 10**5))
    async with start((80, 24), kind=slow) as desk:
        dialog = await dialog_of(desk)
        assert "100 kB free" in dialog.words
        await desk.press("enter")
        assert dialog.state == "asking"
        assert "has 100 kB left" in " ".join(dialog.words.split())
        assert not list(Path().iterdir())


async def test_a_missing_folder_is_told_before_anything_is_cut(start, slow):
    async with start((80, 24), kind=slow) as desk:
        dialog = await dialog_of(desk)
        await desk.type("nowhere/x.pt")
        assert "isn't there" in dialog.words
        await desk.press("enter")
        assert dialog.state == "asking"
        assert "there is no folder" in " ".join(dialog.words.split())


async def test_the_folder_and_the_format_used_last_are_proposed_again(start):
    Path("kept").mkdir()
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.type("kept/first.safetensors")
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        await desk.press("escape", "plus", "s")
        proposed = Path(field(desk.app.screen).value).expanduser()
        assert proposed.resolve() == (Path("kept") / "nin-pruned.safetensors").resolve()


async def test_the_lines_are_copied_once_said(start):
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
        await desk.press("c", "c")
        assert desk.app.clipboard == f'import tui_prune\nmodel = tui_prune.load("{Path.cwd()}/nin-pruned.pt")\n'
        assert dialog.words.count("Sent to your terminal's clipboard.") == 1


async def test_stopping_gives_the_path_and_the_format_back(start, slow):
    async with start((80, 24), kind=slow) as desk:
        dialog = await dialog_of(desk)
        await desk.press("enter")
        await desk.until(lambda: "25 %" in dialog.words, "the progress")
        assert keys(dialog) == "esc stops it"
        await desk.press("escape")
        assert desk.app.focused is field(dialog)
        await desk.press("down", "right")
        assert field(dialog).value == "nin-pruned.safetensors"


ODD = ("/dev/null", "x" * 300, "/etc/passwd/x.pt", "~no-such-user-here/x.pt", "pipe", "circle")


@pytest.mark.parametrize("typed", ODD)
async def test_a_path_that_can_hold_no_file_gets_a_sentence(start, typed):
    os.mkfifo("pipe")
    os.symlink("circle", "circle")
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        field(dialog).value = typed
        await desk.press("enter", "enter")
        await desk.until(lambda: dialog.state == "asking" and "!" in dialog.words, "a sentence")
        assert not [file for file in Path.cwd().iterdir() if file.is_file()]


async def test_where_the_folder_is_gone_only_an_absolute_path_is_taken(start, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    async with start((80, 24)) as desk:
        monkeypatch.chdir(folder)
        folder.rmdir()
        dialog = await dialog_of(desk)
        await desk.press("enter")
        assert "is gone, so a relative path means nothing" in " ".join(dialog.words.split())
        field(dialog).value = str(tmp_path / "out.pt")
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the file")
    assert (tmp_path / "out.pt").is_file()


async def test_an_export_is_written_from_the_same_dialog(start):
    async with start((80, 24)) as desk:
        dialog = await dialog_of(desk)
        await desk.press("down", "right", "right", "right")
        assert field(dialog).value == "nin-pruned.pt2" and "a program of torch.export" in dialog.words
        assert "save a checkpoint, too" in dialog.words
        await desk.press("enter")
        await desk.until(lambda: dialog.state == "done", "the export")
        assert "the export gives the network's numbers to" in dialog.words and "may vary" in dialog.words
        assert "model = torch.export.load(" in dialog.words and Path("nin-pruned.pt2").stat().st_size > 1e6
        await desk.press("escape")
        assert desk.screen.session.dirty  # nothing is saved that could be opened again
