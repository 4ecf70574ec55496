"""Networks by name: torchvision's, bundled ones, and names that are none."""

import pytest
import torch

from tui_prune.archives.origin import Origin
from tui_prune.errors import UsageError
from tui_prune.loading.building import build
from tui_prune.loading.fitting import named_tensors
from tui_prune.loading.open_model import RANDOM_WEIGHTS, open_model


def test_without_a_name_the_trained_digits_network_opens() -> None:
    opened = open_model()
    assert (opened.title, opened.weights, opened.notes) == ("nin", "nin_digits.safetensors", ())
    assert opened.origin == Origin("bundled", "nin")
    assert not opened.module.training
    assert opened.module(*opened.example_inputs).shape == (1, 10)


def test_a_torchvision_name_opens_with_random_weights_and_says_so() -> None:
    opened = open_model("squeezenet1_1")
    assert opened.notes == (RANDOM_WEIGHTS,)
    assert opened.weights is None
    assert opened.input_spec == "1,3,224,224"
    assert opened.module(*opened.example_inputs).isfinite().all()


def test_random_weights_are_the_same_each_time_and_the_callers_random_state_stays() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (open_model("shufflenet_v2_x0_5").module.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("inception_v3", "1,3,299,299"),
        ("r3d_18", "1,3,16,112,112"),
        ("raft_small", "1,3,128,128;1,3,128,128"),
        ("ssdlite320_mobilenet_v3_large", "[3,320,320]"),
        ("lraspp_mobilenet_v3_large", "1,3,224,224"),
        ("xception", "1,3,299,299"),
    ],
)
def test_each_kind_of_network_gets_an_input_that_suits_it(name: str, spec: str) -> None:
    opened = open_model(name)
    assert opened.input_spec == spec
    with torch.no_grad():
        opened.module(*opened.example_inputs)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_an_initialisation_of_their_own_still_have_realistic_weights(name: str) -> None:
    for key, parameter in open_model(name).module.named_parameters():
        assert parameter.isfinite().all(), key
        assert parameter.abs().max() <= 1, key


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("resnet5O", "resnet50"), ("ResNet50", "resnet50"), ("nim", "nin"), ("mobilenet_v3", "mobilenet_v3_large")],
)
def test_a_wrong_name_gets_the_right_one_suggested(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}' is neither a network.*Did you mean .*{suggestion}"):
        open_model(name)


def test_a_missing_file_is_called_a_missing_file(tmp_path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"There is no file .*weight\.pth\. Did you mean weights\.pth"):
        open_model(str(tmp_path / "weight.pth"))


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        open_model("nin", device="cuda")
    with pytest.raises(UsageError, match="no device 'gpu'"):
        open_model("nin", device="gpu")


def test_progress_is_reported_from_start_to_end() -> None:
    seen: list[tuple[str, float]] = []
    open_model("nin_separable", progress=lambda stage, done: seen.append((stage, done)))
    assert (seen[0], seen[-1]) == (("open", 0.0), ("open", 1.0))


@pytest.mark.parametrize("name", ["regnet_y_400mf", "ssdlite320_mobilenet_v3_large", "swin_t"])
def test_built_without_values_a_network_has_all_shapes_and_its_computed_buffers(name: str) -> None:
    without, complete = (build(Origin("torchvision", name), device) for device in ("meta", "cpu"))
    assert all(parameter.is_meta for parameter in without.parameters())
    shapes = {key: tensor.shape for key, tensor in named_tensors(complete)}
    assert {key: tensor.shape for key, tensor in named_tensors(without)} == shapes
    for (key, one), other in zip(without.named_buffers(), complete.buffers(), strict=True):
        if "index" in key:
            assert torch.equal(one, other), key
