"""Files of other libraries' trainers, made by the libraries themselves: `pytest -m libraries`.

Each holds a whole module, or one beside objects of a trainer's. They are read without running anything in them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tui_prune.archives.archive import read_state_dict
from tui_prune.archives.inert_file import read_inert

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def lib(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], ...]] = {
    "torchvision": (
        lambda: lib("torchvision.models.resnet18")(weights=None),
        lambda: lib("torchvision.models.googlenet")(weights=None, init_weights=False),
        lambda: lib("torchvision.models.swin_t")(weights=None),
        lambda: lib("torchvision.models.detection.ssdlite320_mobilenet_v3_large")(weights=None, weights_backbone=None),
    ),
    "timm": tuple(
        lambda name=name: lib("timm.create_model")(name)
        for name in ("vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0", "regnetx_002")
    ),
    "segmentation_models_pytorch": (
        lambda: lib("segmentation_models_pytorch.Unet")("resnet18", encoder_weights=None),
        lambda: lib("segmentation_models_pytorch.FPN")("mobilenet_v2", encoder_weights=None),
    ),
    "transformers": (
        lambda: lib("transformers.BertForSequenceClassification")(lib("transformers.BertConfig")(**SMALL)),
        lambda: lib("transformers.ViTModel")(lib("transformers.ViTConfig")(**SMALL)),
    ),
    "monai": (lambda: lib("monai.networks.nets.UNet")(2, 1, 2, (4, 8), (2,)),),
    "ultralytics": (
        lambda: lib("ultralytics.nn.tasks.DetectionModel")("yolov8n.yaml", verbose=False),
        lambda: lib("ultralytics.nn.tasks.SegmentationModel")("yolov8n-seg.yaml", verbose=False),
    ),
}
FORMS: Mapping[str, Callable[[nn.Module], Any]] = {
    "whole": lambda net: net,
    "trainer's": lambda net: {
        "epoch": 3,
        "model": net,
        "ema": None,
        "args": argparse.Namespace(lr=0.1),
        "optimizer": torch.optim.SGD(net.parameters(), 0.1, 0.9).state_dict(),
        "where": Path("runs"),
    },
}


def cases() -> Iterator[Any]:
    for library, makers in NETWORKS.items():
        for number, make in enumerate(makers):
            for form in FORMS:
                yield pytest.param(library, make, form, id=f"{library}-{number}-{form}")


@pytest.mark.libraries
@pytest.mark.parametrize(("library", "make", "form"), cases())
def test_it_is_read_without_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, make: Callable[[], nn.Module], form: str
) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} isn't installed")
    net = make()
    torch.save(FORMS[form](net), tmp_path / "best.pt")
    wanted = net.state_dict()
    for name in [name for name in sys.modules if name.partition(".")[0] == library and library != "torchvision"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would fail
    found = read_inert(tmp_path / "best.pt") if form == "whole" else read_state_dict(tmp_path / "best.pt")
    assert list(found) == list(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert found.kind == f"{type(net).__module__}.{type(net).__qualname__}"
