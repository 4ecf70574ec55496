"""Kept work: whole, private, readable from every folder, and never a reason to fail."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_prune.app.main import _finish_writing
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import ago
from tui_prune.loading.request import OpenRequest
from tui_prune.session.autosave import log_file, saved_work, state_folder
from tui_prune.session.autosave.log import start_log
from tui_prune.session.autosave.saved_work import SavedWork, forget, kept_work, recent, set_aside, write
from tui_prune.session.autosave.writer import Turns, Writer, is_writing

NOW = 1_700_000_000.0
BROKEN = ["", "{", "[]", "null", '{"version": 1}', "\x00\xff", "[" * 10_000]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path / "state" / "tui-prune" / "sessions"


def work_on(spec: str | None = "nin", changed: float = NOW, words: str = "cut 50 %", **more: Any) -> SavedWork:
    return SavedWork(OpenRequest(spec, **more), "title", words, changed, {"chosen": True, "session": {"place": 1}})


def test_what_was_written_is_read_again():
    assert kept_work(OpenRequest("nin")) is None
    work = work_on("nin", input_spec="1,3,32,32", device="cuda")
    write(work)
    assert kept_work(OpenRequest("nin")) == work
    assert kept_work(OpenRequest()) == work  # no name means the bundled network
    assert kept_work(OpenRequest("resnet18")) is None


def test_only_the_user_can_read_it(folder: Path):
    before = os.umask(0)
    try:
        path = write(work_on())
        write(work_on(words="cut 60 %"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert [file.name for file in folder.iterdir()] == [path.name]


def test_files_are_found_from_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Path("net.py").write_text("")
    Path("net.pt").write_bytes(b"123")
    Path("link.pt").symlink_to("net.pt")
    write(work_on("net.py:make", weights="net.pt", task="task.py"))
    write(work_on("net.pt", changed=NOW + 1))
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "here"
    of_file, of_factory = recent()
    assert of_file.request.spec == str(here / "net.pt")
    assert of_factory.request == OpenRequest(
        f"{here}/net.py:make", weights=str(here / "net.pt"), task=str(here / "task.py")
    )
    for same in ("here/net.pt", "here/../here/net.pt", str(here / "net.pt"), "here/link.pt"):
        assert kept_work(OpenRequest(same)) == of_file
    assert kept_work(OpenRequest("net.pt")) is None
    assert kept_work(OpenRequest("here/net.py:make", weights="here/net.pt")) == of_factory
    assert kept_work(OpenRequest("here/net.py:make")) is None


def test_names_stay_names():
    Path("resnet18").mkdir()
    write(work_on("resnet18"))
    write(work_on("timm:org/net", changed=NOW + 1))
    assert [work.request.spec for work in recent()] == ["timm:org/net", "resnet18"]


def test_it_tells_that_a_file_has_changed():
    file = Path("net.pt")
    file.write_bytes(b"123")
    write(work_on("net.pt"))
    assert kept_work(OpenRequest("net.pt")).changed_files == ()
    file.write_bytes(b"1234")
    assert kept_work(OpenRequest("net.pt")).changed_files == (str(file.absolute()),)
    file.unlink()
    assert recent()[0].changed_files == (str(file.absolute()),)


def test_the_newest_come_first():
    for number in (3, 1, 4, 2):
        write(work_on(f"net{number}", NOW + number))
    assert [work.request.spec for work in recent()] == ["net4", "net3", "net2", "net1"]
    assert len(recent(2)) == 2


@pytest.mark.parametrize("content", BROKEN)
def test_broken_files_count_as_none(folder: Path, content: str):
    broken = write(work_on("nin"))
    write(work_on("resnet18"))
    broken.write_text(content, encoding="latin-1")
    assert kept_work(OpenRequest("nin")) is None
    assert [work.request.spec for work in recent()] == ["resnet18"]
    write(work_on("nin"))
    assert kept_work(OpenRequest("nin")) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"title": None},
        {"changed": "today"},
        {"changed": float("nan")},
        {"state": []},
        {"request": {"spec": 3}},
        {"request": []},
        {"files": {"a": 1}},
    ],
)
def test_files_of_another_kind_count_as_none(wrong: dict[str, Any]):
    path = write(work_on())
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}))
    assert recent() == []


def test_a_truncated_file_counts_as_none():
    path = write(work_on())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert kept_work(OpenRequest("nin")) is None


def test_forgetting_and_setting_aside(folder: Path):
    write(work_on("nin"))
    write(work_on("resnet18"))
    forget(work_on("nin"))
    forget(work_on("nin"))
    assert [work.request.spec for work in recent()] == ["resnet18"]
    path = set_aside(recent()[0])
    assert recent() == []
    assert "cut 50 %" in path.read_text()
    assert set_aside(work_on("resnet18")) is None


def test_the_oldest_are_dropped(folder: Path):
    for number in range(saved_work.MOST):
        path = write(work_on(f"net{number}"))
        os.utime(path, (NOW + number, NOW + number))
    killed = folder / ".left-by-a-killed-write.part"
    killed.write_text("")
    os.utime(killed, (NOW, NOW))
    write(work_on("new"))
    assert len(list(folder.iterdir())) == saved_work.MOST
    assert kept_work(OpenRequest("net0")) is None
    assert kept_work(OpenRequest("net1")) is not None


def test_where_nothing_can_be_written(tmp_path: Path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(TuiPruneError, match="can't be made"):
        write(work_on())
    assert recent() == []
    assert kept_work(OpenRequest("nin")) is None
    assert set_aside(work_on()) is None
    forget(work_on())


def test_a_failed_write_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch, folder: Path):
    write(work_on(words="before"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TuiPruneError, match="disk"):
        write(work_on(words="after"))
    assert [work.summary for work in recent()] == ["before"]
    assert len(list(folder.iterdir())) == 1


def test_two_instances_on_one_network():
    program = (
        "import sys\n"
        "from tui_prune.session.autosave import SavedWork, write\n"
        "from tui_prune.loading.request import OpenRequest\n"
        "for i in range(100):\n"
        "    write(SavedWork(OpenRequest('nin'), sys.argv[1], '', i, {'steps': [sys.argv[1]] * 5000}))\n"
    )
    write(work_on())
    both = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "ab"]
    seen = set()
    while any(process.poll() is None for process in both):
        work = kept_work(OpenRequest("nin"))
        assert work is not None
        seen.add(work.title)
        assert set(work.state.get("steps", [work.title])) == {work.title}
    assert [process.wait() for process in both] == [0, 0]
    assert seen & {"a", "b"}


def test_the_writer_writes_the_latest(monkeypatch: pytest.MonkeyPatch):
    written, busy, go_on = [], threading.Event(), threading.Event()

    def slowly(work: SavedWork) -> None:
        busy.set()
        assert go_on.wait(10)
        written.append(work.changed)

    monkeypatch.setattr("tui_prune.session.autosave.writer.write", slowly)
    writer = Writer(lambda sentence: None)
    writer.put(work_on(changed=0))
    assert busy.wait(10)
    for changed in range(1, 100):
        writer.put(work_on(changed=changed))
    go_on.set()
    writer.wait(10)
    assert written == [0, 99]


def test_the_writer_says_when_it_fails(tmp_path: Path):
    said: list[str] = []
    writer = Writer(said.append)
    writer.put(dataclasses.replace(work_on(), state={"no JSON": object()}))
    writer.wait(10)
    (tmp_path / "state").write_text("a file where the folder should be")
    writer.put(work_on())
    writer.wait(10)
    assert len(said) == 2
    assert "can't be made" in said[1]


def test_leaving_waits_for_what_is_being_written():
    def slowly() -> None:
        time.sleep(0.7)
        done.append(True)

    done: list[bool] = []
    Turns(lambda sentence: None).do("weights", slowly)
    assert is_writing()
    _finish_writing()
    assert done
    assert not is_writing()


def test_a_fault_in_one_turn_doesnt_stop_the_next():
    done: list[bool] = []
    turns = Turns(lambda sentence: None)
    turns.do("one", lambda: [][0])
    turns.do("other", lambda: done.append(True))
    turns.wait(10)
    assert done
    assert "IndexError" in turns.failure("one")
    assert not turns.failure("other")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("tui_prune")
    before = list(found.handlers)
    yield found
    for handler in [handler for handler in found.handlers if handler not in before]:
        found.removeHandler(handler)
        handler.close()
    found.propagate = True


def test_the_log_has_a_line_for_each_event(logger: logging.Logger):
    start_log()
    start_log()
    logging.getLogger("tui_prune.app.keeper").info("chosen: ratio 0.0 → 0.5")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("tui_prune.app.jobs").exception("verifying: failed")
    lines = log_file().read_text().splitlines()
    assert lines[0].endswith("chosen: ratio 0.0 → 0.5")
    assert "ValueError: broken" in lines[-1]
    assert sum("chosen" in line for line in lines) == 1
    assert log_file().stat().st_mode & 0o777 == 0o600
    assert log_file().is_relative_to(state_folder())


def test_the_log_doesnt_grow_for_ever(logger: logging.Logger):
    start_log()
    for _ in range(30):
        logging.getLogger("tui_prune.app").info("x" * 100_000)
    assert sum(file.stat().st_size for file in log_file().parent.iterdir()) < 2_100_000


def test_no_log_is_no_failure(logger: logging.Logger, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "state").write_text("a file where the folder should be")
    start_log()
    logging.getLogger("tui_prune.app").error("nobody reads this")
    (tmp_path / "state").unlink()
    start_log()
    log_file().mkdir()
    logging.getLogger("tui_prune.app").error("nobody reads this either")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3 * 3600 + 100, "3 hours ago"),
        (86400, "1 day ago"),
        (20 * 86400, "2 weeks ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str):
    assert ago(NOW, NOW + seconds) == words


def test_long_ago_is_a_date():
    assert ago(NOW, NOW + 300 * 86400) in ("on 14 Nov 2023", "on 15 Nov 2023")
