"""Settings that the app keeps: one entry of the user's file changes, and nothing else in it."""

from pathlib import Path

import pytest

from tui_prune import config
from tui_prune.app.settings_file import keep_key, keep_setting
from tui_prune.errors import TuiPruneError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return config.config_file()


def test_the_first_setting_makes_the_file(file: Path) -> None:
    assert keep_setting("theme", "light").theme == "light"
    keep_key("lock", "ctrl+l")
    keep_key("undo", 'z,"')
    assert file.read_text() == 'theme = "light"\n\n[keys]\n"lock" = "ctrl+l"\n"undo" = \'z,"\'\n'
    assert config.load() == config.Config(theme="light", keys={"lock": "ctrl+l", "undo": 'z,"'})


MINE = """# mine
theme = 'dark'  # at night
mouse = true

[ keys ]  # few
ratio.layer = "w"
"lock" = ["ctrl+l", "f9"]  # two
"undo" = "z"

# the end
"""


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda: keep_setting("theme", "light"), ("theme = 'dark'", 'theme = "light"')),
        (lambda: keep_setting("mouse", False), ("mouse = true", "mouse = false")),
        (lambda: keep_key("lock", "f8"), ('["ctrl+l", "f9"]', '"f8"')),
        (lambda: keep_key("ratio.layer", "v"), ('ratio.layer = "w"', 'ratio.layer = "v"')),
        (lambda: keep_key("undo", None), ('"undo" = "z"\n', "")),
        (lambda: keep_key("redo", None), ("", "")),
        (lambda: keep_key("redo", "f7"), ("# the end\n", '# the end\n"redo" = "f7"\n')),
    ],
)
def test_all_else_stays_as_it_was_written(file: Path, change, line: tuple[str, str]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(MINE)
    found = change()
    assert file.read_text() == MINE.replace(*line)
    assert config.load() == found
    assert [*file.parent.iterdir()] == [file]


@pytest.mark.parametrize("text", ["theme =\n", 'keys = { "lock" = "f9" }\n', '[keys]\nlock = [\n  "f9",\n]\n'])
def test_what_it_cannot_change_it_leaves_and_says_so(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(TuiPruneError, match="by hand|can't be read"):
        keep_key("lock", "f8")
    assert file.read_text() == text


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("mouse = false\n")
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "dotfiles.toml")
    keep_setting("theme", "light")
    assert file.is_symlink()
    assert (tmp_path / "dotfiles.toml").read_text() == 'mouse = false\ntheme = "light"\n'
