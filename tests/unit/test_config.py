"""The config file: what it says counts, what is wrong with it is said in sentences, and nothing of it ever raises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tui_prune import config
from tui_prune.__main__ import COMMANDS
from tui_prune.app import keymap
from tui_prune.config import Config, load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def written(tmp_path: Path):
    """Write a config file and load it."""

    def write(text: str | bytes) -> Config:
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path)

    return write


def test_without_a_file_everything_is_as_it_comes(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml") == Config()


def test_what_the_file_says_counts(written) -> None:
    found = written(
        'theme = "light"\nmouse = false\n[keys]\nlock = "ctrl+l"\n"undo" = ["z", "f9"]\nratio.layer = "w"\n'
    )
    assert (found.theme, found.mouse, found.problems) == ("light", False, ())
    assert found.keys == {"lock": "ctrl+l", "undo": "z,f9", "ratio.layer": "w"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('theme = "lihgt"', "no theme 'lihgt' (did you mean 'light'?)"),
        ("theme = 3", "no theme 3"),
        ("theme = ['a']", "no theme"),
        ('colour = "red"', "'colour' is no setting"),
        ('mouse = "no"', "mouse is true or false, not 'no'"),
        ("keys = 7", "keys is a table"),
        ("[keys]\nlock = 7", 'The key of "lock" must be text'),
        ('[keys]\nlock = ""', 'The key of "lock" must be text'),
        ("theme = ", "isn't valid TOML"),
        (b"\xff\xfe\x00", "isn't UTF-8"),
        ("[" * 5000, "isn't valid TOML"),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_counts(written, text: str | bytes, said: str) -> None:
    found = written(text)
    assert said in " ".join(found.problems)
    assert (found.theme, found.mouse, dict(found.keys)) == ("dark", True, {})


def test_a_folder_in_its_place_is_no_crash(tmp_path: Path) -> None:
    assert "can't be read" in load(tmp_path).problems[0]


@pytest.mark.parametrize(
    ("wanted", "kept", "said"),
    [
        ({"lock": "ctrl+l"}, {"lock": "ctrl+l"}, ""),
        ({"ratio.layer": "g", "ratio.global": "r"}, {"ratio.layer": "g", "ratio.global": "r"}, ""),
        ({"undo": "ctrl+z", "suspend": "f9"}, {"undo": "ctrl+z", "suspend": "f9"}, ""),
        ({"find": "page down,?"}, {}, "is that of"),
        ({"help": "esc"}, {}, "is that of"),
        ({"find": "F7, ?", "help": "f1"}, {"find": "f7,question_mark", "help": "f1"}, ""),
        ({"scope": "shift+q"}, {"scope": "Q"}, ""),
        ({"lock": "g"}, {}, 'g is that of "ratio.global"'),
        ({"lock": "j"}, {}, "j is that of"),
        ({"lock": "q"}, {}, 'q is that of "quit"'),
        ({"sav": "w"}, {}, "No key is called \"sav\" (did you mean 'save'?)"),
        ({"lock": "hyper+l"}, {}, "'hyper+l' is no key"),
        ({"lock": "foo"}, {}, "'foo' is no key"),
        ({"lock": "ctrl+i"}, {}, "can't tell ctrl+i from tab"),
        ({"lock": "b", "scope": "b"}, {"scope": "b"}, 'b is that of "scope"'),
        ({"prompt.accept": "ctrl+g"}, {"prompt.accept": "ctrl+g"}, ""),
    ],
)
def test_keys_that_will_do_and_those_that_will_not(wanted, kept, said: str) -> None:
    keys, problems = keymap.check(wanted)
    assert keys == kept
    assert said in " ".join(problems)
    assert bool(problems) == bool(said)


def test_an_id_stands_for_the_same_keys_wherever_it_is() -> None:
    found: dict[str, str] = {}
    for one in keymap.known():
        assert found.setdefault(one.binding.id, one.binding.key) == one.binding.key, one


def test_as_they_come_no_keys_clash() -> None:
    """Every key that a binding has by default can be written into the file as it is."""
    ids = {one.binding.id: one.binding.key for one in keymap.known()}
    keys, problems = keymap.check(ids)
    assert problems == []
    assert keys.keys() == ids.keys()


def test_the_example_changes_nothing_and_names_every_key() -> None:
    text = "\n".join(keymap.example())
    assert config.parse(tomllib.loads(text)) == Config()
    uncommented = tomllib.loads("\n".join(line.removeprefix("# ") for line in text.splitlines()[1:]))
    found = config.parse(uncommented)
    assert found.problems == ()
    assert found.keys.keys() == {one.binding.id for one in keymap.known()}
    keys, problems = keymap.check(found.keys)
    assert problems == []
    defaults = {one.binding.id: one.binding.key for one in keymap.known()}
    assert keys == defaults


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    homes = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE", "DATA")}
    command = [sys.executable, "-m", "tui_prune", "config", *arguments]
    return subprocess.run(command, env={**os.environ, **homes}, capture_output=True, text=True)


def test_the_command_says_where_things_are_and_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "tui-prune"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('theme = "light"\nthem = 1\n[keys]\nlock = "g"\nsave = "b"\n')
    (folder / "recipes").mkdir()
    (folder / "recipes" / "mine.toml").write_text("ratio = 0.5\n")
    done = run(tmp_path)
    assert str(folder / "config.toml") in done.stdout
    assert done.returncode == 1
    assert "theme light, 1 of your own keys" in done.stdout
    assert "1 file, 12 B" in done.stdout
    assert "! 'them' is no setting (did you mean 'theme'?)" in done.stdout
    assert '! "lock" keeps its key' in done.stdout
    found = json.loads(run(tmp_path, "--json").stdout)
    assert found["config"]["keys"] == {"save": "b"}
    assert len(found["config"]["problems"]) == 2
    assert found["recipes"]["files"] == 1
    assert {"state", "cache", "log"} <= found.keys()


def test_words_that_are_commands_name_no_model() -> None:
    from tui_prune.cli.main import app

    assert {command.name or command.callback.__name__ for command in app.registered_commands} == COMMANDS
