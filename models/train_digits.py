"""Train `nin` on the digits, with batch-norm scales that show which channels matter.

Network slimming (Liu, Li, Shen, Huang, Yan, Zhang, 2017, https://arxiv.org/abs/1708.06519): an L1 penalty on the
scales pulls those of useless channels to zero. Run `python -m tui_prune.models.train_digits`; it writes
`nin_digits.safetensors` beside this file.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tui_prune.models import digits, nin

WEIGHTS = Path(__file__).with_name("nin_digits.safetensors")
EPOCHS = 30
LEARNING_RATE = 0.05
WEIGHT_DECAY = 5e-4
SCALE_PENALTY = 5e-3
FIRST_SCALE = 0.5


def main() -> None:
    """Train, report and write."""
    parser = argparse.ArgumentParser(description="Train nin on the digits.")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--scale-penalty", type=float, default=SCALE_PENALTY)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = nin.nin().to(memory_format=torch.channels_last)
    train(model, options.epochs, options.scale_penalty)
    accuracy = digits.evaluate(model)
    metadata = {"architecture": "nin", "task": "digits", "accuracy": f"{accuracy:.4f}"}
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, options.output, metadata)
    print(f"{options.output}: {accuracy:.2%} of the test images are right")


def train(model: nn.Module, epochs: int, scale_penalty: float) -> None:
    """SGD with one cycle of the learning rate; the penalty's sub-gradient is added to that of the loss."""
    pixels, labels = digits.split("train")
    generator = digits.seeded()
    norms = hidden_norms(model)
    for norm in norms:
        nn.init.constant_(norm.weight, FIRST_SCALE)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others}],
        lr=LEARNING_RATE,
        momentum=0.9,
        nesterov=True,
    )
    steps = epochs * len(digits.shuffled_batches(len(pixels), digits.seeded()))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    started = time.monotonic()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for indices in digits.shuffled_batches(len(pixels), generator):
            inputs = digits.prepare(digits.distort(pixels[indices], generator))
            loss = F.cross_entropy(model(inputs.to(memory_format=torch.channels_last)), labels[indices])
            optimizer.zero_grad()
            loss.backward()
            for norm in norms:
                norm.weight.grad += scale_penalty * norm.weight.detach().sign()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(indices)
        scales = torch.cat([norm.weight.detach().abs() for norm in norms])
        print(
            f"epoch {epoch + 1:2d}  loss {total / len(pixels):.4f}  accuracy {digits.evaluate(model):.2%}"
            f"  scales below 0.01: {(scales < 0.01).float().mean():.0%}  {time.monotonic() - started:.0f} s",
            flush=True,
        )


def hidden_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norms but the last, which scales the classes."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)][:-1]


if __name__ == "__main__":
    main()
