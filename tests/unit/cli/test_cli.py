"""The command line: exit statuses, sentences on stderr, the objects of --json, and which recipe wins."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import torch
from typer.testing import CliRunner

from tui_prune.cli.main import app
from tui_prune.models import factory

FIRST = "tnn_bin.0"
SECOND = "tnn_bin.2.conv"
TUI_PRUNE = (sys.executable, "-m", "tui_prune")


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tui-prune")


def process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*TUI_PRUNE, *(str(argument) for argument in arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def in_terminal(*arguments: str | Path) -> tuple[int | None, str]:
    """The exit status and the screen's text of a run in a pseudo-terminal."""
    child = pexpect.spawn(TUI_PRUNE[0], [*TUI_PRUNE[1:], *(str(argument) for argument in arguments)], timeout=300)
    text = child.read().decode()
    child.close()
    return child.exitstatus, text


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of `nin` cut by half, written by the command line, and the object it printed."""
    path = tmp_path_factory.mktemp("pruned") / "nin.pt"
    done = call("prune", "nin", "-o", path, "--ratio", "0.5", "--align", "8", "--json")
    assert done.exit_code == 0, done.output
    return path, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ratio", "1.5"], "ratio must be a share"),
        (["--layer", FIRST], "--layer takes NAME=R, such as 'layer1.*=0.25'; it was 'tnn_bin.0'."),
        (["--layer", "=0.5"], "--layer takes NAME=R"),
        (["--layer-align", f"{FIRST}=0.5"], "--layer-align takes NAME=N"),
        (["--align", "0"], "align must be a whole number"),
        (["--align-rounding", "sideways"], "align_rounding must be one of nearest, up, down"),
        (["--criterion", "luck"], "criterion must be one of l1, l2"),
        (["--scope", "galactic"], "scope must be one of local, global"),
        (["--residual", "maybe"], "residual must be one of cut, keep"),
        (["--grouped", "oddly"], "grouped must be one of auto, even, whole"),
        (["--heads", "half"], "heads must be one of width, whole, auto"),
        (["--recipe", "no_such_file.toml"], "The recipe no_such_file.toml can't be read"),
        (["--layer", "no_such_layer=0.5"], "no_such_layer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_recipe_is_a_wrong_use(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = call("prune", "nin", "-o", tmp_path / "out.pt", *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["ratio = ", "ratios = 0.5", "ratio = 'half'", "layers = 0.5"])
def test_a_wrong_recipe_file_is_a_wrong_use(text: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    done = call("prune", "nin", "-o", tmp_path / "out.pt", "--recipe", recipe)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["prune", "nin"],
        ["prune", "-o", "out.pt"],
        ["inspect"],
        ["inspect", "nin", "resnet18"],
        ["plot", "nin"],
        ["plot", "nin", "--layer", FIRST, "--kind", "pie"],
        ["plot", "nin", "--layer", "no_such_layer"],
        ["plot", "nin", "--layer", FIRST, "-o", "picture.png"],
    ],
    ids=" ".join,
)
def test_wrong_use(arguments: list[str]) -> None:
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr


def test_a_model_that_is_not_there() -> None:
    done = call("inspect", "no_such_network")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no_such_network" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_app_wants_a_terminal() -> None:
    for arguments in ([], ["nin"], ["open", "nin"], ["--device", "cpu", "nin"]):
        done = process(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("The app needs a terminal")


def test_a_model_without_a_command_opens_the_app() -> None:
    status, text = in_terminal("--recipe", "no_such_file.toml", "nin")
    assert status == 2
    assert text.startswith("The recipe no_such_file.toml can't be read")


def test_help_lists_every_command() -> None:
    done = call("--help")
    assert done.exit_code == 0
    for name in ("open", "inspect", "prune", "verify", "plot"):
        assert f"\n  {name} " in done.stdout


def test_inspect_json() -> None:
    done = call("inspect", "nin", "--json")
    assert done.exit_code == 0, done.output
    inspection = json.loads(done.stdout)
    assert inspection["model"] == "nin"
    assert inspection["input"] == "1,3,32,32"
    assert inspection["params"] > 900_000
    first = inspection["layers"][0]
    assert {key: first[key] for key in ("name", "kind", "width", "group", "locked")} == {
        "name": FIRST, "kind": "conv 5x5", "width": 192, "group": FIRST, "locked": None
    }  # fmt: skip
    assert inspection["groups"][0]["layers"] == [FIRST]
    assert 0 < inspection["cuttable_share"] <= 1
    assert [lock["reason"] for lock in inspection["locks"]] == ["model output"]


def test_inspect_in_words() -> None:
    done = call("inspect", "nin")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("nin · input 1,3,32,32 · ")
    assert any(line.split()[:4] == [FIRST, "conv", "5x5", "192"] for line in lines)
    assert any("model output" in line for line in lines)


def test_inspect_shows_ties_and_blocks() -> None:
    inspection = json.loads(call("inspect", "nin_grouped_wide", "--json").stdout)
    assert any(group["blocks"] for group in inspection["groups"])
    done = call("inspect", "nin_grouped_wide")
    assert "blocks that must keep equally many" in done.stdout
    assert done.stderr.startswith("Note: ")  # that its weights are random


def test_prune_json(pruned: tuple[Path, dict[str, Any]]) -> None:
    path, report = pruned
    assert list(report) == [
        "model", "recipe", "params", "macs", "bytes", "layers", "locks", "equivalence", "seconds", "output"
    ]  # fmt: skip
    assert report["model"] == "nin"
    assert report["recipe"]["ratio"] == 0.5
    assert report["recipe"]["align"] == 8
    for name in ("params", "macs", "bytes"):
        assert 0 < report[name]["after"] < report[name]["before"]
    first = next(layer for layer in report["layers"] if layer["name"] == FIRST)
    assert first == {"name": FIRST, "kind": "conv 5x5", "before": 192, "after": 96}
    assert all(set(lock) == {"layer", "reason", "where"} for lock in report["locks"])
    assert report["equivalence"]["kind"] == "exact"
    assert report["equivalence"]["max_error"] <= 1e-4
    assert set(report["seconds"]) == {"trace", "plan", "cut", "verify"}
    assert report["output"] == str(path)
    assert path.stat().st_size > 0


def test_verify_in_a_fresh_process(pruned: tuple[Path, dict[str, Any]]) -> None:
    path, _ = pruned
    done = process("verify", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    done = call("verify", path)
    assert done.exit_code == 0
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["ok"] * 4


def test_verify_of_what_is_no_checkpoint(tmp_path: Path) -> None:
    for path, status in ((tmp_path / "missing.pt", 2), (Path(__file__), 1)):
        done = call("verify", path)
        assert (done.exit_code, done.stdout) == (status, "")
        assert path.name in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_damaged_checkpoint_is_not_confirmed(pruned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    content = bytearray(pruned[0].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(content)
    done = call("verify", damaged)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    done = call("verify", damaged, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["ok"] is False


def test_a_pruned_checkpoint_opens_as_it_is(pruned: tuple[Path, dict[str, Any]]) -> None:
    path, report = pruned
    done = call("inspect", path, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["params"] == report["params"]["after"]


def test_prune_in_words(tmp_path: Path) -> None:
    path = tmp_path / "out.pt"
    done = call("prune", "nin", "-o", path, "--layer", f"{FIRST}=0.25", "--criterion", "l1")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [FIRST, "conv", "5x5", "192", "144"] in [line.split() for line in lines]
    assert not any(line.startswith(f"{SECOND} ") for line in lines)
    assert "model output" in done.stdout
    assert "Verified: " in done.stdout
    assert lines[-2:] == ["    import tui_prune", f"    model = tui_prune.load({str(path)!r})"]
    names: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in lines[-2:]), names)
    assert names["model"].tnn_bin[0].out_channels == 144


def test_a_network_from_a_file_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))\n"
    )
    factory, path = f"{tmp_path}/my_network.py:make", tmp_path / "out.pt"
    done = call("prune", factory, "--input", "1,3,8,8", "--ratio", "0.5", "-o", path)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(
        f"\n    import tui_prune\n    from my_network import make\n"
        f"    model = tui_prune.load({str(path)!r}, model=make())\n"
    )
    done = call("verify", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--model" in done.stderr
    assert call("verify", path, "--model", factory).exit_code == 0


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "out.pt"
    path.write_text("mine")
    done = call("prune", "nin", "-o", path, "--ratio", "0.5")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert path.read_text() == "mine"
    assert call("prune", "nin", "-o", path, "--ratio", "0.5", "--force").exit_code == 0
    assert path.stat().st_size > 1000


def test_options_on_the_line_win_over_the_recipe_file(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "ratio = 0.5\nalign = 4\ncriterion = 'l1'\nlock = ['tnn_bin.10.*']\n"
        f"[layers]\n'tnn_bin.2.*' = 0.1\n'{FIRST}' = 0.75\n'tnn_bin.3.conv' = 0.5\n"
    )
    done = call(
        "prune", "nin", "-o", tmp_path / "out.pt", "--recipe", recipe, "--json",
        "--align", "8", "--layer", f"{FIRST}=0.25", "--layer", "tnn_bin.*.conv=0.5", "--lock", "tnn_bin.9.*",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {name: report["recipe"][name] for name in ("ratio", "align", "criterion", "layers", "lock")} == {
        "ratio": 0.5,
        "align": 8,
        "criterion": "l1",
        "layers": {"tnn_bin.2.*": 0.1, "tnn_bin.3.conv": 0.5, FIRST: 0.25, "tnn_bin.*.conv": 0.5},
        "lock": ["tnn_bin.10.*", "tnn_bin.9.*"],
    }
    after = {layer["name"]: layer["after"] for layer in report["layers"]}
    assert (after[FIRST], after[SECOND]) == (144, 80)


def test_a_terminal_sees_progress_that_is_gone_in_the_end() -> None:
    status, text = in_terminal("inspect", "nin")
    assert status == 0
    assert text.startswith("\r")
    assert "trace 100 %\x1b[K\r\x1b[Knin · input" in text


def test_interrupting_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_prune.session.session import Session

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "open", interrupt)
    done = call("inspect", "nin")
    assert (done.exit_code, done.output) == (130, "")


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [*TUI_PRUNE, "inspect", "nin", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        errors = child.stderr.read().decode()
        child.wait(timeout=300)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_inspect_says_how_a_weights_file_was_recognised(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    torch.save(factory("nin_grouped_same_width")(num_classes=4).state_dict(), file)
    done = CliRunner().invoke(app, ["inspect", str(file), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["recognised"]
    assert (found["network"], found["classes"], found["certain"]) == ("nin_grouped_same_width", 4, True)
    assert (found["fits"], found["others"]) == (1.0, [])
    assert "recognised as nin_grouped_same_width, 4 classes: all " in done.stderr
    assert json.loads(CliRunner().invoke(app, ["inspect", "nin", "--json"]).stdout)["recognised"] is None
