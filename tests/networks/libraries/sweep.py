"""One network of a library, cut by half as a user would, and everything that may go wrong then."""

import copy
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

import tui_prune
from tests.exactness import TELLING, TOLERANCE, largest_error, randomise_norms
from tests.networks.libraries.network import Arguments, Network
from tests.networks.libraries.reference import error_by_hand
from tui_prune.errors import TuiPruneError
from tui_prune.result import Result

Kind = Literal["exact", "structural", "refused", "failed"]
RATIO = 0.5
LITTLE = 0.65
"""A network of which more than this share of the parameters is left counts as cut little."""


@dataclass(frozen=True)
class Outcome:
    """What came of one network."""

    name: str
    library: str
    kind: Kind
    max_error: float | None = None
    """Relative, beside the masked original, as the engine has verified it."""
    error_by_hand: float | None = None
    """The same beside the original as `reference.py` masks it, on another input and in double precision."""
    left: float | None = None
    """Share of the parameters."""
    cuttable: float | None = None
    """Share of the parameters that lie on channels that may be cut."""
    seconds: float | None = None
    """Processor time of all of `prune`, on one thread."""
    forward: float | None = None
    """One forward pass of the original."""
    loads: bool | None = None
    """Whether the saved file gives the same outputs in a process of its own."""
    trains: bool | None = None
    """Whether the same parameters learn as in the original; None where the original doesn't train."""
    resizes: bool | None = None
    """Whether other batches and sizes give what they give in the original; None where that takes none."""
    locks: Mapping[str, int] | None = None
    """Why something stays, and how many groups stay for it."""
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """What the check by hand couldn't confirm."""

    @property
    def right(self) -> bool:
        """Cut, proved, and as fit for use as the original."""
        return (
            self.kind in ("exact", "structural") and not self.problems and self.left is not None and self.left <= LITTLE
        )

    @property
    def differs_by_hand(self) -> bool:
        """Whether the check by hand contradicts the engine's."""
        return self.error_by_hand is not None and self.error_by_hand > TOLERANCE

    @property
    def passes(self) -> float | None:
        """Seconds in forward passes."""
        return None if not self.seconds or not self.forward else self.seconds / self.forward


def sweep(network: Network, loader: Connection | None = None) -> Outcome:
    """Build, cut, verify by hand, save and load, train, and run on other inputs."""
    torch.set_num_threads(1)
    model = built(network)
    torch.manual_seed(1)
    example = network.example(1, 1.0)
    forward = seconds_of_forward(model, example)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started = time.process_time()
    try:
        result = tui_prune.prune(model, example.args, example_kwargs=example.kwargs, ratio=RATIO)
    except TuiPruneError as error:
        return _not_cut(network, "refused", error, forward)
    except Exception as error:
        return _not_cut(network, "failed", error, forward)
    seconds = time.process_time() - started
    problems, doubts = [], []
    after = model.state_dict()
    if before.keys() != after.keys() or not all(_same(before[name], after[name]) for name in before):
        problems.append("the original has changed")
    by_hand = _by_hand(network, model, result, doubts)
    loads = _loads(result, example, loader, problems)
    trains = _trains(network, model, result.model, problems)
    resizes = _resizes(network, model, result.model, problems)
    report, graph = result.report, result.plan.graph
    left = report.params.after / report.params.before
    locks = Counter(lock.reason for lock in graph.locks)
    if left >= 1:
        problems.append("nothing is cut")
    return Outcome(
        network.name,
        network.library,
        "failed" if problems else report.equivalence.kind,
        max_error=report.equivalence.max_error,
        error_by_hand=by_hand,
        left=left,
        cuttable=graph.cuttable_share,
        seconds=round(seconds, 3),
        forward=round(forward, 4),
        loads=loads,
        trains=trains,
        resizes=resizes,
        locks=dict(locks.most_common()),
        problems=tuple(problems),
        doubts=tuple(doubts),
    )


def built(network: Network) -> nn.Module:
    """The network in eval mode, with weights under which a channel in the wrong place shows."""
    torch.manual_seed(0)
    model = network.build().eval().float()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return make_telling(model)


@torch.no_grad()
def make_telling(model: nn.Module) -> nn.Module:
    """Weights as large as trained ones are: attention that isn't even, no layer that starts at zero, random norms."""
    randomise_norms(model)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2:
                if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and name == "bias":
                    parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
                continue
            fan_in = parameter[0].numel()
            spread = float(parameter.std()) * fan_in**0.5
            if spread < 0.5 and not isinstance(module, nn.modules.batchnorm._NormBase):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * fan_in**-0.5 if spread < 1e-3 else parameter * (0.7 / spread))
    return model


@torch.no_grad()
def seconds_of_forward(model: nn.Module, example: Arguments) -> float:
    """The best of three passes, after one that isn't counted."""
    took = []
    for _ in range(4):
        started = time.process_time()
        model(*example.args, **example.kwargs)
        took.append(time.process_time() - started)
    return min(took[1:])


def _by_hand(network: Network, model: nn.Module, result: Result, doubts: list[str]) -> float | None:
    torch.manual_seed(2)
    try:
        error, moved = error_by_hand(model, result.model, result.kept, network.example(1, 1.0))
    except Exception as error:
        doubts.append(f"not checked by hand: {_first_line(error)}")
        return None
    if moved < TELLING:
        doubts.append(f"the mask moves the output by {moved:.0e} only")
    if error > TOLERANCE:
        doubts.append(f"differs from the original masked by hand by {error:.0e}")
    return error


def _loads(result: Result, example: Arguments, loader: Connection | None, problems: list[str]) -> bool | None:
    """Save the cut network, let the other process load and run it, and compare."""
    if loader is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cut.pt")
        try:
            tui_prune.save(path, result)
        except Exception as error:
            problems.append(f"it isn't saved: {_first_line(error)}")
            return False
        loader.send_bytes(pickle.dumps((str(path), example)))
        answer = pickle.loads(loader.recv_bytes())
    if isinstance(answer, str):
        problems.append(f"its file doesn't load: {answer}")
        return False
    ours = outputs(result.model.eval(), example)
    if isinstance(ours, str) or [a.shape for a in ours] != [b.shape for b in answer]:
        problems.append("its file gives outputs of other shapes")
        return False
    if largest_error(answer, ours) > TOLERANCE:
        problems.append(f"its file gives other outputs: {largest_error(answer, ours):.0e}")
        return False
    return True


def load_for(network: Network, connection: Connection) -> None:
    """Load the file that the other process names, run it, and send what comes out, or why nothing does."""
    torch.set_num_threads(1)
    path, example = pickle.loads(connection.recv_bytes())
    try:
        loaded = tui_prune.load(path, model=built(network))
        answer: list[Tensor] | str = outputs(loaded.eval(), example)
    except Exception as error:
        answer = _first_line(error)
    connection.send_bytes(pickle.dumps(answer))


def _trains(network: Network, model: nn.Module, cut: nn.Module, problems: list[str]) -> bool | None:
    torch.manual_seed(3)
    batches = [network.example(2, 1.0) for _ in range(2)]
    wanted = [gradients(model, arguments) for arguments in batches]
    if any(isinstance(learned, str) for learned in wanted):
        return None
    found = [gradients(cut, arguments) for arguments in batches]
    broken = [learned for learned in found if isinstance(learned, str)]
    if broken:
        problems.append(f"it doesn't train: {broken[0]}")
        return False
    if wanted[0] == wanted[1] and found != wanted:  # else which parts learn depends on the values (experts)
        problems.append(f"{', '.join(sorted(wanted[0] ^ found[0])[:3])} learn otherwise than in the original")
        return False
    return True


def gradients(model: nn.Module, arguments: Arguments) -> frozenset[str] | str:
    """The parameters that learn something in train mode, or why there is nothing to learn."""
    model = copy.deepcopy(model).train()
    torch.manual_seed(4)
    try:
        total = sum(value.double().square().mean() for value in floating(model(*arguments.args, **arguments.kwargs)))
        total.backward()
    except Exception as error:
        return _first_line(error)
    return frozenset(name for name, parameter in model.named_parameters() if parameter.grad is not None)


def _resizes(network: Network, model: nn.Module, cut: nn.Module, problems: list[str]) -> bool | None:
    tried = None
    for batch, scale in ((3, 1.0), (2, 1.5), (1, 1.5)):
        torch.manual_seed(5)
        arguments, *others = (network.example(batch, scale) for _ in range(5))
        wanted = outputs(model, arguments)
        if isinstance(wanted, str):
            continue
        found = outputs(cut, arguments)
        if isinstance(found, str):
            problems.append(f"it doesn't run on a batch of {batch} of {scale:g} times the size: {found}")
            return False
        fixed = all(_shapes(outputs(model, other)) == _shapes(wanted) for other in others)  # not so by their values
        if fixed and _shapes(found) != _shapes(wanted):
            problems.append(f"a batch of {batch} of {scale:g} times the size gives other shapes")
            return False
        tried = True
    return tried


def _shapes(found: list[Tensor] | str) -> list[torch.Size]:
    return [] if isinstance(found, str) else [value.shape for value in found]


@torch.no_grad()
def outputs(model: nn.Module, arguments: Arguments) -> list[Tensor] | str:
    """All floating outputs in eval mode, or why there are none."""
    torch.manual_seed(6)
    try:
        return floating(model.eval()(*arguments.args, **arguments.kwargs))
    except Exception as error:
        return _first_line(error)


def floating(value: Any) -> list[Tensor]:
    """The floating tensors in what a network puts out."""
    found: list[Tensor] = []

    def search(item: Any) -> None:
        if isinstance(item, Tensor):
            found.extend([item] if item.is_floating_point() else [])
        elif isinstance(item, Mapping):
            for inner in item.values():
                search(inner)
        elif isinstance(item, (list, tuple)):
            for inner in item:
                search(inner)
        elif hasattr(item, "__dataclass_fields__"):
            search(list(vars(item).values()))
        elif not isinstance(item, (str, bytes)) and tree_flatten(item)[0] != [item]:
            search(tree_flatten(item)[0])

    search(value)
    return found


def _not_cut(network: Network, kind: Kind, error: Exception, forward: float) -> Outcome:
    return Outcome(network.name, network.library, kind, forward=round(forward, 4), problems=(_first_line(error),))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one != one)).all())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
