"""Error curves from one pass beside the true errors, and suggestions from them beside evaluated ones.

    python -m tests.benchmarks.curves [resnet] [densenet] [nin] [--suggest]

True errors are those of the network's outputs on test images, where one group alone is cut and the layers are refitted
by the same calibration images.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchvision.models import DenseNet

from tests.benchmarks.digits_task import Digits, score
from tests.benchmarks.small_resnet import trained
from tui_prune import Recipe, Task
from tui_prune.loading.open_model import open_model
from tui_prune.recovery.recover import recover
from tui_prune.session.session import Session

CACHE = Path("~/.cache/tui-prune").expanduser()
RATIOS = (0.25, 0.5, 0.75, 0.9)
IMAGES, TESTED = 256, 400
STEPS, LEARNING_RATE = 300, 0.1


def densenet(data: Digits) -> nn.Module:
    """A small DenseNet, trained once for each seed."""
    torch.manual_seed(data.seed)
    model = DenseNet(growth_rate=12, block_config=(3, 4, 3), num_init_features=24, num_classes=10)
    file = CACHE / f"small_densenet-{data.seed}-{STEPS}.pt"
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
    else:
        rate = LEARNING_RATE
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
        data.fit(model, optimizer, STEPS, rate)
        CACHE.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), file)
    return model.eval()


NETWORKS: dict[str, Callable[[Digits], nn.Module]] = {
    "resnet": lambda data: trained(data, CACHE).eval(),
    "densenet": densenet,
    "nin": lambda data: open_model("nin").module.eval(),
}


def session_of(model: nn.Module, task: Task) -> Session:
    """The network, opened with a task."""
    opened = open_model(model=model, input_spec="1,3,32,32")
    return Session(opened, task=task)


def true_errors(session: Session, names: Sequence[str], inputs: Tensor) -> list[tuple[str, float, float]]:
    """Layer, ratio, and the root mean square error of the outputs over theirs."""
    model, task = session.opened.module, session.task
    assert task is not None
    with torch.no_grad():
        wanted = model(inputs)
    found = []
    for name in names:
        for ratio in RATIOS:
            session.apply(Recipe(layers={name: ratio}))
            if session.plan.cuts:
                cut = recover(session.cut(), task, reconstructing=True, recalibrating=False)
                with torch.no_grad():
                    rest = cut.model.eval()(inputs) - wanted
                found.append((name, ratio, float(rest.square().sum() / wanted.square().sum()) ** 0.5))
    return found


def correlate(name: str, data: Digits) -> None:
    """Print the rank correlation over (group, ratio), and what each side takes."""
    images = torch.cat([inputs for inputs, _ in data.calibration()])[:IMAGES]
    session = session_of(NETWORKS[name](data), Task(calibration=lambda: images.split(64)))
    started = time.process_time()
    curves = {curve.layer: curve for curve in session.error_curves().curves}
    taken = time.process_time() - started
    started = time.process_time()
    points = true_errors(session, list(curves), data.test.inputs[:TESTED])
    longer = time.process_time() - started
    pairs = [(point.left, true) for layer, ratio, true in points if (point := curves[layer].at(ratio)) is not None]
    rank = spearmanr(*zip(*pairs, strict=True))[0]
    print(f"{name}: rank correlation {rank:.3f} over {len(pairs)} points, {taken:.1f} s for all; true {longer:.0f} s")


def suggest(name: str, data: Digits, targets: Sequence[float]) -> None:
    """Print what suggestions are worth on the test images once they are reconstructed, and what they take."""
    for thorough in (False, True):
        session = session_of(NETWORKS[name](data), data.task())
        for target in targets:
            session.apply(Recipe())
            started = time.process_time()
            session.apply(session.suggest(target_macs=target, thorough=thorough))
            taken = time.process_time() - started
            worth = []
            for how in ({"reconstructing": True, "recalibrating": False}, {"recalibrating": True}):
                found = recover(session.cut(), Task(calibration=data.calibration), **how)
                worth.append(f"{100 * score(found.model, data.test).accuracy:.1f} %")
            how_found = "evaluated" if thorough else "by curves"
            left = session.plan.after.macs / session.plan.before.macs
            print(
                f"{name} seed {data.seed}, {100 * left:.0f} % of the MACs {how_found}: {worth[0]} reconstructed, "
                f"{worth[1]} recalibrated, {session.recipe.criterion}, {taken:.1f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--suggest", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", type=float, nargs="*", default=[0.3, 0.2])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name in chosen.networks:
        if chosen.suggest:
            suggest(name, Digits(chosen.seed), chosen.targets)
        else:
            correlate(name, Digits(chosen.seed))


if __name__ == "__main__":
    main()
