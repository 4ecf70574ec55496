"""All that the tool does, on a CUDA device: from opening to loading again on another device."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import tui_prune
from tui_prune.cli.main import app
from tui_prune.loading.open_model import open_model
from tui_prune.memory import said_of_memory
from tui_prune.planning.recipe import Recipe
from tui_prune.recovery.distillation import Training
from tui_prune.session.latency_work import table_of
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task
from tui_prune.workers import backend_for

NETWORKS = ("resnet18", "mobilenet_v2", "densenet121", "convnext_tiny", "vit_b_16", "shufflenet_v2_x1_0", "googlenet")

NET = """
import torch
from torch import nn

class Net(nn.Module):
    '''Computes a buffer in its forward pass, on the device of its input, and draws random numbers in it.'''

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
                                  nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, 4)
        self.register_buffer("scale", torch.full((1,), 0.5), persistent=False)

    def forward(self, x):
        noise = torch.rand(1, device=x.device, dtype=x.dtype) * 0
        places = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return self.head((self.body(x + noise) * self.scale + places * 0).mean((2, 3)))

make = Net
"""
TASK = """
import torch

IMAGES = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = (IMAGES[:, 0].mean((1, 2)) > 0).long()

def where(model):
    return next(model.parameters()).device

def evaluate(model):
    with torch.no_grad():
        return float((model(IMAGES.to(where(model))).argmax(1).cpu() == LABELS).float().mean())

def calibration():
    return [(images, labels) for images, labels in zip(IMAGES.split(16), LABELS.split(16))]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "task.py").write_text(TASK)
    return tmp_path


@pytest.fixture
def session(folder: Path, device: str) -> Session:
    torch.manual_seed(0)
    found = Session.open(f"{folder / 'net.py'}:make", input_spec="1,3,16,16", task=folder / "task.py", device=device)
    found.set_ratio(0.5)
    return found


def devices(module: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_cut_exactly_and_stay_on_the_device(name: str, device: str) -> None:
    opened = open_model(name, device=device)
    assert all(one.device.type == device for one in opened.example_inputs)
    before = opened.module.training
    result = tui_prune.prune(opened.module, opened.example_inputs, ratio=0.5)
    assert result.report.equivalence.kind == "exact" and result.report.equivalence.max_error <= 1e-4
    assert devices(result.model) == devices(opened.module) == {device} and opened.module.training == before


def test_a_trace_leaves_random_numbers_as_they_were(session: Session, device: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3, device=device)
    torch.manual_seed(5)
    session.cut()
    torch.testing.assert_close(torch.rand(3, device=device), expected)


def test_half_precision_and_channels_last(session: Session, device: str) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        model = session.opened.module.to(dtype).to(memory_format=torch.channels_last)
        result = tui_prune.prune(model, torch.randn(1, 3, 16, 16, device=device, dtype=dtype), ratio=0.5)
        assert next(result.model.parameters()).dtype == dtype and result.report.equivalence.kind == "exact"


def test_saved_here_and_loaded_there(session: Session, folder: Path, device: str) -> None:
    saved = session.save(folder / "out.pt")
    model = session.cut().model
    make = open_model(f"{folder / 'net.py'}:make", input_spec="1,3,16,16").module
    loaded = tui_prune.load(saved, model=make)
    assert devices(loaded) == {"cpu"}
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(x), model(x.to(device)).cpu(), rtol=1e-3, atol=1e-4)
    verified = CliRunner().invoke(app, ["verify", str(saved), "--model", f"{folder / 'net.py'}:make", "--json"])
    assert verified.exit_code == 0, verified.output
    again = Session.open(str(saved), model=type(make)(), device=device)
    assert devices(again.opened.module) == {device}


def test_recovering_on_the_device(session: Session, device: str) -> None:
    found = session.recover(reconstruct=True, recalibrate=True)
    assert devices(found.model) == {device} and found.report.accuracy is not None
    tuned = session.recover(recalibrate=False, finetune=True, training=Training(steps=20))
    assert devices(tuned.model) == {device} and tuned.curve
    assert all(tensor.dtype == torch.float32 for tensor in tuned.model.parameters())  # mixed precision was the loop's


def test_fine_tuning_in_a_process_of_each_device(session: Session, device: str) -> None:
    procs = torch.cuda.device_count() if device == "cuda" else 1
    if device == "cuda" and procs < 2:
        pytest.skip("there is one CUDA device")
    found = session.recover(recalibrate=False, finetune=True, training=Training(steps=8), procs=max(procs, 2))
    assert devices(found.model) == {device} and found.curve


def test_scanning_by_two_workers_on_one_device(session: Session, folder: Path, device: str) -> None:
    session.apply(Recipe())
    alone = session.sensitivity(ratios=(0.5,))
    for file in (folder / "state").rglob("*.json"):
        file.unlink()
    session.set_task(session.task)
    both = session.sensitivity(ratios=(0.5,), backend=backend_for(2, None, device))
    assert both.done == 1 and [curve.layer for curve in both.curves] == [curve.layer for curve in alone.curves]
    for one, other in zip(alone.curves, both.curves, strict=True):
        assert [point.score for point in one.points] == pytest.approx([point.score for point in other.points], abs=0.05)


def test_suggestions_and_criteria_by_data(session: Session, device: str) -> None:
    for criterion in ("taylor", "reconstruction", "fisher", "variance"):
        session.apply(Recipe(ratio=0.5, criterion=criterion))
        assert devices(session.cut().model) == {device}
    assert session.suggest(target_macs=0.6).ratio <= 1


def test_timing_and_latency_targets(session: Session, folder: Path, device: str) -> None:
    report = json.loads(
        CliRunner()
        .invoke(app, ["bench", f"{folder / 'net.py'}:make", "--input", "1,3,16,16", "--device", device, "--json"])
        .stdout
    )
    assert report["latency"]["before"] > 0 and report["memory"]["before"] > 0 and report["device"].startswith(device)
    session.apply(Recipe())
    table = table_of(session.latency_work("torch"), None, device)
    assert table["device"].startswith(device) and len(table["networks"]) == 4
    assert session.latency_report(table)["latency"] > 0


def test_too_little_memory_is_a_sentence(device: str, folder: Path) -> None:
    if device == "cpu":
        pytest.skip("a machine without a limit would swap")
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises(Exception) as caught:
        torch.empty(2 * free, dtype=torch.uint8, device=device)
    assert "The GPU has too little memory" in str(said_of_memory(caught.value))
    size = f"{max(1, free // 2**20)},3,1024,1024"  # 12 MB for each MB that is free
    found = CliRunner().invoke(app, ["inspect", "resnet18", "--input", size, "--device", device])
    assert found.exit_code in (1, 2) and "Traceback" not in found.output and "memory" in found.output


def test_a_task_in_memory_sees_the_device(session: Session, device: str) -> None:
    seen: list[str] = []

    def evaluate(model: nn.Module) -> float:
        seen.append(next(model.parameters()).device.type)
        return 1.0

    def inputs() -> list[Any]:
        return [torch.randn(8, 3, 16, 16)]  # on the CPU: they are moved

    result = tui_prune.recover(session.cut(), Task(evaluate=evaluate, calibration=inputs), reconstruct=True)
    outputs: Tensor = result.model(torch.randn(2, 3, 16, 16, device=device))
    assert {*seen} == {device} and outputs.device.type == device
