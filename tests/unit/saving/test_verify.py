"""Verifying a pruned checkpoint with nothing but the file."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.archives.pruned_file import checksum
from tui_prune.errors import UsageError
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.result import Equivalence, Result
from tui_prune.saving.checkpoint import VerifyReport, read_checkpoint, verify_checkpoint
from tui_prune.saving.probe import take_probe
from tui_prune.session.session import Session


@pytest.fixture(scope="module")
def result() -> Result:
    session = Session.open()
    session.set_ratio(0.5)
    return session.cut()


@pytest.fixture
def saved(tmp_path: Path, result: Result) -> Path:
    return tui_prune.save(tmp_path / "out.pt", result)


def rewritten(path: Path, **changes: Any) -> Path:
    content = {**torch.load(path, weights_only=True), **changes}
    del content["checksum"]
    torch.save({**content, "checksum": checksum(content)}, path)
    return path


def failed(report: VerifyReport) -> list[str]:
    assert report.ok == all(check.ok for check in report.checks)
    return [check.name for check in report.checks if not check.ok]


def test_a_good_file_passes_every_check(saved: Path, result: Result) -> None:
    report = verify_checkpoint(saved)
    assert report.ok
    assert [check.name for check in report.checks] == ["checksum", "network", "parameters", "outputs"]
    assert 0 <= report.max_error <= 1e-4
    assert report.params == result.report.params.after
    assert report.macs == result.report.macs.after
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_wrong_weights_with_a_right_checksum_are_found_by_their_outputs(saved: Path) -> None:
    tensors = dict(read_checkpoint(saved).tensors)
    tensors["tnn_bin.2.conv.weight"] = tensors["tnn_bin.2.conv.weight"].flip(0)
    report = verify_checkpoint(rewritten(saved, tensors=tensors))
    assert failed(report) == ["outputs"]
    assert report.max_error > 1e-4
    assert "differ from the masked original's by" in report.checks[-1].detail


def test_weights_that_are_no_numbers_are_found(saved: Path) -> None:
    tensors = dict(read_checkpoint(saved).tensors)
    tensors["tnn_bin.2.conv.weight"] = tensors["tnn_bin.2.conv.weight"] * float("nan")
    content = torch.load(saved, weights_only=True)
    nothing = [{**output, "samples": output["samples"] * float("nan")} for output in content["probe"]["outputs"]]
    report = verify_checkpoint(rewritten(saved, tensors=tensors, probe={**content["probe"], "outputs": nothing}))
    assert failed(report) == ["outputs"]


ODD = (None, 1, "x", [], {}, [[]], {"a": 1}, -1, 2**70, float("nan"), torch.zeros(1).expand(9, 9), {1: 2}, True)


@pytest.mark.parametrize(
    "name", ["origin", "recipe", "report", "versions", "input_spec", "probe", "kept", "tensors", "edits"]
)
def test_odd_values_with_a_right_checksum_are_checked(saved: Path, name: str) -> None:
    whole = torch.load(saved, weights_only=True)
    places = [
        (name,),
        *((name, key) for key in (whole[name] if isinstance(whole[name], dict) and len(whole[name]) < 9 else ())),
    ]
    for *above, last in places:
        for value in ODD:
            content = copy.deepcopy(whole)
            target = content[above[0]] if above else content
            target[last] = value
            verify_checkpoint(rewritten(saved, **{key: content[key] for key in content if key != "checksum"}))


def test_a_report_that_lies_is_found(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    content["report"]["params"]["after"] += 1
    assert failed(verify_checkpoint(rewritten(saved, report=content["report"]))) == ["parameters"]


def test_a_network_that_does_not_run_is_found(saved: Path) -> None:
    edits = [edit for edit in torch.load(saved, weights_only=True)["edits"] if edit[1] != "num_features"]
    report = verify_checkpoint(rewritten(saved, edits=[*edits, ["tnn_bin.0", "groups", 0]]))
    assert failed(report) == ["outputs"]
    assert "The network doesn't run: RuntimeError" in report.checks[-1].detail


def test_a_damaged_file_is_a_report_and_a_missing_one_is_wrong_use(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    report = verify_checkpoint(saved)
    assert failed(report) == ["checksum"]
    assert report.to_dict()["max_error"] is None
    with pytest.raises(UsageError, match="There is no file"):
        verify_checkpoint(saved.with_name("nothing.pt"))


def test_outputs_of_another_shape_are_found(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    content["probe"]["outputs"][0]["shape"] = [2, 5]
    report = verify_checkpoint(rewritten(saved, probe=content["probe"]))
    assert failed(report) == ["outputs"]
    assert report.to_dict()["max_error"] is None


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, image: Tensor, scale: Tensor | None = None) -> dict[str, Any]:
        out = self.body(image)
        return {"out": out if scale is None else out * scale, "size": (out.mean(),), "label": out.argmax(1)}


def test_a_network_of_the_users_is_passed_and_may_put_out_anything(tmp_path: Path) -> None:
    path = tui_prune.save(tmp_path / "out.pt", tui_prune.prune(Own(), torch.randn(1, 3, 16, 16), ratio=0.5))
    with pytest.raises(UsageError, match="pass the network"):
        verify_checkpoint(path)
    report = verify_checkpoint(path, Own())
    assert report.ok, report
    assert len(read_checkpoint(path).probe.outputs) == 2


def test_where_a_mask_cannot_tell_what_is_right_the_network_is_compared_with_itself(
    tmp_path: Path, result: Result
) -> None:
    structural = dataclasses.replace(
        result, report=dataclasses.replace(result.report, equivalence=Equivalence("structural", 0.1))
    )
    path = tui_prune.save(tmp_path / "out.pt", structural)
    assert read_checkpoint(path).probe.reference == "cut network"
    report = verify_checkpoint(path)
    assert report.ok
    assert "its own from when it was saved" in report.checks[-1].detail


def test_keyword_arguments_of_the_forward_pass_belong_to_the_example() -> None:
    image, model = torch.randn(1, 3, 8, 8), Own()
    plain, scaled = (take_probe(model, (image,), keywords, "", [], exact=False) for keywords in ({}, KEYWORDS))
    assert scaled.keywords["scale"] == 2
    assert torch.equal(scaled.outputs[0].samples, plain.outputs[0].samples * 2)


KEYWORDS = {"scale": torch.tensor(2.0)}


def test_large_outputs_are_sampled_and_still_checked(tmp_path: Path) -> None:
    path = tui_prune.save(tmp_path / "out.pt", tui_prune.prune(Own(), torch.randn(1, 3, 150, 150), ratio=0.5))
    output = read_checkpoint(path).probe.outputs[0]
    assert output.shape == (1, 4, 148, 148)
    assert output.step == 6
    assert output.samples.numel() < 2**14
    assert verify_checkpoint(path, Own()).ok
    tensors = dict(read_checkpoint(path).tensors)
    tensors["body.0.weight"] = tensors["body.0.weight"].flip(0)
    assert failed(verify_checkpoint(rewritten(path, tensors=tensors), Own())) == ["outputs"]


def test_large_inputs_are_made_again_in_place_of_being_saved(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 8, 3, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
    )
    session = Session.open(f"{tmp_path}/net.py:make", input_spec="1,3,400,400")
    session.set_ratio(0.5)
    path = session.save(tmp_path / "out.pt")
    assert path.stat().st_size < 100_000
    checkpoint = read_checkpoint(path)
    assert checkpoint.probe.inputs is None
    assert make_example_inputs(checkpoint.input_spec)[0][0].shape == (1, 3, 400, 400)
    network = Session.open(f"{tmp_path}/net.py:make").opened.module
    assert verify_checkpoint(path, network).ok


def test_the_file_is_about_as_large_as_its_weights(saved: Path, result: Result) -> None:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in result.model.state_dict().values())
    assert saved.stat().st_size < weights + 120_000
