"""Whatever other people's code raises, the answer is a sentence."""

import asyncio
import threading

import pytest
import torch
from torch import nn

import tui_prune
from tui_prune.errors import TuiPruneError, interrupts, ordinary_errors

X = torch.zeros(1, 3, 8, 8)


class Silent(Exception):
    def __str__(self):
        raise ValueError("no words")


class Wordless(Exception):
    def __str__(self):
        return None  # type: ignore[return-value]


class Base(BaseException):
    pass


ODD = [Silent(), Wordless(), Base("base"), GeneratorExit(), asyncio.CancelledError(), SystemExit(3), StopIteration(1)]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_of_a_task_and_of_a_network(error):
    def raise_it(*_):
        raise error

    class Net(nn.Sequential):
        def forward(self, x):
            raise error

    with pytest.raises(TuiPruneError, match=f"{type(error).__name__}.*in evaluate"):
        tui_prune.Task(evaluate=raise_it).score(nn.Linear(2, 2))
    with pytest.raises(TuiPruneError, match=f"forward pass fails.*{type(error).__name__}"):
        tui_prune.prune(Net(nn.Conv2d(3, 4, 3)), X, ratio=0.5)


def test_only_the_main_thread_is_interrupted():
    with pytest.raises(KeyboardInterrupt), ordinary_errors():
        raise KeyboardInterrupt
    found = []
    thread = threading.Thread(target=lambda: found.append(interrupts(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert found == [False]


def within_itself():
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model[0].outer = model
    return model


def very_deep():
    model = nn.Conv2d(3, 4, 1)
    for _ in range(600):
        model = nn.Sequential(model)
    return model


class TakesOut(nn.Sequential):
    def forward(self, x):
        x = super().forward(x)
        self._modules.pop("1", None)
        return x


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (within_itself, "is within itself"),
        (very_deep, "is nested too deep"),
        (lambda: TakesOut(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), "takes its part 1 out"),
    ],
)
def test_networks_that_no_walk_comes_through(make, words):
    with pytest.raises(TuiPruneError, match=words):
        tui_prune.prune(make(), X, ratio=0.5)
