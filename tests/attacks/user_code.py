"""Tasks, factories and networks that do what they shouldn't."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tui_prune
from tests.attacks.checkpoints import network
from tests.attacks.trying import Try, attack
from tui_prune.errors import TuiPruneError
from tui_prune.loading.open_model import open_model
from tui_prune.session.session import Session

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Silent(Exception):
    """Can't say anything."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Base(BaseException):
    """No ordinary error."""


class Odd:
    """Is whatever somebody wants of it, and fails."""

    def __getattr__(self, name: str) -> Any:
        raise Silent

    def __float__(self) -> float:
        raise Base

    def __iter__(self) -> Any:
        raise Silent


def first(model: nn.Module) -> Any:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def raising(error: type[BaseException] | BaseException) -> Callable[[nn.Module], Any]:
    def act(model: nn.Module) -> None:
        raise error

    act.__name__ = f"raise {error.__name__ if isinstance(error, type) else type(error).__name__}"
    return act


def zero(model: nn.Module) -> None:
    with torch.no_grad():
        first(model).weight.zero_()


def halve(model: nn.Module) -> None:
    model.half()


def to_double(model: nn.Module) -> None:
    model.double()


def round_data(model: nn.Module) -> None:
    first(model).weight.data.mul_(4).round_()


def swap_storage(model: nn.Module) -> None:
    first(model).weight.data = torch.ones_like(first(model).weight)


def resize(model: nn.Module) -> None:
    first(model).weight.data.resize_(1)


def through_numpy(model: nn.Module) -> None:
    first(model).weight.detach().numpy()[:] = 7


def train(model: nn.Module) -> None:
    model.train()
    model(X * 5)


def statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(3)  # type: ignore[union-attr]


def new_buffers(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.ones(1)


def replace_module(model: nn.Module) -> None:
    for name, _ in list(model.named_children()):
        setattr(model, name, nn.Identity())


def remove_modules(model: nn.Module) -> None:
    model._modules.clear()


def add_hook(model: nn.Module) -> None:
    first(model).register_forward_hook(lambda *_: None)


def global_hook(model: nn.Module) -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    handle.remove()


def patch_forward(model: nn.Module) -> None:
    model.forward = lambda x: x * 0  # type: ignore[method-assign]


def delete_weight(model: nn.Module) -> None:
    del first(model)._parameters["weight"]


def frozen(model: nn.Module) -> None:
    model.requires_grad_(False)


def seed(model: nn.Module) -> None:
    torch.manual_seed(random.randrange(10**6))


def no_grad(model: nn.Module) -> None:
    torch.set_grad_enabled(False)


def default_double(model: nn.Module) -> None:
    torch.set_default_dtype(torch.float64)


def elsewhere(model: nn.Module) -> None:
    os.chdir("/")


def close_streams(model: nn.Module) -> None:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def prints(model: nn.Module) -> None:
    print("\x1b[2J" * 100)


def recursion(model: nn.Module) -> None:
    recursion(model)


def collects(model: nn.Module) -> None:
    gc.collect()


def threads(model: nn.Module) -> None:
    def run() -> None:
        with suppress(Exception):
            model(X)

    for _ in range(5):
        threading.Thread(target=run).start()


def warns(model: nn.Module) -> None:
    warnings.warn("\x1b[2J", stacklevel=1)


def signals(model: nn.Module) -> None:
    signal.raise_signal(signal.SIGWINCH)


def takes_memory(model: nn.Module) -> None:
    torch.empty(2**50)


def runs_wrong_input(model: nn.Module) -> None:
    model(torch.zeros(1, 7))


ACTS: tuple[Callable[[nn.Module], Any], ...] = (
    zero, halve, to_double, round_data, swap_storage, resize, through_numpy, train, statistics, new_buffers,
    replace_module, remove_modules, add_hook, global_hook, patch_forward, delete_weight, frozen, seed, no_grad,
    default_double, elsewhere, close_streams, prints, recursion, collects, threads, warns, signals, takes_memory,
    runs_wrong_input,
    *map(raising, (ValueError, Silent, Base, SystemExit, GeneratorExit, StopIteration, MemoryError, RecursionError,
                   asyncio.CancelledError, AttributeError, TuiPruneError("\x1b[2J"), OSError, UnicodeError)),
)  # fmt: skip
RESULTS: tuple[Any, ...] = (
    0.5, 1, True, -1e308, float("nan"), float("inf"), None, "x", "0.5", [], {}, (), object(), Odd(), torch.tensor(0.5),
    torch.zeros(3), torch.zeros(0), 10**400, 1j, lambda: 1, b"x", print, Exception,
    torch.tensor(0.5, requires_grad=True),
)  # fmt: skip


@cache
def clean() -> dict[str, torch.Tensor]:
    """What the cut network holds where nobody meddles."""
    return dict(Session(open_model(model=network(), input_spec="2,3,8,8"), recipe=_RECIPE).cut().model.state_dict())


_RECIPE = tui_prune.Recipe(ratio=0.5)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@attack("hostile evaluations", "a score or a sentence, and the saved network is the clean one", 600)
def evaluations(rng: random.Random, folder: Path) -> Iterator[Try]:
    while True:
        acts, result = [rng.choice(ACTS) for _ in range(rng.choice((1, 1, 2, 3)))], rng.choice(RESULTS)

        def action(acts: list[Callable[[nn.Module], Any]] = acts, result: Any = result) -> None:
            def evaluate(model: nn.Module) -> Any:
                for act in acts:
                    act(model)
                return result

            wanted, model = clean(), network()
            original = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            modes = [module.training for module in model.modules()]
            session = Session(open_model(model=model, input_spec="2,3,8,8"), recipe=_RECIPE, probing=False)
            session.set_task(tui_prune.Task(evaluate=evaluate))
            try:
                session.evaluate()
            except TuiPruneError as error:
                str(error)
            cut = session.cut().model
            assert same(dict(cut.state_dict()), wanted), "another network would be saved"
            assert same(dict(model.state_dict()), original), "the original was changed"
            assert [module.training for module in model.modules()] == modes, "modes were changed"
            with torch.no_grad():
                assert torch.equal(cut(X), cut(X))

        yield f"{[act.__name__ for act in acts]} -> {result!r:.30}" if not isinstance(result, Odd) else "odd", action


@attack("hostile calibrations", "a sentence, or clean scores; the network stays", 400)
def calibrations(rng: random.Random, folder: Path) -> Iterator[Try]:
    batches: tuple[Any, ...] = (
        X, (X, torch.zeros(2).long()), {"input": X}, None, 5, "x", [], (), X[:0], X.double(), X[:, :1], X.long(),
        X * float("nan"), [X, X, X], Odd(), iter([X]), {"nothing": X}, (X, "labels"),
    )  # fmt: skip
    recipes = (tui_prune.Recipe(ratio=0.5, criterion="taylor"), tui_prune.Recipe(ratio=0.5, criterion="activation"))
    while True:
        act, chosen = rng.choice(ACTS), [rng.choice(batches) for _ in range(rng.randrange(3))]
        recipe, kind, loss = rng.choice(recipes), rng.randrange(5), rng.choice((None, *RESULTS))

        def action(
            act: Any = act, chosen: Any = chosen, recipe: Any = recipe, kind: int = kind, loss: Any = loss
        ) -> None:
            model = network()
            original = {name: tensor.clone() for name, tensor in model.state_dict().items()}

            def calibration() -> Any:
                if kind == 0:
                    return act(model)
                if kind == 1:
                    return rng.choice(RESULTS)
                return produced()

            def produced() -> Any:
                yield from chosen
                if kind == 2:
                    act(nn.Sequential(nn.Conv2d(1, 1, 1)))

            losses = None if loss is None else lambda output, targets: loss
            session = Session(open_model(model=model, input_spec="2,3,8,8"), probing=False)
            session.set_task(tui_prune.Task(calibration=calibration, loss=losses))
            try:
                session.apply(recipe)
                session.cut()
            except TuiPruneError:
                pass
            if kind != 0:  # there it works on the caller's own network, which is none of ours
                assert same(dict(model.state_dict()), original), "the original was changed"

        yield f"{kind} {act.__name__}", action


class Meddling(nn.Module):
    """Does something in its forward pass."""

    def __init__(self, act: Callable[[nn.Module], Any], when: int) -> None:
        super().__init__()
        self.net = network()
        self.act, self.when, self.passes = act, when, 0

    def forward(self, x: torch.Tensor) -> Any:
        self.passes += 1
        if self.passes % self.when == 0:
            self.act(self.net)
        return self.net(x)


@attack("hostile networks", "a sentence, or a cut that was verified", 400)
def networks(rng: random.Random, folder: Path) -> Iterator[Try]:
    harmless = (collects, prints, seed, frozen)
    while True:
        act, when = rng.choice((*ACTS, *harmless)), rng.choice((1, 2, 3, 5))

        def action(act: Any = act, when: int = when) -> None:
            try:
                result = tui_prune.prune(Meddling(act, when), X, ratio=0.5)
            except TuiPruneError as error:
                str(error)
                return
            assert result.report.equivalence.max_error is not None

        yield f"{act.__name__} each {when}", action


FACTORIES = (
    "return None", "return 5", "return nn.Conv2d", "return nn.Conv2d(3, 4, 3)", "return nn.Identity()",
    "return nn.Sequential()", "raise SystemExit(0)", "raise KeyError", "import nothing_of_that_name", "return make()",
    "os.chdir('/'); return nn.Conv2d(3, 4, 3)", "sys.stdout.close(); return nn.Conv2d(3, 4, 3)",
    "class E(BaseException): pass\n    raise E", "class E(Exception):\n        def __str__(self): raise E\n    raise E",
    "return type('N', (nn.Module,), {'forward': lambda self, x: x})()", "return torch.zeros(3)",
    "yield nn.Conv2d(3, 4, 3)",
    "return lambda: nn.Conv2d(3, 4, 3)", "return nn.Conv2d(3, 4, 3).half()", "return nn.Linear(10, 10).to('meta')",
    "return nn.LazyConv2d(4, 3)", "return nn.DataParallel(nn.Conv2d(3, 4, 3))", "return nn.GRU(3, 4)",
    "return nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))", "return nn.Sequential(*[nn.ReLU()] * 3)",
    "m = nn.Conv2d(3, 4, 3); m.weight = None; return m", "m = nn.Conv2d(3, 4, 3); m.m = m; return m",
    "m = nn.Sequential(nn.Conv2d(3, 4, 3)); m.__dict__['_modules'] = None; return m", "torch.nn.Module.__call__",
    "return torch.jit.script(nn.Conv2d(3, 4, 3))", "sys.exit('\\x1b[2J')", "return nn.Embedding(10, 4)",
)  # fmt: skip
TOPS = (
    "", "", "", "import sys; sys.path.clear()", "print('\\x1b[2J')", "raise SystemExit", "1/0", "x = (", "make = None",
    "def __getattr__(name): raise BaseException(name)", "import os; os.environ.clear()",
    "from __future__ import braces",
    "\x00", "\ufeff", "# -*- coding: nothing -*-", "import warnings; warnings.simplefilter('error')",
)  # fmt: skip


@attack("hostile factories", "a sentence, or a network", 400)
def factories(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = folder / "net.py"
    number = 0
    while True:
        number += 1
        body, top = rng.choice(FACTORIES), rng.choice(TOPS)
        tail = rng.choice(("", "", "\ndel make", "\nmake = 5", "\nclass make: pass", "\nmake = [make]"))
        text = f"{top}\nimport os, sys, torch\nfrom torch import nn\ndef make():\n    {body}{tail}\n"

        def action(text: str = text) -> None:
            environment, places, filters = dict(os.environ), list(sys.path), list(warnings.filters)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            try:
                opened = open_model(f"{path}:make")
                Session(opened, recipe=_RECIPE).cut()
            except TuiPruneError as error:
                assert len(str(error)) < 20_000
            finally:
                os.environ.update(environment)
                sys.path[:] = places
                warnings.filters[:] = filters  # type: ignore[index]

        yield f"{top!r} {body!r}{tail!r}", action
