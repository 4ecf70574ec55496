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
from tui_prune.loading.open_model import open_model

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


# Files that the libraries' own savers write, opened as a user opens them: beside a factory, or by their names.

FACTORY = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(8, 4))

def unet():
    import segmentation_models_pytorch as smp
    return smp.Unet("resnet18", encoder_weights=None)

def yolo():
    from ultralytics.nn.tasks import DetectionModel
    return DetectionModel("yolov8n.yaml", verbose=False)
"""


def plain() -> nn.Module:
    names: dict[str, Any] = {}
    exec(FACTORY, names)
    return names["make"]()


def by_ultralytics(folder: Path) -> tuple[nn.Module, Path, str]:
    yolo = lib("ultralytics.YOLO")("yolov8n.yaml", verbose=False)
    yolo.save(folder / "best.pt")  # in half precision
    return yolo.model.half().float(), folder / "best.pt", "yolo"


def by_timm(folder: Path) -> tuple[nn.Module, Path, str]:
    net = plain()
    saver = lib("timm.utils.CheckpointSaver")(
        net, torch.optim.SGD(net.parameters(), 0.1), argparse.Namespace(model="plain"), checkpoint_dir=str(folder)
    )
    saver.save_checkpoint(1, 0.5)
    return net, folder / "last.pth.tar", "make"


def by_lightning(folder: Path) -> tuple[nn.Module, Path, str]:
    lightning = import_module("pytorch_lightning")

    class Own(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"where": Path("runs"), "lr": 0.1})
            self.net = plain()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

    own = Own()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 3, 8, 8)), 2)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", default_root_dir=str(folder), **quiet)
    trainer.fit(own, data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return own.net, folder / "last.ckpt", "make"


def by_accelerate(folder: Path) -> tuple[nn.Module, Path, str]:
    accelerator = lib("accelerate.Accelerator")(cpu=True)
    net = accelerator.prepare(plain())
    accelerator.save_model(net, folder)
    return net, folder / "model.safetensors", "make"


def by_transformers(folder: Path) -> tuple[nn.Module, Path, str]:
    net = lib("transformers.ViTModel")(lib("transformers.ViTConfig")(**SMALL))
    net.save_pretrained(folder / "vit")
    return net, folder / "vit", "hf:"


def by_monai(folder: Path) -> tuple[nn.Module, Path, str]:
    net = plain()
    import_module("monai.networks").save_state(net, folder / "net.pt")
    return net, folder / "net.pt", "make"


def by_torch(folder: Path) -> tuple[nn.Module, Path, str]:
    net = plain()
    state = {"model": nn.DataParallel(net).state_dict(), "scaler": torch.amp.GradScaler("cpu").state_dict()}
    torch.save(state, folder / "distributed.pt")
    return net, folder / "distributed.pt", "make"


def by_torch_averaged(folder: Path) -> tuple[nn.Module, Path, str]:
    net = plain()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    torch.save(averaged.state_dict(), folder / "swa.pt")
    return net, folder / "swa.pt", "make"


def by_segmentation_models(folder: Path) -> tuple[nn.Module, Path, str]:
    net = lib("segmentation_models_pytorch.Unet")("resnet18", encoder_weights=None)
    net.save_pretrained(folder / "unet")
    return net, folder / "unet" / "model.safetensors", "unet"


SAVERS: Mapping[str, tuple[str, Callable[[Path], tuple[nn.Module, Path, str]]]] = {
    "ultralytics": ("ultralytics", by_ultralytics),
    "timm": ("timm", by_timm),
    "lightning": ("pytorch_lightning", by_lightning),
    "accelerate": ("accelerate", by_accelerate),
    "transformers": ("transformers", by_transformers),
    "monai": ("monai", by_monai),
    "data parallel": ("torch", by_torch),
    "averaged": ("torch", by_torch_averaged),
    "segmentation_models": ("segmentation_models_pytorch", by_segmentation_models),
}


@pytest.mark.libraries
@pytest.mark.parametrize("saver", SAVERS)
def test_what_a_library_saves_opens_as_weights(tmp_path: Path, saver: str) -> None:
    library, save = SAVERS[saver]
    if find_spec(library) is None:
        pytest.skip(f"{library} isn't installed")
    net, file, spec = save(tmp_path)
    (tmp_path / "net.py").write_text(FACTORY)
    if spec == "hf:":
        opened = open_model(f"hf:{file}")
    else:
        opened = open_model(f"{tmp_path / 'net.py'}:{spec}", weights=file, input_spec="1,3,64,64")
    wanted, found = net.state_dict(), opened.module.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
