"""Files of one's own may hold anything: they count as none, and no start crashes because of them."""

import gzip
import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_prune import config
from tui_prune.app import crashes
from tui_prune.cost.measured_times import Remembered
from tui_prune.errors import UsageError
from tui_prune.files import hold_open, part_beside, read_json, update_json, write_json
from tui_prune.loading import known_names, signatures
from tui_prune.planning.recipe import Recipe
from tui_prune.saving.whole_file import write_whole
from tui_prune.search.scan_cache import ScanCache
from tui_prune.session.autosave import saved_work
from tui_prune.session.autosave.places import sessions_folder

CONTENTS = {
    "nothing": b"",
    "no text": bytes(range(256)),
    "half": b'{"points": {"a": [1,',
    "a list": b"[1, 2]",
    "a number": b"1e400",
    "infinite": b'{"version": 1, "points": {"a": [Infinity, 1]}, "x": {"y": Infinity}}',
    "huge": b'{"version": 1, "points": {"a": [' + b"9" * 400 + b', 1]}, "x": {"y": ' + b"9" * 400 + b"}}",
    "digits": b'{"version": ' + b"9" * 5000 + b"}",
    "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "other types": b'{"version": 1, "points": [[1]], "x": "y", "request": 1, "state": []}',
    "null": b"null",
}
KINDS = [*CONTENTS, "a pipe", "a folder", "a circle"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for kind in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))


def put(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a circle":
        os.symlink(path, path)
    else:
        content = CONTENTS[kind]
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_cache_holds_it_is_asked_without_harm(kind: str, tmp_path: Path) -> None:
    slots = np.ones(4, bool)
    scan = ScanCache(put(tmp_path / "scan.json", kind))
    assert scan.get(slots) is None
    scan.put(slots, (0.5, 1.0))
    assert scan.get(slots) == (0.5, 1.0)
    put(tmp_path / "cache" / "tui-prune" / "latency.json", kind)
    remembered = Remembered("here")
    remembered.add({"call": 0.25})
    assert remembered["call"] == 0.25
    if kind not in ("a pipe", "a folder", "a circle"):
        assert ScanCache(tmp_path / "scan.json").get(slots) == (0.5, 1.0)
        assert Remembered("here")["call"] == 0.25
    put(known_names._file(), kind)
    assert known_names.known_names() is None or kind == "a list"
    put(signatures._file("torchvision"), kind)
    assert signatures._read(signatures._file("torchvision")) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_kept_work_holds_the_list_of_it_opens(kind: str) -> None:
    put(sessions_folder() / "net-0123456789abcdef.json", kind)
    assert saved_work.recent() == []


TOML = {
    "infinite": "theme = inf\nmouse = nan\nkeys = inf\nratio = inf\nseed = inf",
    "digits": f"theme = {'9' * 5000}",
    "hexadecimal": f"theme = 0x{'f' * 5000}\nratio = 0x{'f' * 5000}",
    "deep": f"theme = {'[' * 5000}{']' * 5000}",
    "deep keys": f"[{'keys.' * 2000}x]\na = 1",
    "types": 'theme = [1]\nmouse = "x"\nkeys = 1\nratio = "x"\nlayers = 3\nlock = 1979-05-27',
    "steering": '"\\u001b[2J" = 1\ntheme = "\\u001b]0;x\\u0007"',
    "bytes": "\x00\x01",
}


@pytest.mark.parametrize("kind", [*TOML, "a pipe", "a folder", "a circle"])
def test_whatever_settings_and_recipes_hold_a_sentence_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    if kind in TOML:
        path.write_text(TOML[kind])
    else:
        put(path, kind)
    problems = config.load(path).problems
    assert problems
    with pytest.raises(UsageError) as raised:
        Recipe.from_toml(path)
    for sentence in (*problems, str(raised.value)):
        assert sentence.isprintable()
        assert len(sentence) < 600


@pytest.mark.parametrize("name", [*Recipe().to_dict()])
def test_every_field_of_a_recipe_refuses_what_it_cannot_be(name: str) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    values = (float("inf"), float("nan"), 10**400, 10**5000, -1, deep, {"a": 10**400}, {"a": [1]}, b"x", [[1]], 1.5)
    for value in values:
        try:
            recipe = Recipe.from_dict({name: value})
        except UsageError as error:
            assert len(str(error)) < 300
        else:
            assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
            assert recipe.to_toml() is not None


def _add_points(path: Path, first: int) -> None:
    cache = ScanCache(path)
    for number in range(first, first + 40):
        cache.put(np.unpackbits(np.array([number], np.uint8)).astype(bool), (0.5, float(number)))


def test_two_processes_lose_no_points_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_points, args=(path, first)) for first in (0, 100)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert len(read_json(path)["points"]) == 80


def test_a_file_is_written_whole_and_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "values.json.gz"
    write_json(path, {"a": 1})
    update_json(path, lambda content: {**content, "b": 2})
    assert read_json(path) == {"a": 1, "b": 2}
    assert path.stat().st_mode & 0o077 == 0
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, f".{path.name}.lock"}


def test_the_command_line_starts_whatever_its_settings_are(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "tui-prune"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "config.toml")
    done = subprocess.run(
        [sys.executable, "-m", "tui_prune", "config"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "it is no ordinary file" in done.stdout


def test_what_a_killed_writer_has_left_goes_at_the_next_write(tmp_path: Path) -> None:
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    mine = part_beside(tmp_path / "out.pt").name
    left = mine.replace(f".{os.getpid()}-", f".{gone}-")
    elsewhere = re.sub(r"-[0-9a-f]{8}-", "-00000000-", left)
    held = re.sub(r"[0-9a-f]{8}\.part", "01234567.part", left)
    for name in (mine, left, held, elsewhere, ".theirs.part", "own.part"):
        (tmp_path / name).write_bytes(b"x")
    with open(tmp_path / held, "rb") as file:
        hold = hold_open(file.fileno())
    write_whole(tmp_path / "new.pt", lambda file: file.write(b"whole"), lambda part: None)
    assert hold is not None
    os.close(hold)
    kept = {mine, held, elsewhere, ".theirs.part", "own.part", "new.pt"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    for name in ("x" * 252 + ".pt", "ü" * 126 + ".pt"):
        assert (
            write_whole(tmp_path / name, lambda file: file.write(b"whole"), lambda part: None).read_bytes() == b"whole"
        )


def test_a_crash_report_is_for_the_user_alone() -> None:
    path = crashes.write(ValueError("\udcff"))
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0
