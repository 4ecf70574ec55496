"""What the digits network is for: a task file, as a user would write one.

`digits.npz` holds the optical recognition of handwritten digits data set of UCI (E. Alpaydin, C. Kaynak, 1998,
https://doi.org/10.24432/C50P49, CC BY 4.0) as scikit-learn ships it: 1797 grey images of 8x8 pixels, 0 to 16, and which
450 of them, a quarter of each class, are for testing only.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tui_prune.tasks.evidence import Score

DATA = Path(__file__).with_name("digits.npz")
IMAGE_SIZE = 32
MEAN, DEVIATION = 0.31, 0.38
BATCH = 64
CALIBRATION_BATCHES = 8
FINETUNE_EPOCHS = 3


def evaluate(model: nn.Module) -> Score:
    """Share of the test images that `model` names rightly, 0 to 1, and which they are."""
    parameter = _parameter(model)
    pixels, labels = split("test")
    right = []
    with _mode(model, training=False), torch.no_grad():
        for batch, answers in zip(pixels.split(2 * BATCH), labels.split(2 * BATCH), strict=True):
            right.append(model(prepare(batch).to(parameter)).argmax(1).cpu() == answers)
    return Score(torch.cat(right))


def calibration() -> Iterator[Tensor]:
    """Some batches of training images, always the same."""
    pixels, _ = split("train")
    for indices in itertools.islice(shuffled_batches(len(pixels), seeded()), CALIBRATION_BATCHES):
        yield prepare(pixels[indices])


def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
    """Train `model` for a few epochs. What it learned until `progress` raises stays in it.

    `progress(done, loss=None, accuracy=None)` takes the share that is done, 0 to 1, and how it goes.
    """
    parameter = _parameter(model)
    pixels, labels = split("train")
    generator = seeded()
    steps_per_epoch = len(pixels) // BATCH
    steps = FINETUNE_EPOCHS * steps_per_epoch
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    epochs = (shuffled_batches(len(pixels), generator) for _ in range(FINETUNE_EPOCHS))
    # An epoch's last batch may be of three images, whose batch-norm statistics are noise; they come in another epoch.
    batches = itertools.chain.from_iterable(epoch[:steps_per_epoch] for epoch in epochs)
    progress(0.0)
    with _mode(model, training=True), torch.enable_grad():
        for step, indices in enumerate(batches, 1):
            inputs = prepare(distort(pixels[indices], generator)).to(parameter)
            loss = F.cross_entropy(model(inputs), labels[indices].to(parameter.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            accuracy = evaluate(model) if step % steps_per_epoch == 0 else None
            progress(step / steps, loss=loss.item(), accuracy=accuracy)
    optimizer.zero_grad()


@cache
def split(name: str) -> tuple[Tensor, Tensor]:
    """Pixels (N, 1, 8, 8), 0 to 1, and labels of the images for "train" or "test"."""
    with np.load(DATA) as data:
        chosen = data["test"] == (name == "test")
        pixels = torch.from_numpy(data["images"][chosen]).unsqueeze(1) / 16
        return pixels, torch.from_numpy(data["labels"][chosen]).long()


def prepare(pixels: Tensor) -> Tensor:
    """What the network takes: 32x32, three equal channels, normalised."""
    images = F.interpolate(pixels, size=IMAGE_SIZE, mode="bilinear", align_corners=False)
    return ((images - MEAN) / DEVIATION).repeat(1, 3, 1, 1)


def distort(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image a little shifted, turned and scaled."""
    batch = len(pixels)

    def between(low: float, high: float) -> Tensor:
        return torch.rand(batch, generator=generator) * (high - low) + low

    angle, scale = between(-0.2, 0.2), between(0.9, 1.1)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    transform = torch.stack(
        [
            torch.stack([cosine, -sine, between(-0.2, 0.2)], dim=1),
            torch.stack([sine, cosine, between(-0.2, 0.2)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(transform, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def seeded() -> torch.Generator:
    """A source of random numbers that always gives the same ones."""
    return torch.Generator().manual_seed(0)


def shuffled_batches(count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Indices of one epoch, batch by batch."""
    return torch.randperm(count, generator=generator).split(BATCH)


def _parameter(model: nn.Module) -> Tensor:
    """One that shows the model's device and number format."""
    return next(model.parameters())


@contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Train or eval mode for a while; each module gets its own back."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode
