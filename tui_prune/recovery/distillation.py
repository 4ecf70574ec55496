"""The built-in loop that fine-tunes: a cut network learns to put out what the uncut one does.

Distillation (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"), with labels beside it
where the task has any. So it needs no code of the user's, only inputs.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.trace import standing_in
from tui_prune.recovery.peers import Peers
from tui_prune.tasks.batches import Batch, batch_of, forward
from tui_prune.tasks.judging import Measure, Nearness, logits, measure_of
from tui_prune.tasks.task import Task

STEPS = 200
LEARNING_RATES = {"adamw": 1e-3, "sgd": 1e-2}
GROWTH = {"adamw": 0.5, "sgd": 1.0}
"""The power of the number of processes that these grow with, as each step sees so many batches then (Goyal et al. 2017,
"Accurate, Large Minibatch SGD"; Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms").
"""
DECAY = {"adamw": 1e-2, "sgd": 5e-4}
MOMENTUM = 0.9
SCALES, ALL = "norms", "all"
REPORTS = 8
"""So often held-out batches are asked, where the task has no `evaluate`."""
HELD_OUT = 4
"""One of so many batches is held out then."""
MOST_HELD = 8
LEAST_BATCH = 8
"""Inputs; batch norms keep their statistics with fewer."""


@dataclass(frozen=True)
class Training:
    """How the built-in loop trains."""

    steps: int | None = None
    """Batches, of all processes; None: `STEPS`, or as many as there is time for."""
    minutes: float | None = None
    """The most it may take."""
    lr: float | None = None
    """The highest learning rate; None: what suits the optimizer and the number of processes."""
    optimizer: str = "adamw"
    """Or "sgd", with momentum."""
    only: str = ALL
    """"norms": only norms and biases, which takes less memory and overfits less."""
    labels: float = 0.5
    """Weight of the labels' loss where there are labels; the rest is the uncut network's."""
    temperature: float = 2.0
    """Of class scores, softer above 1."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises; then it falls as a cosine."""
    clip: float = 1.0
    """The largest norm of all gradients."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for what can't be."""
        for name in ("steps", "minutes", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"The training's {name} must be above 0; it is {value}.")
        if self.optimizer not in LEARNING_RATES or self.only not in (ALL, SCALES):
            raise UsageError("The training's optimizer is adamw or sgd, and it trains only norms, or all.")
        if not (0 <= self.labels <= 1 and 0 <= self.warmup < 1 and self.temperature > 0 and self.clip > 0):
            raise UsageError("The training's labels and warmup are shares, and temperature and clip above 0.")

    @classmethod
    def of(cls, text: str) -> Training:
        """From "steps=500,lr=0.001,only=norms". Raises `UsageError`."""
        known = {field.name: field for field in fields(cls)}
        found: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.strip().partition("=")
            if name not in known:
                raise UsageError(f"A training has no {name!r}; it has {', '.join(known)}.")
            try:
                read: Any = {"steps": int, "optimizer": str, "only": str}.get(name, float)
                found[name] = read(value)
            except ValueError:
                raise UsageError(f"The training's {name} takes a number; it was {value!r}.") from None
        return cls(**found)


def distiller(teacher: nn.Module, task: Task, training: Training, peers: Peers | None = None) -> Callable[..., None]:
    """A task's `finetune(model, progress)` that makes a network follow `teacher`, on the task's own data.

    Where the task has no `evaluate`, held-out batches say how near the network is, so that the best state is kept.
    With `peers`, each of several processes trains on its share of the batches.
    """

    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        with standing_in(teacher) as uncut:
            for module in uncut.modules():
                module.training = False
            _Loop(model, uncut, task, training, progress, peers or Peers()).run()

    return finetune


class _Loop:
    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module,
        task: Task,
        training: Training,
        progress: Callable[..., None],
        peers: Peers,
    ) -> None:
        self._model, self._teacher, self._task, self._training = model, teacher, task, training
        self._progress, self._peers = progress, peers
        self._called = model
        """What is called in its place while it trains."""
        self._device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self._classes = False
        """Whether the uncut network puts out a score for each class."""
        self._evaluating_mode = False
        """Whether the network is trained in eval mode, but for its norms."""
        self._held: list[Batch] = []

    def run(self) -> None:
        """Train until the steps or the minutes are over."""
        training, batches, peers = self._training, self._peers.own(self._batches()), self._peers
        if self._task.evaluate is None and peers.rank == 0:
            self._held = list(self._held_out())
        first = next(batches)
        measure = measure_of(self._wanted(first))
        if measure is Measure.BOXES:
            raise UsageError(
                f"Boxes can't be learned from boxes: give {self._task.name} a function finetune(model, progress)."
            )
        self._classes = measure is Measure.TOP1
        self._choose_mode(first)
        on_cuda = self._device.type == "cuda"
        if on_cuda:
            self._model.to(memory_format=torch.channels_last)
        half = torch.bfloat16 if on_cuda and torch.cuda.is_bf16_supported() else torch.float16
        scaler = torch.amp.GradScaler(enabled=on_cuda and half is torch.float16)
        started, step, reported = time.monotonic(), 0, 0
        with self._trained() as parameters:
            optimizer, most = self._optimizer(parameters), self._rate
            self._called = peers.averaging(self._model)
            steps = training.steps or (STEPS if training.minutes is None else math.inf)
            self._progress(0.0, accuracy=self._judged() if self._held else None)
            batch: Batch | None = first
            while batch is not None:
                spent = peers.largest((time.monotonic() - started) / 60 / training.minutes) if training.minutes else 0.0
                done = max(step / steps, spent)
                if done >= 1 and step:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = most * _height(min(done, 1.0), training.warmup)
                mixed: AbstractContextManager[Any] = torch.autocast("cuda", half) if on_cuda else nullcontext()
                with mixed:
                    wanted, found = self._wanted(batch), self._forward(batch)
                loss = self._loss(found, wanted, batch.targets)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, training.clip)
                scaler.step(optimizer)
                scaler.update()
                step += peers.count
                done = min(1.0, max(step / steps, spent))
                judged = None
                if self._held and math.floor(done * REPORTS) > reported:
                    reported = math.floor(done * REPORTS)
                    judged = self._judged()
                self._progress(done, loss=float(loss.detach()), accuracy=judged)
                batch = next(batches)
            optimizer.zero_grad()
            if step < steps:  # the minutes are over
                self._progress(1.0)

    def _held_out(self) -> Iterator[Batch]:
        """Some batches that aren't trained on, where the task's data say nothing else of how good a network is."""
        assert self._task.calibration is not None
        items = itertools.islice(self._items(self._task.calibration), HELD_OUT * MOST_HELD)
        for number, item in enumerate(items):
            if number % HELD_OUT == HELD_OUT - 1:
                yield self._laid_out(batch_of(item, self._model))

    def _batches(self) -> Iterator[Batch]:
        """Batches for ever. Small ones at the end of a pass are left out, since their statistics are noise."""
        source = self._task.training or self._task.calibration
        assert source is not None
        largest = 0
        apart = self._task.evaluate is None
        while True:
            seen = 0
            for number, item in enumerate(self._items(source)):
                if apart and number % HELD_OUT == HELD_OUT - 1:
                    continue
                batch = batch_of(item, self._model)
                size = _count(batch)
                largest = max(largest, size)
                if 2 * size < largest:
                    continue
                seen += 1
                yield self._laid_out(batch)
            if not seen:
                raise UsageError(f"{self._task.name} yields no batches to train on.")

    def _items(self, source: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        with self._task.own_errors("in its data"):
            items = iter(source())
        while True:
            with self._task.own_errors("in its data"):
                item = next(items, items)
            if item is items:
                return
            yield item

    def _laid_out(self, batch: Batch) -> Batch:
        if self._device.type != "cuda":
            return batch

        def channels_last(tensor: Tensor) -> Tensor:
            return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

        args, kwargs = map_tensors((batch.args, dict(batch.kwargs)), channels_last)
        return Batch(args, kwargs, batch.targets)

    @torch.no_grad()
    def _wanted(self, batch: Batch) -> Any:
        args, kwargs = map_tensors((batch.args, dict(batch.kwargs)), Tensor.clone)
        return forward(self._teacher, Batch(args, kwargs, None), "the training data")

    def _forward(self, batch: Batch) -> Any:
        for module in self._model.modules():
            norm = isinstance(module, _BatchNorm)
            module.training = _count(batch) >= LEAST_BATCH if norm else not self._evaluating_mode
        return forward(self._called, batch, "the training data")

    def _choose_mode(self, batch: Batch) -> None:
        """Eval mode, but for batch norms, where the network does something else in train mode, as detectors do."""
        wanted = self._wanted(batch)
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            with torch.no_grad():
                self._loss(self._forward(batch), wanted, batch.targets)
        except Cancelled:
            raise
        except TuiPruneError:
            self._evaluating_mode = True
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
        self._evaluating_mode = bool(self._peers.largest(self._evaluating_mode))

    def _loss(self, found: Any, wanted: Any, targets: Any) -> Tensor:
        """Of the uncut network's outputs and, where there are any, of labels."""
        own, theirs = logits(found), logits(wanted)
        labelled = self._labelled(found, own, targets)
        if self._classes and own is not None and theirs is not None and own.shape == theirs.shape:
            heat = self._training.temperature
            softened = F.log_softmax(own.float() / heat, 1), F.log_softmax(theirs.float() / heat, 1)
            followed = F.kl_div(*softened, reduction="batchmean", log_target=True) * heat**2
        else:
            followed = _distance(found, wanted)
        if labelled is None:
            return followed
        share = self._training.labels
        return share * labelled + (1 - share) * followed

    def _labelled(self, found: Any, scores: Tensor | None, targets: Any) -> Tensor | None:
        if targets is None or not self._training.labels:
            return None
        if self._task.loss is not None:
            with self._task.own_errors("in loss(output, targets)"):
                return self._task.loss(found, targets)
        whole = isinstance(targets, Tensor) and not targets.is_floating_point() and targets.dim() == 1
        if scores is None or not whole or int(targets.max()) >= scores.shape[1]:
            return None
        return F.cross_entropy(scores.float(), targets.long())

    @torch.no_grad()
    def _judged(self) -> float:
        """How near the network is to the uncut one on batches that it wasn't trained on: the share of the probability
        that both give to the same classes, or 1 - relative error."""
        modes = [(module, module.training) for module in self._model.modules()]
        compared, shares = Nearness(), []
        for module, _ in modes:
            module.training = False
        for batch in self._held:
            found, wanted = forward(self._model, batch, "the training data"), self._wanted(batch)
            compared.add(found, wanted)
            own, theirs = logits(found), logits(wanted)
            if self._classes and own is not None and theirs is not None:
                both = torch.minimum(own.float().softmax(1), theirs.float().softmax(1))
                shares.append(float(both.sum(1).mean()))
        for module, mode in modes:
            module.training = mode
        return sum(shares) / len(shares) if shares else compared.score()

    @contextmanager
    def _trained(self) -> Iterator[list[nn.Parameter]]:
        """The parameters that are trained; the others want no gradient meanwhile."""
        wanted = [(parameter, parameter.requires_grad) for parameter in self._model.parameters()]
        try:
            if self._training.only == SCALES:
                for parameter, _ in wanted:
                    parameter.requires_grad_(parameter.requires_grad and parameter.dim() <= 1)
            parameters = [parameter for parameter, _ in wanted if parameter.requires_grad]
            if not parameters:
                raise UsageError("No parameter of the network wants a gradient, so nothing can be trained.")
            yield parameters
        finally:
            for parameter, before in wanted:
                parameter.requires_grad_(before)

    @property
    def _rate(self) -> float:
        kind = self._training.optimizer
        return self._training.lr or LEARNING_RATES[kind] * self._peers.count ** GROWTH[kind]

    def _optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        kind = self._training.optimizer
        groups = [
            {"params": [one for one in parameters if one.dim() > 1], "weight_decay": DECAY[kind]},
            {"params": [one for one in parameters if one.dim() <= 1], "weight_decay": 0.0},
        ]
        rate = self._rate
        groups = [group for group in groups if group["params"]]
        if kind == "adamw":
            return torch.optim.AdamW(groups, lr=rate)
        return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, nesterov=True)


def _height(done: float, warmup: float) -> float:
    """Of the learning rate, 0 to 1: it rises evenly, then falls as half a cosine."""
    if done < warmup:
        return max(done / warmup, 0.05)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _count(batch: Batch) -> int:
    """Inputs in a batch, along the first dimension of its first tensor."""
    first = next(tensors_in((batch.args, dict(batch.kwargs))), None)
    return 0 if first is None or not first.dim() else len(first)


def _distance(found: Any, wanted: Any) -> Tensor:
    """Squared difference of all outputs over their squares; each output counts alike."""
    pairs = [[tensor for tensor in tensors_in(value) if tensor.is_floating_point()] for value in (found, wanted)]
    if not pairs[1] or [one.shape for one in pairs[0]] != [one.shape for one in pairs[1]]:
        raise TuiPruneError("The network's outputs while it trains have another shape than those of the uncut network.")
    errors = [
        (one.float() - other.float()).square().sum() / other.float().square().sum().clamp(min=1e-12)
        for one, other in zip(*pairs, strict=True)
    ]
    return torch.stack(errors).mean()
