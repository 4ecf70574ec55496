"""The command line with a task: accuracy, suggestions, recovery, the sensitivity scan."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tui_prune.cli.main import app

TASK = """
import torch
from net import IMAGES

def evaluate(model):
    with torch.no_grad():
        return float(torch.sigmoid(model(IMAGES).mean()))

def calibration():
    return IMAGES.split(16)

def finetune(model, progress):
    with torch.no_grad():
        model.head.bias.fill_(4)
    progress(1.0, loss=0.5)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nIMAGES = torch.ones(32, 3, 8, 8)\nIMAGES[::2] = -1\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(0)\n"
        "        self.a, self.norm, self.b = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)\n"
        "        self.head = nn.Linear(8, 4)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.b(torch.relu(self.norm(self.a(x)))).mean((2, 3)))\n"
    )
    (tmp_path / "task.py").write_text(TASK)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tui-prune")


def test_the_whole_job_on_the_command_line(files: Path) -> None:
    network = (f"{files}/net.py:Net", "--input", "1,3,8,8", "--task", files / "task.py")
    done = call("prune", *network, "--suggest", "--target-macs", 0.6, "--recalibrate", "--finetune", "--json",
                "-o", files / "out.pt")  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["macs"]["after"] <= 0.6 * report["macs"]["before"]
    assert report["recovered"][-1] == "fine-tuned"
    assert set(report["accuracy"]) == {"before", "after", "recovered"}
    assert report["accuracy"]["recovered"] > report["accuracy"]["before"]
    assert report["equivalence"]["kind"] == "exact"
    assert call("verify", files / "out.pt", "--model", network[0]).exit_code == 0


def test_of_several_finalists_the_best_is_saved_as_it_was_trained(files: Path) -> None:
    (files / "task.py").write_text(
        TASK.replace("import torch\n", "import torch\nTRAINED = []\n", 1).replace(
            "fill_(4)", "fill_(4)\n        TRAINED.append(1)\n        print(len(TRAINED), file=open(LOG, 'w'))"
        ).replace("import torch\n", f"import torch\nLOG = {str(files / 'log')!r}\n", 1)
    )  # fmt: skip
    network = (f"{files}/net.py:Net", "--input", "1,3,8,8", "--task", files / "task.py")
    done = call("prune", *network, "--suggest", "--target-macs", 0.6, "--finetune", "--finalists", 2, "--json",
                "-o", files / "out.pt")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "fine-tuned" in json.loads(done.stdout)["recovered"]
    assert (files / "log").read_text() == "2\n"  # each finalist once, and the best of them not again


def test_accuracy_in_words_and_without_a_recovery(files: Path) -> None:
    network = (f"{files}/net.py:Net", "--input", "1,3,8,8", "--task", files / "task.py")
    done = call("prune", *network, "--ratio", 0.5, "-o", files / "out.pt")
    assert done.exit_code == 0, done.output
    assert any(line.startswith("accuracy ") and line.count("→") == 1 for line in done.stdout.splitlines())
    done = call("prune", *network, "--ratio", 0.5, "--finetune", "-o", files / "tuned.pt")
    assert any(line.startswith("fine-tuned: ") for line in done.stdout.splitlines())
    assert "After the cut was verified, its weights were fine-tuned." in done.stdout


def test_sensitivity_on_the_command_line(files: Path) -> None:
    network = (f"{files}/net.py:Net", "--input", "1,3,8,8", "--task", files / "task.py")
    done = call("sensitivity", *network, "--ratio", 0.25, "--ratio", 0.5, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(curve["layer"], [point["kept"] for point in curve["points"]]) for curve in found["curves"]] == [
        ("a", [6, 4]),
        ("b", [6, 4]),
    ]
    errors = found["errors"]["curves"][0]
    assert (errors["layer"], errors["points"][0]["kept"], set(errors["points"][0])) == (
        "a",
        7,
        {"ratio", "kept", "cut", "left"},
    )
    lines = call("sensitivity", *network, "--ratio", 0.25, "--ratio", 0.5).stdout.splitlines()
    titles = [number for number, line in enumerate(lines) if line.startswith("net.py:Net")]
    assert "from one pass" in lines[titles[0]]
    assert "with batch norm recalibrated" in lines[titles[1]]
    for title in titles:
        assert lines[title + 2].split() == ["cut", "alone", "width", "25", "%", "50", "%"]
        assert lines[title + 3].startswith("a ")


def test_dead_channels_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "dead.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
        "    nn.init.zeros_(model[1].weight[:3])\n"
        "    return model\n"
    )
    network = (f"{tmp_path}/dead.py:net", "--input", "1,3,8,8")
    assert "3 channels do nothing; tui-prune prune --dead cuts them." in call("inspect", *network).stdout
    done = call("prune", *network, "--dead", "--json", "-o", tmp_path / "out.pt")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [layer["after"] for layer in report["layers"]] == [5, 4]
    assert report["equivalence"]["max_error"] < 1e-5
    assert call("verify", tmp_path / "out.pt", "--model", f"{tmp_path}/dead.py:net").exit_code == 0
    assert call("prune", *network, "--dead", "--ratio", 0.5, "-o", tmp_path / "no.pt").exit_code == 2


def test_sensitivity_by_calibration_data_alone(files: Path) -> None:
    (files / "inputs.py").write_text("from net import IMAGES\ndef calibration():\n    return [IMAGES]\n")
    network = (f"{files}/net.py:Net", "--input", "1,3,8,8", "--task")
    found = [
        json.loads(call("sensitivity", *network, *options, "--json").stdout)
        for options in ([files / "inputs.py"], [files / "task.py", "--errors"])
    ]
    assert [set(one) for one in found] == [{"model", "errors"}] * 2
    done = call("prune", *network, files / "inputs.py", "--suggest", "--target-macs", 0.6, "-o", files / "out.pt")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--suggest"], "give --target-macs R or --target-params R"),
        (["--suggest", "--target-macs", "0.5", "--ratio", "0.5"], "leave --ratio, --layer and --threshold out"),
        (["--recalibrate"], "There is no task"),
        (["--finalists", "3", "--finetune"], "give --suggest and --finetune, too"),
        (["--procs", "2"], "give --finetune or --training, too"),
        (["--jobs", "2"], "give --suggest, too"),
        (
            ["--suggest", "--target-macs", "0.5", "--finetune", "--finalists", "2", "--procs", "2"],
            "finalists are shared out by --jobs N",
        ),
    ],
)
def test_wrong_options(files: Path, options: list[str], sentence: str) -> None:
    done = call("prune", f"{files}/net.py:Net", "--input", "1,3,8,8", "-o", files / "out.pt", *options)
    assert done.exit_code in (1, 2)
    assert sentence in done.stderr
    assert not (files / "out.pt").exists()


def test_a_task_that_fails_is_a_sentence_and_nothing_is_written(files: Path) -> None:
    (files / "task.py").write_text("def evaluate(model):\n    return 1 / 0\n")
    done = call("prune", f"{files}/net.py:Net", "--input", "1,3,8,8", "--task", files / "task.py", "--ratio", 0.5,
                "-o", files / "out.pt")  # fmt: skip
    assert (done.exit_code, done.stdout) == (1, "")
    assert "task.py, line 2: ZeroDivisionError" in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("Note: ")]) == 1
    assert not (files / "out.pt").exists()


def test_the_bundled_network_has_its_task(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_prune.tasks.task import Task

    monkeypatch.setattr(Task, "score", lambda task, model, progress=None: 0.5 if task.name == "digits.py" else 0.0)
    done = call("prune", "nin", "--ratio", 0.5, "--recalibrate", "--json", "-o", files / "out.pt")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["accuracy"] == {"before": 0.5, "after": 0.5, "recovered": 0.5}
    assert report["recovered"] == ["recalibrated"]


def test_help_names_the_scan() -> None:
    assert "\n  sensitivity " in call("--help").stdout
