"""The demo: its data, its task file and its trained weights."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from tui_prune.loading.open_model import open_model
from tui_prune.loading.sources.bundled import build_bundled, bundled_task, task_of_pruned
from tui_prune.models import digits
from tui_prune.models.nin import nin
from tui_prune.models.train_digits import WEIGHTS, hidden_norms
from tui_prune.session.session import Session


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = nin()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def test_shipped_weights_are_good_and_say_what_they_are(trained: nn.Module) -> None:
    accuracy = digits.evaluate(trained)
    assert accuracy >= 0.97
    assert WEIGHTS.stat().st_size < 5e6
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "nin"
    assert float(metadata["accuracy"]) == pytest.approx(accuracy, abs=0.005)


def test_scales_tell_channels_apart(trained: nn.Module) -> None:
    scales = torch.cat([norm.weight.detach().abs() for norm in hidden_norms(trained)])
    assert len(scales) == 1408
    low, high = scales.quantile(torch.tensor([0.4, 0.9]))
    assert low < 0.02
    assert high > 0.05


def test_half_of_the_channels_are_not_needed() -> None:
    model = nin()
    model.load_state_dict(load_file(WEIGHTS))
    norms = hidden_norms(model)
    threshold = torch.cat([norm.weight.detach().abs() for norm in norms]).median()
    with torch.no_grad():
        for norm in norms:
            kept = norm.weight.abs() > threshold
            assert kept.any()
            norm.weight *= kept
            norm.bias *= kept
    assert digits.evaluate(model) >= 0.97


def test_split_is_fixed_disjoint_and_even() -> None:
    with np.load(digits.DATA) as data:
        images, labels, test = data["images"], data["labels"], data["test"]
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    assert images.max() == 16
    assert test.sum() == 450
    assert np.flatnonzero(test)[:5].tolist() == [21, 24, 28, 34, 35]
    of_class = np.bincount(labels[test]) / np.bincount(labels)
    assert np.abs(of_class - 0.25).max() < 0.01

    train_pixels, train_labels = digits.split("train")
    test_pixels, test_labels = digits.split("test")
    assert len(train_pixels) == len(train_labels) == 1347
    assert len(test_pixels) == len(test_labels) == 450
    seen = {image.numpy().tobytes() for image in train_pixels}
    assert not any(image.numpy().tobytes() in seen for image in test_pixels)


def test_calibration_is_the_same_training_images_each_time() -> None:
    first, second = list(digits.calibration()), list(digits.calibration())
    assert [batch.shape for batch in first] == [(64, 3, 32, 32)] * 8
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert abs(torch.cat(first).mean()) < 0.1


def test_evaluate_leaves_each_module_in_its_mode() -> None:
    model = tiny().train()
    model[1].eval()
    assert 0 <= digits.evaluate(model) <= 1
    assert model.training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_finetune_learns_reports_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "FINETUNE_EPOCHS", 1)
    torch.manual_seed(0)
    model = tiny().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reports: list[tuple[float, float | None, float | None]] = []
    digits.finetune(model, lambda done, loss=None, accuracy=None: reports.append((done, loss, accuracy)))
    shares = [done for done, _, _ in reports]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(loss > 0 for _, loss, _ in reports[1:])
    assert reports[-1][2] == digits.evaluate(model)
    assert not model.training
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def stop(done: float, **_: float | None) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        digits.finetune(model, stop)
    assert not model.training


def test_task_file_loads_by_its_path() -> None:
    spec = importlib.util.spec_from_file_location("task", digits.__file__)
    task = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(task)
    assert 0 <= task.evaluate(tiny()) <= 1


def tiny() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, 10))


def test_a_pruned_checkpoint_of_the_digits_network_has_its_task(tmp_path: Path) -> None:
    found = []
    for arguments in ({}, {"num_classes": 7}):
        made = Session.open(model=build_bundled("nin", arguments), input_spec="1,3,32,32")
        made.set_ratio(0.5)
        made.save(tmp_path / "pruned.pt", force=True)
        found.append(task_of_pruned(open_model(str(tmp_path / "pruned.pt"))))
    assert found == [bundled_task("nin"), None]
    assert task_of_pruned(open_model("nin")) is None, "it has been cut nowhere, and its name says the task"
    assert task_of_pruned(open_model("resnet18")) is None
