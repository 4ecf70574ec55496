"""One of torchvision's or timm's networks, cut by half as a user would, and everything that may go wrong then."""

import copy
import gc
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from tests.exactness import (
    TOLERANCE,
    largest_error,
    masked_original,
    only_kept_heads,
    other_values,
    randomise_norms,
)
from tui_prune.errors import TuiPruneError
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.sources.timm import PREFIX, build_timm, timm_families, timm_input_spec
from tui_prune.result import Result
from tui_prune.session.session import Session

RATIO = 0.5

Family = Literal["classification", "segmentation", "detection", "video", "optical flow", "quantized", "timm"]
Kind = Literal["exact", "structural", "refused", "failed"]

INPUTS: dict[str, str] = {
    "inception_v3": "1,3,299,299",  # its auxiliary head sees nothing of a smaller image
    "maxvit_t": "1,3,224,224",  # sizes are fixed
    "vit_": "1,3,224,224",
    "mvit_": "1,3,16,224,224",
    "s3d": "1,3,16,224,224",  # pools over windows of fixed size
    "swin3d_": "1,3,8,64,64",
    "raft_": "1,3,128,128;1,3,128,128",
    "ssd300_": "[3,300,300]",
    "ssdlite320_": "[3,320,320]",
}
"""By the start of a name; as small as the network sensibly allows, to spare time."""
USUAL_INPUTS: dict[Family, str] = {
    "classification": "1,3,64,64",
    "segmentation": "1,3,64,64",
    "detection": "[3,128,128]",
    "video": "1,3,8,64,64",
    "quantized": "1,3,64,64",
    "timm": "1,3,96,96",
}
RESIZED_TO = 128
"""Length of the sides to which detectors scale their images."""


@dataclass(frozen=True)
class Outcome:
    """What came of one network."""

    name: str
    family: Family
    kind: Kind
    max_error: float | None = None
    """Relative, of the cut network beside the masked original, as the engine has verified it."""
    cuttable: float | None = None
    """Share of the parameters that lie on channels that may be cut."""
    left: float | None = None
    """Share of the parameters."""
    seconds: Mapping[str, float] | None = None
    """Trace, plan, cut (with its replay), verify."""
    forward: float | None = None
    """Seconds of one forward pass of the original."""
    locks: Mapping[str, int] | None = None
    """Why something stays, and how many groups of channels stay for it; "model output" is left out."""
    problems: tuple[str, ...] = ()
    """Why it failed, or how it was refused."""
    untried: tuple[str, ...] = ()
    """What the original itself can't do, so that nothing is asked of the cut network: "trains", or a shape."""
    error_by_hand: float | None = None
    """Like `max_error`, but beside the original as `tests/exactness.py` masks it, on another input; None where that
    can't be done: for detectors, optical flow, attention that pools, and timm's many kinds of attention."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**vars(self), "problems": list(self.problems), "untried": list(self.untried)}


def names() -> list[str]:
    """All of torchvision's networks."""
    return torchvision.models.list_models()


def timm_names() -> list[str]:
    """Of each of timm's modules the network with the fewest parameters."""
    modules: dict[str, list[str]] = {}
    for family, names in timm_families().items():
        modules.setdefault(family.partition(".")[0], []).extend(names)

    def size(name: str) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build_timm(name, {}).parameters())

    return [PREFIX + min(names, key=size) for names in modules.values()]


def family_of(name: str) -> Family:
    """What a network is for, by the package that it is from."""
    if name.startswith(PREFIX):
        return "timm"
    source = torchvision.models.get_model_builder(name).__module__
    families: dict[str, Family] = {
        "segmentation": "segmentation",
        "detection": "detection",
        "video": "video",
        "optical_flow": "optical flow",
        "quantization": "quantized",
    }
    return families.get(source.split(".")[2], "classification")


def input_spec(name: str) -> str:
    """The shape of the images that a network is tried on."""
    plain = name.removeprefix("quantized_")
    own = next((spec for start, spec in INPUTS.items() if plain.startswith(start)), None)
    return own or USUAL_INPUTS[family_of(name)]


def sweep(name: str) -> Outcome:
    """Open, cut, verify, train, and run a network on other images."""
    family = family_of(name)
    try:
        opened = opened_network(name)
    except TuiPruneError as error:
        kind: Kind = "refused" if family == "quantized" else "failed"
        return Outcome(name, family, kind, problems=(str(error),))
    make_telling(opened.module)
    started = time.perf_counter()
    with torch.no_grad():
        opened.module(*opened.example_inputs)
    forward = time.perf_counter() - started
    try:
        session = Session(opened, probing=False)
        session.set_ratio(RATIO)
        result = session.cut()
    except Exception as error:
        return Outcome(name, family, "failed", forward=forward, problems=(_first_line(error),))
    report, graph = result.report, result.plan.graph
    locks = Counter(lock.reason for lock in graph.locks if not lock.is_output)
    by_hand = None
    if family not in ("detection", "optical flow", "timm") and not name.startswith("mvit"):
        by_hand = error_by_hand(opened, result)
    problems, untried = compare_use(opened, result.model, family)
    if by_hand is not None and by_hand > TOLERANCE:
        problems.append(f"it differs from the original masked by hand by {by_hand:.0e}")
    left = report.params.after / report.params.before
    if left >= 1:
        problems.append("nothing is cut")
    return Outcome(
        name,
        family,
        "failed" if problems else report.equivalence.kind,
        max_error=report.equivalence.max_error,
        error_by_hand=by_hand,
        cuttable=graph.cuttable_share,
        left=left,
        seconds={stage: round(seconds, 3) for stage, seconds in report.seconds.items()},
        forward=round(forward, 3),
        locks=dict(locks.most_common()),
        problems=tuple(problems),
        untried=tuple(untried),
    )


def opened_network(name: str) -> OpenedModel:
    """A network with images of the size that it is tried on: of timm's, what it was made for where it takes no less."""
    opened = open_model(name, input_spec=input_spec(name))
    if name.startswith(PREFIX) and isinstance(output_shapes(opened.module, opened.example_inputs), str):
        opened = open_model(name, input_spec=timm_input_spec(name.removeprefix(PREFIX), {}))
    return opened


def make_telling(model: nn.Module) -> None:
    """Random statistics, no layer that starts at zero and hides what is before it, small images for detectors."""
    randomise_norms(model)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1 and float(parameter.detach().abs().max()) < 1e-3:
            parameter.data.normal_(std=0.05, generator=generator)
    resize = getattr(model, "transform", None)
    if resize is not None and getattr(resize, "fixed_size", None) is None:
        resize.min_size, resize.max_size = (RESIZED_TO,), 2 * RESIZED_TO


@torch.no_grad()
def error_by_hand(opened: OpenedModel, result: Result) -> float:
    """How far the cut network is from the original with zeros in place of what is cut, on an input of new values."""
    inputs = other_values(opened.example_inputs)
    expected = masked_original(opened.module, result, only_kept_heads)(*inputs)
    return largest_error(result.model.eval()(*inputs), expected)


def compare_use(opened: OpenedModel, cut: nn.Module, family: Family) -> tuple[list[str], list[str]]:
    """What the original does and the cut network doesn't (training, other batches and sizes); what neither does."""
    problems: list[str] = []
    untried: list[str] = []
    torch.manual_seed(0)
    arguments = training_arguments(opened, family)
    wanted = gradients(opened.module, arguments)
    if isinstance(wanted, str):
        untried.append(f"trains ({wanted})")
    else:
        found = gradients(cut, arguments)
        if isinstance(found, str):
            problems.append(f"it doesn't train: {found}")
        elif found != wanted:
            problems.append(f"{', '.join(sorted(wanted ^ found)[:3])} learn otherwise than in the original")
    for spec in other_specs(opened.input_spec):
        inputs, _ = make_example_inputs(spec)
        shapes = output_shapes(opened.module, inputs)
        if isinstance(shapes, str):
            untried.append(f"{spec} ({shapes})")
            continue
        found_shapes = output_shapes(cut, inputs)
        if isinstance(found_shapes, str):
            problems.append(f"it doesn't run on {spec}: {found_shapes}")
        elif family != "detection" and shapes != found_shapes:
            problems.append(f"on {spec} it puts out {found_shapes}, the original {shapes}")
    return problems, untried


def gradients(model: nn.Module, arguments: tuple[Any, ...]) -> frozenset[str] | str:
    """The parameters that learn something in train mode, auxiliary heads included, or why there is nothing to learn."""
    model = model.train()
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        total = sum(output.double().square().mean() for output in floating(model(*arguments)))
        total.backward()
        broken = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.shape != p.shape]
        return f"{broken[0]} has a gradient of another shape" if broken else frozenset(
            name for name, parameter in model.named_parameters() if parameter.grad is not None
        )  # fmt: skip
    except Exception as error:
        return _first_line(error)
    finally:
        model.zero_grad(set_to_none=True)
        for name, buffer in model.named_buffers():
            buffer.data.copy_(state[name])
        model.eval()


def training_arguments(opened: OpenedModel, family: Family) -> tuple[Any, ...]:
    """Two images of the example's size; detectors want to be told what is on them."""
    if family != "detection":
        return tuple(torch.cat([value, torch.randn_like(value)]) for value in opened.example_inputs)
    image = opened.example_inputs[0][0]
    _, height, width = image.shape
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.9]]) * torch.tensor([width, height, width, height])
    target = {
        "boxes": boxes,
        "labels": torch.ones(2, dtype=torch.int64),
        "masks": torch.ones(2, height, width, dtype=torch.uint8),
        "keypoints": torch.cat([boxes.mean(1)[0].expand(2, 17, 2), torch.ones(2, 17, 1)], 2),
    }
    return [image, torch.rand_like(image)], [target, copy.deepcopy(target)]


def other_specs(spec: str) -> list[str]:
    """Another batch; another batch of images that are larger by a half. Detectors take lists: only larger images."""

    def larger(part: str) -> str:
        sizes = part.strip("[]").split(",")
        sizes[-2:] = [str(int(size) * 3 // 2) for size in sizes[-2:]]
        return f"[{','.join(sizes)}]" if part.startswith("[") else ",".join(sizes)

    batch = ";".join(part if part.startswith("[") else "3" + part.removeprefix("1") for part in spec.split(";"))
    return [*([batch] if batch != spec else []), ";".join(map(larger, batch.split(";")))]


@torch.no_grad()
def output_shapes(model: nn.Module, inputs: tuple[Any, ...]) -> list[tuple[int, ...]] | str:
    """Of all floating outputs in eval mode, or why there are none."""
    try:
        outputs = list(floating(model.eval()(*inputs)))
    except Exception as error:
        return _first_line(error)
    return [tuple(output.shape) for output in outputs]


def floating(value: Any) -> Iterator[Tensor]:
    """The floating tensors in what a network puts out."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from floating(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from floating(item)


def free_memory() -> None:
    """Let go of a network before the next one is built: the largest take gigabytes."""
    gc.collect()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
