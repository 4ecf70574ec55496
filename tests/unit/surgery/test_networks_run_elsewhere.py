"""Modules that run none of their own layers: refused, with the part to open."""

import copy
import functools
import gc
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tests.exactness import prune_exactly, widths
from tests.small_nets import conv

IMAGE = torch.randn(1, 3, 8, 8)


def chain() -> nn.Sequential:
    return nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 4))


class RunsACopy(nn.Module):
    """Its forward pass works with a copy, and gives anything but what that puts out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = chain()

    def forward(self, x: Tensor) -> Any:
        with torch.inference_mode():
            score = float(copy.deepcopy(self.model)(x).max())
        return {"picture": x, "score": score}


class GivesNoTensor(RunsACopy):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)["score"]


class RunsNone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList([chain(), nn.ModuleDict({"b": conv(3, 4)})])

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


class InAList(nn.Module):
    """Its network isn't among its modules."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = [chain()]

    def forward(self, x: Tensor) -> Tensor:
        return self.nets[0](x)


class Predictor:
    def __init__(self) -> None:
        self.network = chain()


class InAnObject(InAList):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = Predictor()
        self.nets = []

    def forward(self, x: Tensor) -> Tensor:
        return self.predictor.network(x)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (RunsACopy, r"RunsACopy can't be pruned: it runs none of its layers\. Open its part model \(a Sequential\) "),
        (GivesNoTensor, r"it runs none of its layers\. Open its part model \(a Sequential\) instead\.$"),
        (RunsNone, r"Open one of its parts instead: nets\.0 \(a Sequential\), nets\.1\.b \(a Conv2d\)\.$"),
        (InAList, r"no layers with weights among its modules\. Open its part nets\[0\] \(a Sequential\) instead\.$"),
        (InAnObject, r"Open its part predictor\.network \(a Sequential\) instead\.$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_part_to_open_is_named(build: Callable[[], nn.Module], sentence: str) -> None:
    model = build()
    for use in (tui_prune.trace, tui_prune.prune):
        with pytest.raises(tui_prune.TuiPruneError, match=sentence):
            use(model, IMAGE)


def test_a_layer_of_its_own_beside_it_is_enough() -> None:
    class Both(RunsACopy):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = conv(3, 16), conv(16, 4)

        def forward(self, x: Tensor) -> Any:
            return self.out(self.a(x)) + super().forward(x)["score"]

    assert tui_prune.trace(Both(), IMAGE).layer("a").width == 16


class Inference(nn.Module):
    """Runs in inference mode, as networks that are only served do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.inside, self.last = nn.Linear(16, 24), nn.Linear(24, 4)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu_().flatten(2).transpose(1, 2)
        return self.last(self.inside(x).relu_().mean(1))


def test_a_network_that_runs_in_inference_mode_is_cut_like_others() -> None:
    model = Inference()
    result = prune_exactly(model, torch.randn(1, 3, 6, 6))
    assert widths(result) == {"first": (16, 8), "inside": (24, 12), "last": (4, 4)}
    assert result.report.macs.before == 3 * 9 * 16 * 36 + 16 * 24 * 36 + 24 * 4
    assert gc.isenabled()


class OfAFunction(nn.Module):
    """What it runs is the variable of a function that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        network = chain()
        self.run = lambda x: network(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


class OfAPartial(OfAFunction):
    def __init__(self) -> None:
        super().__init__()
        self.run = functools.partial(lambda network, x: network(x), chain())


class OfItsClass(nn.Module):
    """What all of its kind run; a small part of its own does nothing."""

    network = chain()

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


class OfItsFile(OfItsClass):
    def forward(self, x: Tensor) -> Tensor:
        return SHARED(x)


SHARED = conv(3, 4)


@pytest.mark.parametrize(
    ("wrapper", "advice"),
    [
        (OfAFunction, "Open its part network in run (a Sequential) instead"),
        (OfAPartial, "Open its part run.args[0] (a Sequential) instead"),
        (OfItsClass, "Open one of its parts instead: network (a Sequential), unused (a Linear)"),
        (OfItsFile, "SHARED (a Conv2d)"),
    ],
)
def test_what_the_code_reaches_in_other_ways_is_named_the_largest_first(wrapper: type[nn.Module], advice: str) -> None:
    with pytest.raises(tui_prune.TuiPruneError) as refused:
        tui_prune.prune(wrapper(), IMAGE, ratio=0.5)
    assert advice in str(refused.value)


class Helper:
    @classmethod
    @functools.lru_cache(8)
    def factor(cls, number: int) -> int:
        return number + 1

    half = staticmethod(functools.partial(operator.mul, 0.5))
    calls = 0


class CallsAHelper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        Helper.calls += 1
        return self.b(Helper.half(Helper.factor(1) * self.a(x)))


def test_classes_that_the_code_uses_are_left_as_they_are() -> None:
    before = dict(vars(Helper))
    result = tui_prune.prune(CallsAHelper().eval(), torch.randn(1, 3, 8, 8), ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert dict(vars(Helper)) == before
    assert (Helper.factor(2), Helper.half(4), Helper.calls) == (3, 2.0, 0)
