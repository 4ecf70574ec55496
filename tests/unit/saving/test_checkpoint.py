"""A pruned checkpoint: it loads anywhere, runs nothing that it names, and says what is wrong with it."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import tui_prune
from tui_prune.archives.origin import Edit, Origin
from tui_prune.archives.pruned_file import checksum
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.kept import compose_kept
from tui_prune.loading.open_model import open_model
from tui_prune.models import factory
from tui_prune.result import Result
from tui_prune.saving.checkpoint import read_checkpoint, verify_checkpoint
from tui_prune.session.session import Session

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """A convolution that is used twice, and a buffer that no state dict has."""

    def __init__(self, width: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.twice = nn.Conv2d(width, width, 3, padding=1)
        self.again = nn.Conv2d(width, width, 3, padding=1)
        self.again.weight = self.twice.weight
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, width).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) * self.scale
        x = self.norm(self.again(torch.relu(self.twice(x))))
        return self.head(x.mean((2, 3)))


def make() -> Tied:
    torch.manual_seed(3)
    return Tied()


@pytest.fixture(scope="module")
def nin_result() -> Result:
    return tui_prune.prune(factory("nin_pruned_half")(), IMAGE, ratio=0.5)


@pytest.fixture(scope="module")
def tied_result() -> Result:
    return tui_prune.prune(make(), IMAGE, ratio=0.5)


def outputs(model: nn.Module, x: Tensor = IMAGE) -> Tensor:
    with torch.no_grad():
        return model.eval()(x)


def test_a_saved_network_comes_back_ready_to_train_and_to_serve(tmp_path: Path, nin_result: Result) -> None:
    written = tui_prune.save(tmp_path / "out.pt", nin_result)
    model = tui_prune.load(written)
    assert torch.equal(outputs(model), outputs(nin_result.model))
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.tnn_bin[0].out_channels == model.tnn_bin[0].weight.shape[0] < 47
    model.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["out.pt"]


def test_the_file_loads_in_a_fresh_process_without_tracing(tmp_path: Path, nin_result: Result) -> None:
    tui_prune.save(tmp_path / "out.pt", nin_result)
    torch.save((IMAGE, outputs(nin_result.model)), tmp_path / "expected.pt")
    program = (
        "import sys, torch, tui_prune\n"
        "model = tui_prune.load('out.pt')\n"
        "image, expected = torch.load('expected.pt')\n"
        "assert torch.allclose(model(image), expected, rtol=1e-4, atol=1e-5)\n"
        "assert 'torchvision' not in sys.modules, 'it takes as long to import as torch, and is not needed here'\n"
        "print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


def test_torch_reads_the_file_without_pickle_and_without_us(tmp_path: Path, nin_result: Result) -> None:
    content = torch.load(tui_prune.save(tmp_path / "out.pt", nin_result), weights_only=True)
    assert (content["format"], content["version"]) == ("tui-prune", 1)
    assert content["origin"] == {"kind": "bundled", "name": "nin_pruned_half", "arguments": {}}
    assert content["recipe"]["ratio"] == 0.5
    assert content["report"]["params"]["after"] == sum(p.numel() for p in nin_result.model.parameters())
    assert content["versions"]["torch"] == torch.__version__
    kept = content["kept"]["tnn_bin.0.weight/0"]
    original = factory("nin_pruned_half")().state_dict()["tnn_bin.0.weight"]
    assert content["tensors"]["tnn_bin.0.weight"].shape[0] == len(kept) < len(original)
    assert content["edits"][0][1] in ("in_channels", "out_channels")


def test_what_was_kept_points_into_the_original(tmp_path: Path) -> None:
    model = make()
    checkpoint = read_checkpoint(tui_prune.save(tmp_path / "out.pt", tui_prune.prune(model, IMAGE, ratio=0.5)))
    own = dict(model.named_parameters(remove_duplicate=False))
    for name in ("first.weight", "norm.bias", "head.weight"):
        expected = own[name].detach()
        for dim in range(expected.dim()):
            positions = checkpoint.kept.get(f"{name}/{dim}")
            expected = expected if positions is None else expected.index_select(dim, positions)
        assert torch.equal(checkpoint.tensors[name], expected)


def test_a_named_network_keeps_its_number_of_classes(tmp_path: Path) -> None:
    result = tui_prune.prune(models.resnet18(num_classes=5), torch.randn(1, 3, 64, 64), ratio=0.5)
    model = tui_prune.load(tui_prune.save(tmp_path / "out.pt", result))
    assert isinstance(model, models.ResNet)
    assert model.fc.out_features == 5
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_a_network_of_the_users_own_must_be_passed(tmp_path: Path, tied_result: Result) -> None:
    path = tui_prune.save(tmp_path / "out.pt", tied_result)
    with pytest.raises(UsageError) as raised:
        tui_prune.load(path)
    assert f"holds a network of your own, the class {Tied.__module__}.Tied" in str(raised.value)
    assert f'load("{path}", model=Tied(...))' in str(raised.value)
    assert "--model file.py:factory" in str(raised.value)
    fresh = make()
    model = tui_prune.load(path, model=fresh)
    assert model is fresh
    assert torch.equal(outputs(model), outputs(tied_result.model))


def test_the_sentence_names_the_file_and_the_factory(tmp_path: Path, tied_result: Result) -> None:
    of_file = dataclasses.replace(tied_result, origin=Origin("file", "/home/ada/net.py:make"))
    with pytest.raises(UsageError) as raised:
        tui_prune.load(tui_prune.save(tmp_path / "out.pt", of_file))
    assert "a network of your own, make() of net.py" in str(raised.value)
    assert "model=make())" in str(raised.value)
    assert "--model net.py:make" in str(raised.value)


def test_shared_weights_stay_shared_and_computed_buffers_are_cut(tmp_path: Path, tied_result: Result) -> None:
    model = tui_prune.load(tui_prune.save(tmp_path / "out.pt", tied_result), model=make())
    assert model.again.weight is model.twice.weight
    assert model.scale.shape == (1, 8, 1, 1)
    assert "scale" not in model.state_dict()


@pytest.mark.parametrize(
    ("network", "difference"),
    [
        (lambda: Tied(4), r"it keeps position \d+ of first\.weight, which has only 4"),
        (lambda: Tied(16, classes=5), r"it has another shape of head\.weight \(4x8 instead of 5x8\)"),
        (lambda: factory("nin")(), r"it lacks tnn_bin\.0\.weight.*it has first\.weight"),
        (lambda: nn.Sequential(), r"it has first\.weight, first\.bias, twice\.weight and \d+ more too many"),
    ],
    ids=["narrower", "other classes", "another network", "no layers"],
)
def test_a_wrong_network_is_told_what_differs_and_left_alone(
    tmp_path: Path, tied_result: Result, network: Callable[[], nn.Module], difference: str
) -> None:
    path = tui_prune.save(tmp_path / "out.pt", tied_result)
    wrong = network()
    before = {name: tensor.clone() for name, tensor in wrong.state_dict().items()}
    with pytest.raises(TuiPruneError, match=f"was not made from this .*{difference}"):
        tui_prune.load(path, model=wrong)
    assert all(torch.equal(before[name], tensor) for name, tensor in wrong.state_dict().items())


def test_a_class_in_place_of_a_network_is_wrong_use(tmp_path: Path, tied_result: Result) -> None:
    with pytest.raises(UsageError, match=r"not its class: Tied\(\)"):
        tui_prune.load(tui_prune.save(tmp_path / "out.pt", tied_result), model=Tied)


def _rewritten(path: Path, **changes: Any) -> Path:
    """The file with other contents and a checksum that is right for them, as an attacker would make it."""
    content = {**torch.load(path, weights_only=True), **changes}
    del content["checksum"]
    torch.save({**content, "checksum": checksum(content)}, path)
    return path


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        ({"kind": "torchvision", "name": "os.system", "arguments": {}}, "no torchvision network 'os.system'"),
        ({"kind": "torchvision", "name": "resnet18", "arguments": {"weights": "DEFAULT"}}, "isn't built with weights"),
        (
            {"kind": "torchvision", "name": "resnet18", "arguments": {"num_classes": "__import__('os')"}},
            "isn't built with num_classes",
        ),
        ({"kind": "bundled", "name": "../../evil", "arguments": {}}, "no bundled network"),
        ({"kind": "torchvision", "name": "resnet18", "arguments": {"num_classes": -1}}, "can't be built"),
        ({"kind": "file", "name": "{folder}/evil.py:make", "arguments": {}}, "pass the network"),
        ({"kind": "module", "name": "os.system", "arguments": {}}, "pass the network"),
        ({"kind": "pickle", "name": "x", "arguments": {}}, "doesn't know how a network"),
    ],
)
def test_a_checkpoint_runs_nothing_that_it_names(
    tmp_path: Path, nin_result: Result, origin: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "evil.py").write_text("import os\nos.mkdir('ran')\n")
    origin = {**origin, "name": origin["name"].format(folder=tmp_path)}
    path = _rewritten(tui_prune.save(tmp_path / "out.pt", nin_result), origin=origin)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(TuiPruneError, match=sentence):
            tui_prune.load(path)
    finally:
        os.chdir(here)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "edit",
    [
        ["tnn_bin.0", "forward", 3],
        ["tnn_bin.0", "__class__", 3],
        ["tnn_bin.0", "training", True],
        ["tnn_bin.0", "out_channels", "8"],
        ["tnn_bin.0", "out_channels", True],
        ["tnn_bin.0", "num_heads", 3],
        ["tnn_bin.99", "out_channels", 3],
    ],
)
def test_a_checkpoint_sets_nothing_but_sizes(tmp_path: Path, nin_result: Result, edit: list[Any]) -> None:
    path = _rewritten(tui_prune.save(tmp_path / "out.pt", nin_result), edits=[edit])
    with pytest.raises(TuiPruneError, match=r"tnn_bin\.\d+\.\w+ can't be set"):
        tui_prune.load(path)


def test_a_size_that_load_would_refuse_is_not_saved(tmp_path: Path, nin_result: Result) -> None:
    strange = dataclasses.replace(nin_result, edits=(*nin_result.edits, Edit("tnn_bin.2", "shuffle_groups", 2)))
    with pytest.raises(TuiPruneError, match=r"tnn_bin\.2\.shuffle_groups can't be set"):
        tui_prune.save(tmp_path / "out.pt", strange)
    assert not list(tmp_path.iterdir())


def test_one_flipped_bit_is_found(tmp_path: Path, nin_result: Result) -> None:
    path = tui_prune.save(tmp_path / "out.pt", nin_result)
    weights = read_checkpoint(path).tensors["tnn_bin.3.conv.weight"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weights) + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(TuiPruneError, match="was damaged or altered: its checksum is wrong"):
        tui_prune.load(path)
    assert not verify_checkpoint(path).ok


def test_a_truncated_file_and_a_file_of_something_else(tmp_path: Path, nin_result: Result) -> None:
    path = tui_prune.save(tmp_path / "out.pt", nin_result)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(TuiPruneError, match="is cut short or damaged"):
        tui_prune.load(path)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(TuiPruneError, match="is no pruned checkpoint"):
        tui_prune.load(tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="There is no file"):
        tui_prune.load(tmp_path / "nothing.pt")


def test_a_file_of_a_newer_version_says_so(tmp_path: Path, nin_result: Result) -> None:
    path = _rewritten(tui_prune.save(tmp_path / "out.pt", nin_result), version=2)
    with pytest.raises(TuiPruneError, match="version 2 of the format.* Install the newest tui-prune"):
        tui_prune.load(path)


@pytest.mark.parametrize(
    ("part", "content"),
    [
        *((part, [3]) for part in ("edits", "kept", "tensors", "probe", "recipe")),
        ("kept", {"tnn_bin.0.weight/0": torch.tensor(3)}),
        ("kept", {"tnn_bin.0.weight/0": torch.tensor([0.5])}),
        ("tensors", {"tnn_bin.0.weight": "text"}),
        ("probe", {"inputs": None}),
        ("edits", [["tnn_bin.0"]]),
    ],
)
def test_parts_of_a_wrong_kind_are_no_crash(tmp_path: Path, nin_result: Result, part: str, content: Any) -> None:
    path = _rewritten(tui_prune.save(tmp_path / "out.pt", nin_result), **{part: content})
    with pytest.raises(TuiPruneError, match="isn't built like a pruned checkpoint"):
        tui_prune.load(path)


def test_a_pruned_checkpoint_opens_as_it_is_and_can_be_pruned_again(tmp_path: Path, nin_result: Result) -> None:
    path = tui_prune.save(tmp_path / "once.pt", nin_result)
    opened = open_model(str(path))
    assert (opened.title, opened.weights) == ("nin_pruned_half", "once.pt")
    assert set(opened.edits) == set(nin_result.edits)
    assert torch.equal(opened.example_inputs[0], IMAGE)
    session = Session.open(str(path))
    session.set_ratio(0.5)
    session.save(tmp_path / "twice.pt")
    model = tui_prune.load(tmp_path / "twice.pt")
    assert model.tnn_bin[0].out_channels < opened.module.tnn_bin[0].out_channels
    original = factory("nin_pruned_half")().state_dict()["tnn_bin.0.weight"]
    assert read_checkpoint(tmp_path / "twice.pt").kept["tnn_bin.0.weight/0"].max() < len(original)
    assert verify_checkpoint(tmp_path / "twice.pt").ok


def test_a_checkpoint_of_the_users_network_opens_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
    )
    spec = f"{tmp_path}/net.py:make"
    session = Session.open(spec, input_spec="1,3,8,8")
    session.set_ratio(0.5)
    path = session.save(tmp_path / "out.pt")
    with pytest.raises(UsageError, match=r"--model net\.py:make"):
        open_model(str(path))
    opened = open_model(spec, weights=path)
    assert opened.module[0].out_channels == 4
    assert opened.example_inputs[0].shape == (1, 3, 8, 8)
    with pytest.raises(TuiPruneError, match=r"holds a pruned net\.py:make, not a resnet18"):
        open_model("resnet18", weights=path)


def test_low_precision_networks_are_saved_as_they_are(tmp_path: Path) -> None:
    result = tui_prune.prune(make().to(torch.bfloat16), IMAGE.to(torch.bfloat16), ratio=0.5)
    path = tui_prune.save(tmp_path / "out.pt", result)
    model = tui_prune.load(path, model=make())
    assert model.first.weight.dtype == torch.bfloat16
    assert verify_checkpoint(path, make()).ok


def test_two_cuts_one_after_the_other_keep_positions_of_the_first_network() -> None:
    first = {"a/0": torch.tensor([1, 3, 5]), "b/1": torch.tensor([[0, 2], [1, 3]]), "c/0": torch.tensor([4])}
    second = {"a/0": torch.tensor([0, 2]), "b/1": torch.tensor([[1], [0]]), "d/0": torch.tensor([7])}
    both = compose_kept(first, second)
    assert {axis: positions.tolist() for axis, positions in both.items()} == {
        "a/0": [1, 5],
        "b/1": [[2], [1]],
        "c/0": [4],
        "d/0": [7],
    }


def test_a_second_cut_that_takes_whole_groups() -> None:
    first = {"b/0": torch.arange(6), "b/1": torch.tensor([[0, 2], [1, 3], [4, 5]])}
    second = {"b/0": torch.tensor([0, 4, 5]), "b/1": torch.tensor([[1], [0]])}
    assert compose_kept(first, second)["b/1"].tolist() == [[2], [4]]
    assert compose_kept({"b/1": first["b/1"]}, second, {"b": (6, 2)})["b/1"].tolist() == [[2], [4]]
