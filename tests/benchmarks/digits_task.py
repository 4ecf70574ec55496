"""The digits once more, for `tests.benchmarks.quality`: fitted, chosen and tested on images of their own.

What is chosen (a recipe, a scope, the peer's best settings) is chosen by images that were held out of the training
data; the test images are only reported on.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tui_prune.models import digits
from tui_prune.tasks.task import Task

HELD_OUT = 300
"""Training images to choose by."""
BATCH = digits.BATCH
CALIBRATION_BATCHES = 8
TUNING_STEPS = 48
"""Three passes over the images to fit, as the bundled task makes. After a single one, at the same learning rate, even
`nin` as it comes has a higher loss on held-out images than before."""
REPORTS = 2
"""So often a fine-tuning says how far it is, and can be evaluated."""
LEARNING_RATE = 1e-3
"""Of the bundled task, too."""


class Images(NamedTuple):
    """Inputs (N, 3, 32, 32) and labels (N,)."""

    inputs: Tensor
    labels: Tensor


class Score(NamedTuple):
    """What a network makes of some images."""

    accuracy: float
    loss: float

    @property
    def worth(self) -> float:
        """The accuracy and, where that is the same, the lower loss, as one number: an image outweighs any loss."""
        return self.accuracy - 1e-4 * min(self.loss, 10.0)


class Digits:
    """One seed's share of the data: which training images are held out, which calibrate, in which order others come."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        pixels, labels = digits.split("train")
        order = torch.randperm(len(pixels), generator=_generator(seed))
        held, fitted = order[:HELD_OUT], order[HELD_OUT:]
        self._pixels, self._labels = pixels[fitted], labels[fitted]
        self.held_out = _images(pixels[held], labels[held])
        self.test = _images(*digits.split("test"))
        chosen = range(CALIBRATION_BATCHES * BATCH)
        self._calibration = _images(self._pixels[chosen], self._labels[chosen])

    def calibration(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of images to fit, with their labels; always the same."""
        inputs, labels = self._calibration
        yield from zip(inputs.split(BATCH), labels.split(BATCH), strict=True)

    def task(self) -> Task:
        """What tui-prune is given: it is asked about the images that were held out."""
        return Task(
            evaluate=lambda model: score(model, self.held_out).worth,
            calibration=self.calibration,
            finetune=self.tune,
        )

    def fit(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        most: float,
        progress: Callable[..., None] | None = None,
    ) -> None:
        """Train in place: one cycle of the learning rate up to `most`, images distorted and ordered by the seed."""
        generator = _generator(self.seed)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=most, total_steps=steps)
        model.train()
        done = 0
        while done < steps:
            for indices in torch.randperm(len(self._pixels), generator=generator).split(BATCH):
                if len(indices) < BATCH or done == steps:
                    break
                inputs, labels = _images(digits.distort(self._pixels[indices], generator), self._labels[indices])
                loss = F.cross_entropy(model(inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done += 1
                if progress is not None and done % max(1, steps // REPORTS) == 0:
                    progress(done / steps, loss=loss.item())
        optimizer.zero_grad()
        model.eval()

    def tune(self, model: nn.Module, progress: Callable[..., None]) -> None:
        """The short fine-tuning that every cut network gets, in place."""
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
        self.fit(model, optimizer, TUNING_STEPS, LEARNING_RATE, progress)


@torch.no_grad()
def score(model: nn.Module, images: Images) -> Score:
    """Share of the images that are named rightly, and the mean cross-entropy."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    outputs = torch.cat([model(inputs) for inputs in images.inputs.split(4 * BATCH)])
    for module, mode in modes:
        module.training = mode
    right = (outputs.argmax(1) == images.labels).float().mean()
    return Score(float(right), float(F.cross_entropy(outputs, images.labels)))


def _images(pixels: Tensor, labels: Tensor) -> Images:
    return Images(digits.prepare(pixels).contiguous(memory_format=torch.channels_last), labels)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
