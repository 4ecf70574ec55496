"""What is kept of the user's: sessions, recipes, settings; and what they type."""

from __future__ import annotations

import dataclasses
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.attacks.checkpoints import network
from tests.attacks.mutating import DEEP, DIGITS, HUGE, ODD_VALUES, as_json, changed, damaged
from tests.attacks.trying import Try, attack
from tui_prune import config
from tui_prune.app import keymap
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.input_spec import parse_input_spec
from tui_prune.loading.open_model import open_model
from tui_prune.loading.request import OpenRequest
from tui_prune.planning import answers
from tui_prune.planning.recipe import Recipe
from tui_prune.planning.sizes import parse_size
from tui_prune.session.autosave import saved_work
from tui_prune.session.session import Session

JSON_VALUES = (*ODD_VALUES, DEEP, DIGITS, HUGE)


@cache
def session() -> Session:
    """On a small network, with some choices behind it."""
    made = Session(open_model(model=network(), input_spec="1,3,8,8"))
    made.set_ratio(0.5)
    made.set_alignment(2)
    made.toggle_lock("3")
    return made


@attack("kept sessions", "what can't be read counts as none; no choice is taken from it", 1500)
def kept_sessions(rng: random.Random, folder: Path) -> Iterator[Try]:
    from tui_prune.app.keeper import kept_recipe

    subject = session()
    request = OpenRequest("nin")
    state = {
        "chosen": True,
        "session": subject.state(),
        "recipe": subject.recipe.to_dict(),
        "position": {"row": "0", "tab": "structure"},
        "recovered": None,
    }
    path = saved_work.write(saved_work.SavedWork(request, "nin", "cut 50 %", time.time(), state))
    import json

    content = json.loads(path.read_text())
    before = subject.state()
    while True:
        if rng.random() < 0.25:
            label, data = damaged(rng, json.dumps(content).encode())
        else:
            label, value = changed(rng, content, JSON_VALUES)
            data = as_json(rng, value)

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            for work in (saved_work.kept_work(request), *saved_work.recent()):
                if work is None:
                    continue
                assert work.changed_files is not None
                try:
                    kept_recipe(work)
                    subject.restore(work.state.get("session", {}))
                except TuiPruneError:
                    continue
                finally:
                    subject.restore(before)

        yield label, action


FULL = {
    **Recipe().to_dict(),
    "ratio": 0.5,
    "layers": {"0": 0.25, "layer*": 0.5},
    "layer_align": {"3": 4},
    "lock": ["3"],
    "unlock": ["x"],
    "align": 8,
}


@attack("recipes", "a sentence, or a recipe that reads back as itself", 1500)
def recipes(rng: random.Random, folder: Path) -> Iterator[Try]:
    import tomli_w

    plain = {key: value for key, value in FULL.items() if value is not None}
    good = tomli_w.dumps({key: value for key, value in plain.items() if value not in ([], {})}).encode()
    path = folder / "recipe.toml"
    while True:
        if rng.random() < 0.5:
            label, data = damaged(rng, good)

            def action(data: bytes = data) -> None:
                path.write_bytes(data)
                try:
                    recipe = Recipe.from_toml(path)
                except UsageError as error:
                    assert len(str(error)) < 3000
                    return
                path.write_text(recipe.to_toml(), encoding="utf-8")
                assert Recipe.from_toml(path) == recipe

        else:
            label, value = changed(rng, FULL, (*ODD_VALUES, 10**400, -(10**5000)))

            def action(data: Any = value) -> None:
                try:
                    recipe = Recipe.from_dict(data)
                except UsageError as error:
                    assert len(str(error)) < 3000
                    return
                assert Recipe.from_dict(recipe.to_dict()) == recipe
                try:
                    session().prepare(recipe)
                    session().preview(recipe)
                except TuiPruneError:
                    return

        yield label, action


SETTINGS = b"""theme = "light"
mouse = false
[keys]
lock = "ctrl+l"
"ratio.more" = "w,f5"
quit = "f10"
"""


@attack("settings", "the rest applies, and a sentence says what is wrong", 1500)
def settings(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = config.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    words = (
        "theme",
        "mouse",
        "keys",
        "=",
        "[",
        "]",
        "{",
        '"',
        "'",
        "\n",
        "0x",
        "inf",
        "nan",
        "\x1b[2J",
        "[[",
        ".",
        "1",
    )
    while True:
        if rng.random() < 0.7:
            label, data = damaged(rng, SETTINGS)
        else:
            data = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 30))).encode()
            label = repr(data[:40])

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            found = config.load()
            assert found.theme in config.THEMES
            _, wrong = keymap.check(found.keys)
            for sentence in (*found.problems, *wrong):
                assert len(sentence) < 1000

        yield label, action


TYPED: tuple[Callable[[str], Any], ...] = (
    parse_input_spec,
    lambda text: parse_size("A size", text),
    answers.share,
    answers.alignment,
    answers.targets,
    answers.suggestion,
)


@attack("what is typed", "a value, or a sentence", 2000)
def typed(rng: random.Random, folder: Path) -> Iterator[Try]:
    pieces = (
        "1", "9" * 30, "0", "3", ",", ";", "=", ":int", "[", "]", "%", " ", ".", "-", "+", "e9", "MB", "GiB", "macs",
        "params", "latency", "finalists", "auto", "nan", "inf", "٣", "²", "\x1b[2J", "\u202e", "\x00", "x" * 300,
        "/", "~", "~nobody", "..", "1,3,224,224", "50 %", "5 MB", "9" * 5000,
    )  # fmt: skip
    while True:
        text, read = "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9))), rng.choice(TYPED)

        def action(text: str = text, read: Callable[[str], Any] = read) -> None:
            try:
                read(text)
            except UsageError as error:
                assert len(str(error)) < 12_000

        yield f"{text!r:.60}", action


@attack("claims of other windows", "nobody is there, or somebody who is told of", 300)
def claims(rng: random.Random, folder: Path) -> Iterator[Try]:
    import json

    from tui_prune.session.autosave.claims import Claim

    request = OpenRequest("nin")
    other = Claim(request)
    other.take()
    path = other._path("")
    good = json.loads(path.read_text())
    while True:
        label, value = changed(rng, {"claim": good}, JSON_VALUES)
        data = damaged(rng, path.read_bytes())[1] if rng.random() < 0.3 else as_json(rng, value.get("claim"))

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            mine = Claim(request)
            holder = mine.holder()
            assert holder is None or isinstance(holder.process, int)
            mine.take_copy()
            assert not mine.lost
            mine.release()
            path.write_text(json.dumps(good))
            found = Claim(request)
            assert found.holder() is not None, "a living window isn't seen any more"
            found.release()

        yield label, action


@attack("caches", "what can't be read counts as none, and is written anew", 500)
def caches(rng: random.Random, folder: Path) -> Iterator[Try]:
    from tui_prune.cost.measured_times import Remembered
    from tui_prune.files import read_json, write_json

    path = config.folders()["cache"] / "latency.json"
    remembered = Remembered("here")
    remembered.add({f"call {n}": 0.25 for n in range(5)})
    good = read_json(path)
    while True:
        if rng.random() < 0.4:
            label, data = damaged(rng, path.read_bytes())
        else:
            label, value = changed(rng, good, JSON_VALUES)
            data = as_json(rng, value)

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            found = Remembered("here")
            found.add({"another": 0.5})
            assert found["another"] == 0.5
            write_json(path, good)

        yield label, action


@attack("requests", "a sentence, or a network", 300)
def requests(rng: random.Random, folder: Path) -> Iterator[Try]:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "empty.pt").touch()
    (folder / "broken.py").write_text("def make(:\n")
    (folder / "net.py").write_text("import torch\ndef make():\n    return torch.nn.Conv2d(3, 4, 1)\nx = 1\n")
    specs = (
        "pipe", "folder", "empty.pt", "broken.py:make", "net.py:make", "net.py", "net.py:x", "net.py:", ":make", "",
        "nin", "/dev/null", "/dev/zero", "~nobody/x.pt", "x" * 300, "timm:", "timm:../x", "hf:", "\x00", "\x1b[2J", ".",
        "/", "net.py:make:make", "\udcff.pt", "pipe:make", "folder/../net.py:make", "quantized_resnet18",
    )  # fmt: skip
    inputs = (None, "1,3,8,8", "", "x", "9" * 5000, "1,3,9999999,9999999", "mask=1,2;mask=1,2")
    while True:
        values = {
            "spec": rng.choice(specs),
            "weights": rng.choice((None, None, *specs[:3], "/dev/zero", "x" * 300)),
            "input_spec": rng.choice(inputs),
            "device": rng.choice(("cpu", "cpu", "cpu", "meta", "cuda:77", "", "x")),
        }

        def action(values: dict[str, Any] = values) -> None:
            request = OpenRequest.from_dict(values)
            assert saved_work.kept_work(request) is None
            try:
                open_model(request.spec, weights=request.weights, input_spec=request.input_spec, device=request.device)
            except TuiPruneError as error:
                assert len(str(error)) < 12_000

        yield str(dataclasses.asdict(OpenRequest.from_dict(values)))[:100], action
