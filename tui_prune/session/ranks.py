"""Fine-tuning in several processes: what each is told, and what it makes of that.

This process keeps what a loop here would keep: it takes the network's state from rank 0 as often as somebody may judge
it. Each rank opens the uncut network by what the user named, and makes the cut one of it; a network that is an object
in memory goes through a file that only these processes read.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from tui_prune.errors import UsageError, said_of
from tui_prune.loading.edits import apply_edits
from tui_prune.loading.fitting import device_of, named_tensors, replace_tensors
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.request import OpenRequest
from tui_prune.progress import Progress
from tui_prune.recovery.distillation import Training, distiller
from tui_prune.recovery.finetuning import SNAPSHOTS, check_unchanged, shapes_of
from tui_prune.recovery.peers import Group
from tui_prune.result import Result
from tui_prune.tasks.registry import open_task
from tui_prune.tasks.task import Task
from tui_prune.workers import Setup
from tui_prune.workers.ranks import Ranks

Say = Callable[[Any], None]
APART = (
    "finetune() of {task} didn't use torch.distributed, so each of the {count} processes trained the whole network "
    "apart, and that of the first one is kept."
)


@dataclass(frozen=True, eq=False)
class Launch:
    """How networks are fine-tuned in several processes."""

    ranks: Ranks
    task: Task
    training: Training | None
    """How the built-in loop trains, which runs where there is one, or where the task has no loop of its own."""
    teacher: nn.Module
    """The uncut network."""
    request: OpenRequest | None = None
    """What opens it again; None: it goes through a file."""
    notes: list[str] = field(default_factory=list)
    """What there is to say of runs so far."""

    def loop(self, result: Result, progress: Progress) -> Callable[..., None]:
        """In place of a task's `finetune(model, progress)`: lets the ranks train the network of a cut. `progress` may
        raise to stop them."""

        def finetune(model: nn.Module, report: Callable[..., None]) -> None:
            done, tensors = 0.0, dict(named_tensors(model))
            with self._told(result, model) as told:
                setup = Setup(__name__, "trainer", told)
                with closing(self.ranks.messages(setup, lambda: progress("fine-tune", done))) as messages:
                    for said in messages:
                        if said["state"] is not None:
                            _take(tensors, said["state"])
                        if said["apart"]:
                            self.notes.append(APART.format(task=self.task.name, count=self.ranks.count))
                        if said["report"] is not None:
                            report(**said["report"])
                            done = float(said["report"]["done"])

        return finetune

    @contextmanager
    def _told(self, result: Result, model: nn.Module) -> Iterator[tuple[Any, ...]]:
        """The arguments of `trainer`, as long as the block lasts."""
        with tempfile.TemporaryDirectory(prefix="tui-prune-") as folder:
            file = Path(folder) / "network.pt"
            told: dict[str, Any] = {
                "device": device_of(self.teacher).type,
                "seed": torch.initial_seed(),
                "training": self.training,
                "task": self.task.spec,
            }
            try:
                if self.request is not None:
                    told |= {"request": self.request.to_dict(), "edits": result.edits}
                    told["frozen"] = [name for name, one in model.named_parameters() if not one.requires_grad]
                    torch.save({"uncut": _on_cpu(self.teacher), "cut": _on_cpu(model)}, file)
                else:
                    inputs = result.example_inputs, dict(result.example_kwargs), result.input_spec
                    torch.save((self.teacher, model, result.report.model, result.origin, *inputs), file)
                if not self.task.spec:
                    told["task"] = self.task
                pickle.dumps(told)
            except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
                raise UsageError(
                    f"Other processes can't be given the network or the task ({said_of(error)}): name them, as in "
                    "file.py:factory and a task file, define them in a module of your own, or leave procs out."
                ) from error
            yield told, str(file)


def trainer(told: Mapping[str, Any], file: str) -> Callable[[Say], None]:
    """In each rank: what trains the network, and says how it goes."""

    def work(say: Say) -> None:
        device = torch.device(told["device"])
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        torch.manual_seed(told["seed"])  # batches come in the same order in all of them
        opened, model = _opened(told, file, device)
        task = told["task"] if isinstance(told["task"], Task) else open_task(told["task"]).for_network(opened)
        finetune, training = task.finetune, told["training"]
        if finetune is None or training is not None:
            finetune = distiller(opened.module, task, training or Training(), Group(device))
        for module in model.modules():
            module.training = True
        reporter = _Reporter(model, task, say)
        with torch.enable_grad(), task.own_errors("in finetune(model, progress)"):
            finetune(model, reporter.report)
        reporter.end()

    return work


class _Reporter:
    """Passes on what a loop reports, with the network's state wherever somebody may judge it."""

    def __init__(self, model: nn.Module, task: Task, say: Say) -> None:
        self._model, self._task, self._say = model, task, say
        self._shapes = shapes_of(model)
        self._told = -1
        self._together = False

    def report(self, done: Any, loss: Any = None, accuracy: Any = None) -> None:
        """`progress(done, loss=None, accuracy=None)` of a task's loop."""
        self._together = self._together or distributed.is_initialized()
        said = {"done": _plain(done), "loss": _plain(loss), "accuracy": _plain(accuracy)}
        part = math.floor(said["done"] * SNAPSHOTS) if isinstance(said["done"], (int, float)) else self._told
        judged = accuracy is not None or part > self._told
        self._told = max(part, self._told)
        self._say({"report": said, "state": self._state() if judged else None, "apart": False})

    def end(self) -> None:
        """The loop has returned."""
        together = self._together or distributed.is_initialized()
        self._say({"report": None, "state": self._state(), "apart": not together})

    def _state(self) -> bytes:
        check_unchanged(self._shapes, self._model, self._task)
        packed = io.BytesIO()
        torch.save(_on_cpu(self._model), packed)
        return packed.getvalue()


def _opened(told: Mapping[str, Any], file: str, device: torch.device) -> tuple[OpenedModel, nn.Module]:
    """The uncut network, and the one to be trained."""
    if "request" not in told:
        try:
            whole, model, title, origin, *rest = torch.load(file, weights_only=False, map_location=device)
        except Exception as error:
            raise UsageError(
                f"Other processes can't make the network ({said_of(error)}): name it, as in file.py:factory, define "
                "its class in a module of your own, or leave procs out."
            ) from error
        inputs, keywords, spec = rest
        return OpenedModel(title, origin, whole, inputs, keywords, spec, None), model
    asked = replace(OpenRequest.from_dict(told["request"]), device=str(device))
    tensors = torch.load(file, weights_only=True, map_location="cpu")
    opened, other = (
        open_model(asked.spec, weights=asked.weights, input_spec=asked.input_spec, device=asked.device)
        for _ in range(2)
    )
    _lay_in(dict(named_tensors(opened.module)), tensors["uncut"])
    model = other.module
    apply_edits(model, [edit for edit in told["edits"] if edit not in opened.edits])
    replace_tensors(model, tensors["cut"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in told["frozen"])
    return opened, model


def _take(tensors: Mapping[str, Tensor], state: bytes) -> None:
    _lay_in(tensors, torch.load(io.BytesIO(state), weights_only=True))


@torch.no_grad()
def _lay_in(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in named_tensors(model)}


def _plain(value: Any) -> Any:
    """What a loop has reported, as a number where it is one."""
    value = value.detach() if isinstance(value, Tensor) else value
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return str(value)
