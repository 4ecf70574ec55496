"""A narrow ResNet-18 for 32x32 images, trained on the digits, once for each seed."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from tests.benchmarks.digits_task import Digits

WIDTHS = (16, 32, 64, 128)
"""A quarter of ResNet-18's: 35 million MACs for an image."""
STEPS = 240
LEARNING_RATE = 0.1


class SmallResNet(nn.Module):
    """ResNet-18 as it is built for 32x32 images (He et al. 2015, https://arxiv.org/abs/1512.03385, sec. 4.2: a 3x3
    convolution first, and no pooling after it), with torchvision's blocks."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(inplace=True)
        )
        blocks, before = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for stride in (1 if stage == 0 else 2, 1):
                blocks.append(BasicBlock(before, width, stride, _shortcut(before, width, stride)))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def trained(data: Digits, cache: Path) -> nn.Module:
    """The network of a seed, in eval mode; weights that the folder `cache` holds aren't trained again."""
    torch.manual_seed(data.seed)
    model, file = SmallResNet(), cache / f"small_resnet-{data.seed}-{STEPS}.safetensors"
    if file.exists():
        model.load_state_dict(load_file(file))
        return model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    data.fit(model.to(memory_format=torch.channels_last), optimizer, STEPS, LEARNING_RATE)
    cache.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    return model


def _shortcut(before: int, width: int, stride: int) -> nn.Module | None:
    if before == width and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
