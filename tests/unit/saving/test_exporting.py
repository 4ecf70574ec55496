"""Exports of pruned checkpoints: open sizes, the comparison, whole files, and whose fault a failure is."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import tui_prune
from tui_prune.cli.main import app
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.sources.factory_file import load_factory
from tui_prune.saving.exporting import formats

NETWORK = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 4)

    def forward(self, image):
        return self.last(self.norm(self.first(image)).relu().mean((2, 3)))

class Fixed(Small):
    def forward(self, image):
        return super().forward(image.view(1, 3, 8, 8))

class ByValue(Small):
    def forward(self, image):
        out = super().forward(image)
        return out + 1 if out.sum().item() > 100 else out
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exports")
    (made / "net.py").write_text(NETWORK)
    return made


def pruned(folder: Path, name: str) -> Path:
    """A checkpoint of one of the networks, cut by half."""
    file = folder / f"{name}.pt"
    if not file.exists():
        model = load_factory(f"{folder / 'net.py'}:{name}")()
        tui_prune.save(file, tui_prune.prune(model.eval(), torch.randn(1, 3, 8, 8), ratio=0.5))
    return file


def factory(folder: Path, name: str) -> Any:
    return load_factory(f"{folder / 'net.py'}:{name}")


def test_a_program_of_torch_takes_other_batches_and_images(folder: Path, tmp_path: Path) -> None:
    source, output = pruned(folder, "Small"), tmp_path / "small.pt2"
    report = tui_prune.export(source, output, model=factory(folder, "Small"))
    assert report.batch and report.sizes and report.max_error <= 1e-6
    assert report.bytes == output.stat().st_size
    network = tui_prune.load(source, factory(folder, "Small")())
    images = torch.randn(5, 3, 20, 12)
    torch.testing.assert_close(torch.export.load(output).module()(images), network(images))


@pytest.mark.skipif(find_spec("onnxruntime") is None or find_spec("onnxscript") is None, reason="extra export")
def test_onnx_gives_the_same_numbers_for_other_batches(folder: Path, tmp_path: Path) -> None:
    import onnxruntime

    source, output = pruned(folder, "Small"), tmp_path / "small.onnx"
    done = CliRunner().invoke(
        app, ["export", str(source), "-o", str(output), "--model", f"{folder / 'net.py'}:Small", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["format"] == "onnx" and report["opset"] >= 13 and report["max_error"] <= 1e-4
    session = onnxruntime.InferenceSession(str(output))
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    images = torch.randn(7, 3, 12, 8)
    network = tui_prune.load(source, factory(folder, "Small")())
    (given,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), network(images), rtol=1e-4, atol=1e-5)


def test_sizes_that_the_network_fixes_stay_fixed(folder: Path, tmp_path: Path) -> None:
    report = tui_prune.export(pruned(folder, "Fixed"), tmp_path / "fixed.pt2", model=factory(folder, "Fixed"))
    assert not report.batch and not report.sizes
    assert [shapes for shapes, _ in report.compared] == ["1x3x8x8"]


def test_an_original_that_does_not_export_is_said_to_be_the_cause(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TuiPruneError, match=r"original network can't be exported to \.pt2 either .*isn't the cut"):
        tui_prune.export(pruned(folder, "ByValue"), tmp_path / "out.pt2", model=factory(folder, "ByValue"))
    assert not list(tmp_path.iterdir())


def test_an_export_of_other_numbers_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = formats.FORMATS["pt2"]

    def wrong(path: Path) -> Any:
        run = right.open(path)
        return lambda arguments: [output + 1 for output in run(arguments)]

    form = formats.Format(right.suffix, right.words, (), right.pack, wrong)
    monkeypatch.setitem(formats.FORMATS, "pt2", form)
    (tmp_path / "out.pt2").write_text("mine")
    with pytest.raises(TuiPruneError, match="gives other numbers than the network on inputs of 1x3x8x8"):
        tui_prune.export(pruned(folder, "Small"), tmp_path / "out.pt2", model=factory(folder, "Small"), force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("out.tflite", {}, r"Name a file that ends in \.onnx or \.pt2"),
        ("out.onnx", {"format": "tflite"}, "--format must be one of onnx, pt2"),
        ("out.pt2", {"opset": 18}, "--opset is a choice of ONNX"),
    ],
)
def test_a_wrong_choice_is_a_sentence(
    folder: Path, tmp_path: Path, name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        tui_prune.export(pruned(folder, "Small"), tmp_path / name, model=factory(folder, "Small"), **options)


def test_an_existing_file_and_a_missing_package_are_told_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.pt2").touch()
    with pytest.raises(TuiPruneError, match="exists already"):
        tui_prune.export(folder / "none.pt", tmp_path / "out.pt2")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs onnx and onnxscript and onnxruntime: pip install"):
        tui_prune.export(folder / "none.pt", tmp_path / "out.onnx")


def test_inputs_by_name_and_whole_numbers_keep_their_kind(tmp_path: Path) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.inner, self.last = nn.Embedding(20, 8), nn.Linear(8, 12), nn.Linear(12, 3)

        def forward(self, tokens: Tensor, *, mask: Tensor) -> dict[str, Tensor]:
            weighted = self.table(tokens) * mask[..., None]
            return {"scores": self.last(self.inner(weighted).relu()), "tokens": tokens}

    tokens, mask = torch.randint(0, 20, (1, 6)), torch.rand(1, 6)
    result = tui_prune.prune(Words().eval(), tokens, example_kwargs={"mask": mask}, ratio=0.5)
    source = tui_prune.save(tmp_path / "words.pt", result)
    report = tui_prune.export(source, tmp_path / "words.pt2", model=Words())
    assert report.batch and report.sizes
    assert [shapes for shapes, _ in report.compared][:2] == ["1x6, 1x6", "3x6, 3x6"]


def test_a_checkpoint_is_not_saved_under_the_name_of_an_export(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["prune", "nin", "-o", str(tmp_path / "out.onnx"), "--ratio", "0.5"])
    assert done.exit_code == 2
    assert f"tui-prune export {tmp_path / 'out.pt'} -o {tmp_path / 'out.onnx'}" in done.output.replace("\n", " ")
    result = tui_prune.prune(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), torch.randn(1, 4), ratio=0.5)
    with pytest.raises(UsageError, match="is the name of an export"):
        tui_prune.save(tmp_path / "out.pt2", result)
    assert not list(tmp_path.iterdir())
