"""A bare weights file is recognised by the names and shapes of its tensors."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tui_prune.archives.origin import Origin
from tui_prune.errors import Cancelled, TuiPruneError
from tui_prune.loading import recognise as recognising
from tui_prune.loading import signatures
from tui_prune.loading.open_model import open_model
from tui_prune.loading.recognise import recognise
from tui_prune.models import factory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tui-prune"


def state_of(name: str, **arguments: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return models.get_model(name, weights=None, **arguments).state_dict()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet50", {}),
        ("resnet18", {"num_classes": 10}),
        ("vgg11_bn", {"num_classes": 3}),
        ("vit_b_16", {"image_size": 384, "num_classes": 5}),
        ("ssdlite320_mobilenet_v3_large", {"num_classes": 4}),
        ("squeezenet1_1", {"num_classes": 7}),
    ],
)
def test_torchvisions_networks_with_any_number_of_classes(name: str, arguments: dict[str, int]) -> None:
    extra = {"weights_backbone": None} if name.startswith("ssd") else {}
    found = recognise(state_of(name, **arguments, **extra))
    assert found.exact
    assert found.origin == Origin("torchvision", name, arguments)


def test_parts_that_can_be_left_out() -> None:
    state = state_of("googlenet", init_weights=False, aux_logits=False)
    assert recognise(state).origin == Origin("torchvision", "googlenet", {"aux_logits": False})


@pytest.mark.parametrize(("name", "classes"), [("nin", 10), ("nin_grouped_wide", 10), ("se_resnet18", 12)])
def test_bundled_networks(name: str, classes: int) -> None:
    found = recognise(factory(name)(num_classes=classes).state_dict())
    assert found.origin == Origin("bundled", name, {} if name.startswith("nin") else {"num_classes": classes})


def test_a_prefix_that_a_training_framework_puts_before_all_names(tmp_path: Path) -> None:
    weights = models.resnet18(num_classes=4).state_dict()
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in weights.items()}}, tmp_path / "last.ckpt")
    opened = open_model(str(tmp_path / "last.ckpt"))
    assert (opened.title, opened.weights) == ("resnet18", "last.ckpt")
    assert opened.notes == ("recognised as resnet18, 4 classes: all 122 tensors fit.",)
    assert torch.equal(opened.module.fc.weight, weights["fc.weight"])
    assert opened.module.fc.weight.requires_grad


def test_half_precision_weights_open_in_the_networks_precision(tmp_path: Path) -> None:
    torch.save(factory("nin_pruned_half")().half().state_dict(), tmp_path / "w.pt")
    opened = open_model(str(tmp_path / "w.pt"))
    assert {parameter.dtype for parameter in opened.module.parameters()} == {torch.float32}


def test_the_name_of_the_file_decides_between_networks_with_equal_weights() -> None:
    state = state_of("fasterrcnn_mobilenet_v3_large_fpn", weights_backbone=None)
    assert recognise(state, source="last.pth").origin.name == "fasterrcnn_mobilenet_v3_large_fpn"
    named = "/tmp/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"
    found = recognise(state, source=named)
    assert found.origin.name == "fasterrcnn_mobilenet_v3_large_320_fpn"
    assert not found.certain
    assert [other.name for other in found.others] == ["fasterrcnn_mobilenet_v3_large_fpn"]
    assert str(found).endswith("fit fasterrcnn_mobilenet_v3_large_fpn, too; the name of the file decided.")


def test_it_says_how_sure_it_is() -> None:
    found = recognise(state_of("resnet50", num_classes=10))
    assert found.certain
    assert str(found) == "recognised as resnet50, 10 classes: all 320 tensors fit."
    assert found.to_dict() == {
        "network": "resnet50",
        "classes": 10,
        "certain": True,
        "fits": 1.0,
        "tensors": 320,
        "others": [],
    }
    assert recognise(state_of("alexnet")).classes == 1000
    assert recognise(factory("nin")().state_dict()).classes == 10


def test_a_likely_network_is_found_without_building_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = signatures.build
    monkeypatch.setattr(signatures, "build", lambda origin, device: built.append(origin.name) or build(origin, device))
    state = state_of("densenet121", num_classes=20)
    recognise(state)
    assert len([name for name in built if name in models.list_models()]) <= 12
    built.clear()
    recognise(state)
    assert not [name for name in built if name in models.list_models()], "the second time the cache knows them"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x1f\x8b garbage"])
def test_a_damaged_cache_is_ignored_and_made_anew(cache: Path, content: bytes) -> None:
    state = state_of("alexnet")
    recognise(state)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(content)
    assert recognise(state).origin.name == "alexnet"
    assert file.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    assert recognise(state_of("alexnet")).origin.name == "alexnet"


def test_what_is_nearly_a_known_network_is_told_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["resnet18", "resnet34", "alexnet"]
    monkeypatch.setattr(signatures, "torchvision_names", lambda: few)
    monkeypatch.setattr(recognising, "has_timm", lambda: False)
    small_images = models.resnet18(num_classes=10)
    small_images.conv1 = nn.Conv2d(3, 64, 3, bias=False)
    torch.save(small_images.state_dict(), tmp_path / "best.pth")
    with pytest.raises(TuiPruneError) as raised:
        open_model(str(tmp_path / "best.pth"))
    sentence = str(raised.value)
    assert "fits no network that tui-prune knows by name. The nearest is resnet18, but" in sentence
    assert "conv1.weight (64x3x3x3 instead of 64x3x7x7)" in sentence
    assert "121 of 122 names and shapes fit (99%), and part of a network is never loaded" in sentence
    assert f"tui-prune net.py:make --weights {tmp_path / 'best.pth'}" in sentence


def test_what_is_like_no_known_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "torchvision_names", lambda: ["alexnet"])
    monkeypatch.setattr(recognising, "has_timm", lambda: False)
    with pytest.raises(TuiPruneError, match=r"w\.pt fits no network that tui-prune knows by name\. Name the code"):
        recognise(nn.Linear(3, 4).state_dict(), source="w.pt")


class TestAmongTimms:
    @pytest.fixture(autouse=True)
    def timm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few of its families: all of them take a while."""
        self.timm = pytest.importorskip("timm")
        families = {
            "convnext.convnext": ["convnext_atto", "convnext_femto", "convnext_pico"],
            "efficientnet.efficientnet": ["efficientnet_b0", "efficientnet_b1"],
            "efficientnet.tf": ["tf_mixnet_s", "tf_efficientnet_b0"],
            "resnet.resnet": ["resnet10t", "resnet14t"],
        }
        monkeypatch.setattr(recognising, "timm_families", lambda: families)
        monkeypatch.setattr(signatures, "torchvision_names", lambda: ["alexnet"])

    def state(self, name: str, **arguments: int) -> dict[str, Tensor]:
        return self.timm.create_model(name, **arguments).state_dict()

    def test_a_network_with_its_classes_and_colours(self) -> None:
        found = recognise(self.state("convnext_femto", num_classes=7, in_chans=1))
        assert found.origin == Origin("timm", "convnext_femto", {"num_classes": 7, "in_chans": 1})
        assert found.certain
        assert str(found).startswith("recognised as timm:convnext_femto, 7 classes: all ")

    def test_another_family_may_have_the_same_network(self) -> None:
        state = self.state("efficientnet_b0", num_classes=3)
        named = {source: recognise(state, source=source) for source in ("best.pth", "tf_efficientnet_b0_best.pth")}
        names = {source: (found.origin.name, found.others[0].name) for source, found in named.items()}
        assert names == {
            "best.pth": ("efficientnet_b0", "tf_efficientnet_b0"),
            "tf_efficientnet_b0_best.pth": ("tf_efficientnet_b0", "efficientnet_b0"),
        }

    def test_the_second_time_the_cache_knows_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        state = self.state("convnext_atto")
        recognise(state)
        built: list[str] = []
        build = signatures.build
        monkeypatch.setattr(signatures, "build", lambda origin, on: built.append(origin.kind) or build(origin, on))
        recognise(state)
        assert "timm" not in built

    def test_it_can_be_stopped(self) -> None:
        seen = []

        def progress(stage: str, done: float) -> None:
            seen.append(stage)
            if "timm" in stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            recognise(self.state("convnext_atto"), progress=progress)
        assert seen[-1] == "recognise: timm's"

    def test_what_is_nearly_one_of_them_is_told_so(self) -> None:
        state = self.state("convnext_atto")
        del state["head.fc.bias"]
        with pytest.raises(TuiPruneError, match=r"nearest is timm:convnext_atto, but it lacks head\.fc\.bias; \d+ of "):
            recognise(state)
