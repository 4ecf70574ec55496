"""Hooks, closures and bound methods: those of a copy are its own, and the user's network never runs."""

import functools
import itertools
import math
import random
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune as masks
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.feature_extraction import create_feature_extractor

import tui_prune
from tests.exactness import largest_error, widths
from tests.small_nets import conv
from tui_prune.loading.guess_input import guess_input

IMAGE = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(3, 3, 8, 6, generator=torch.Generator().manual_seed(1))
SEEN: list[Tensor] = []

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Tapped(nn.Module):
    """What `a` puts out is read once more, as a hook or a closure has kept it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = conv(3, 16, 3), conv(16, 12), conv(16, 4), conv(12, 4)
        self.install()

    def install(self) -> None: ...

    def kept(self) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.out(F.relu(self.b(F.relu(y)))) + self.c(F.relu(self.kept()))


class InADict(Tapped):
    def install(self) -> None:
        self.features: dict[str, Tensor] = {}

        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            self.features["a"] = output

        self.a.register_forward_hook(hook)

    def kept(self) -> Tensor:
        return self.features["a"]


class InADictOfTheClosure(Tapped):
    """Neither the hook nor what reads it goes through the module."""

    def install(self) -> None:
        features: dict[str, Tensor] = {}
        self.a.register_forward_hook(lambda module, args, output: features.update(a=output))
        self.read = lambda: features["a"]

    def kept(self) -> Tensor:
        return self.read()


class InADefaultArgument(Tapped):
    def install(self) -> None:
        self.features: list[Tensor] = []

        def hook(module: nn.Module, args: Any, output: Tensor, *, into: list[Tensor] = self.features) -> None:
            into[:] = [output]

        self.a.register_forward_hook(hook)

    def kept(self) -> Tensor:
        return self.features[0]


class InADeque(Tapped):
    def install(self) -> None:
        self.features: deque[Tensor] = deque(maxlen=2)
        self.a.register_forward_hook(functools.partial(self.take, self.features), always_call=True)

    @staticmethod
    def take(into: deque[Tensor], module: nn.Module, args: Any, output: Tensor) -> None:
        into.append(output)

    def kept(self) -> Tensor:
        return self.features[-1]


class Collector:
    def __init__(self) -> None:
        self.lock, self.last = threading.Lock(), None
        self.itself = self

    def take(self, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        with self.lock:
            self.last = output


class InAnObject(Tapped):
    def install(self) -> None:
        self.collector = Collector()
        self.a.register_forward_hook(self.collector.take, with_kwargs=True)

    def kept(self) -> Tensor:
        return self.collector.last


class InItself(Tapped):
    def install(self) -> None:
        self.last: Tensor | None = None
        self.handle = self.a.register_forward_hook(self.take)

    def take(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.last = output

    def kept(self) -> Tensor:
        return self.last


class InAVariable(Tapped):
    """`nonlocal`: two closures share one variable."""

    def install(self) -> None:
        last: Tensor | None = None

        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            nonlocal last
            last = output

        self.a.register_forward_hook(hook)
        self.read = lambda: last

    def kept(self) -> Tensor:
        return self.read()


class InAGlobal(Tapped):
    def install(self) -> None:
        self.a.register_forward_hook(lambda module, args, output: SEEN.append(output))

    def kept(self) -> Tensor:
        return SEEN[-1]


class InTheClass(Tapped):
    features: ClassVar[dict[str, Tensor]] = {}
    calls: ClassVar[int] = 0

    def install(self) -> None:
        self.a.register_forward_hook(self.take)

    @classmethod
    def take(cls, module: nn.Module, args: Any, output: Tensor) -> None:
        cls.features["a"] = output
        cls.calls += 1

    def kept(self) -> Tensor:
        return self.features["a"]


def around_a_class() -> nn.Module:
    """What the class's own code reads is a variable around it, which no copy of an object changes."""
    features: dict[str, Tensor] = {}

    class Local(Tapped):
        def install(self) -> None:
            self.a.register_forward_hook(lambda module, args, output: features.update(a=output))

        def kept(self) -> Tensor:
            return features["a"]

    return Local()


class InstalledLazily(Tapped):
    """Installs its hooks in the first forward pass, and never again."""

    def install(self) -> None:
        self.installed, self.features = False, {}

    def forward(self, x: Tensor) -> Tensor:
        if not self.installed:
            self.a.register_forward_hook(lambda module, args, output: self.features.setdefault("a", []).append(output))
            self.installed = True
        self.features.clear()
        return super().forward(x)

    def kept(self) -> Tensor:
        (only,) = self.features["a"]
        return only


class InstalledEachTime(Tapped):
    def install(self) -> None:
        self.handle, self.seen = None, []

    def forward(self, x: Tensor) -> Tensor:
        if self.handle is not None:
            self.handle.remove()
        self.seen.clear()
        self.handle = self.a.register_forward_hook(lambda module, args, output: self.seen.append(output))
        return super().forward(x)

    def kept(self) -> Tensor:
        (only,) = self.seen
        return only


class ByAPreHook(Tapped):
    """The pre-hook both changes what `b` is given and keeps it."""

    def install(self) -> None:
        self.features: list[Tensor] = []
        self.scale = nn.Parameter(torch.ones(()))

        def change(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            self.features[:] = args
            return (args[0] * self.scale,)

        self.b.register_forward_pre_hook(change)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(F.relu(self.a(x)))
        return self.out(F.relu(y)) + self.c(self.features[0])


class ChangedOutput(Tapped):
    """A hook in the place of a layer: what it returns is the output."""

    def install(self) -> None:
        self.norm = nn.BatchNorm2d(16)
        self.a.register_forward_hook(lambda module, args, output: self.norm(output))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x))
        return self.out(F.relu(self.b(y))) + self.c(y)


class Lambdas(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.out = conv(3, 16), nn.BatchNorm2d(16), conv(16, 12), conv(12, 4)
        self.act = lambda x: F.relu(self.norm(x))
        self.block = lambda x: self.b(self.act(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(self.a(x)))


class Chain(nn.Module):
    """Two layers that are run in some way of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(16, 12), conv(12, 4)
        self.install()

    def install(self) -> None: ...

    def inner(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.run(x)))


class BoundMethod(Chain):
    def install(self) -> None:
        self.run = self.inner


class Cached(Chain):
    def install(self) -> None:
        self.layers = functools.lru_cache(maxsize=None)(self.find)

    def find(self, name: str) -> nn.Module:
        return getattr(self, name)

    def run(self, x: Tensor) -> Tensor:
        return self.layers("b")(F.relu(self.layers("a")(x)))


class Weakly(Chain):
    def install(self) -> None:
        self.first, self.second = weakref.ref(self.a), [weakref.proxy(self.b)]

    def run(self, x: Tensor) -> Tensor:
        return self.second[0](F.relu(self.first()(x)))


class Child(nn.Module):
    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "parent", parent)

    def forward(self, x: Tensor) -> Tensor:
        return self.parent.inner(x)


class ThroughTheParent(Chain):
    def install(self) -> None:
        self.run = Child(self)


class InAPlainList(Chain):
    def install(self) -> None:
        self.layers = [self.a, F.relu, self.b]

    def run(self, x: Tensor) -> Tensor:
        return functools.reduce(lambda y, layer: layer(y), self.layers, x)


class InANamespace(Chain):
    def install(self) -> None:
        self.parts = types.SimpleNamespace(first=self.a, others=(self.b,))

    def run(self, x: Tensor) -> Tensor:
        return self.parts.others[0](F.relu(self.parts.first(x)))


@dataclass(frozen=True)
class Pair:
    first: nn.Module
    second: Callable[[Tensor], Tensor]


class InADataclass(Chain):
    def install(self) -> None:
        self.pair = Pair(self.a, self.b.forward)

    def run(self, x: Tensor) -> Tensor:
        return self.pair.second(F.relu(self.pair.first(x)))


class Recursive(Chain):
    def install(self) -> None:
        layers = (self.a, self.b)

        def through(x: Tensor, number: int = 0) -> Tensor:
            return x if number == len(layers) else through(F.relu(layers[number](x)), number + 1)

        self.run = through


def wrapped_forward() -> nn.Module:
    """As libraries that move weights about do it: `forward` of the object runs the one of before."""
    model = BoundMethod()
    for part in (model, model.a):
        part.forward = _wrapped(part.forward)
    return model


def _wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return wrapper


class RefusesCopies(Tapped):
    def __deepcopy__(self, memo: Any) -> "RefusesCopies":
        raise RuntimeError("not by copy.deepcopy")

    def install(self) -> None:
        self.features: list[Tensor] = []
        self.a.register_forward_hook(lambda module, args, output: self.features.append(output))

    def kept(self) -> Tensor:
        return self.features.pop()


def hooked_graph() -> nn.Module:
    """A module of torch.fx, which loses forward hooks when it is copied, with a hook on a part and on itself."""
    graph = torch.fx.symbolic_trace(nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 12), nn.ReLU()))

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph, self.c, self.out, self.features = graph, conv(16, 4), conv(12, 4), {}
            self.graph.get_submodule("0").register_forward_hook(self.keeper("inner"))
            self.graph.register_forward_hook(self.keeper("last"))

        def keeper(self, name: str) -> Callable[..., None]:
            def keep(module: nn.Module, args: Any, output: Tensor) -> None:
                self.features[name] = output

            return keep

        def forward(self, x: Tensor) -> Tensor:
            self.graph(x)
            return self.out(self.features["last"]) + self.c(self.features["inner"])

    return Around()


class Read(nn.Module):
    """What comes of several features."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.c, self.out = body, conv(16, 4), conv(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return self.c(features["one"]) + self.out(F.relu(features["two"]))


def intermediate_layers() -> nn.Module:
    return Read(IntermediateLayerGetter(nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 12)), {"1": "one", "2": "two"}))


def extracted_features() -> nn.Module:
    return Read(create_feature_extractor(nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 12)), {"1": "one", "2": "two"}))


class WithMasks(InADict):
    def install(self) -> None:
        super().install()
        masks.random_unstructured(self.a, "weight", 0.1)


class AttributesOfParameters(Chain):
    def install(self) -> None:
        self.a.weight.layer = self.a

    def run(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a.weight.layer(x)))


TAPPED = {"a": 8, "b": 6}
OF_ITS_OWN: list[tuple[Callable[[], nn.Module], dict[str, int]]] = [
    *((kind, TAPPED) for kind in (InADict, InADictOfTheClosure, InADefaultArgument, InADeque, InAnObject, InItself)),
    *((kind, TAPPED) for kind in (InAVariable, InstalledLazily, InstalledEachTime, ByAPreHook, ChangedOutput)),
    *((kind, TAPPED) for kind in (InAGlobal, InTheClass, around_a_class, RefusesCopies, WithMasks)),
    *((kind, TAPPED) for kind in (Lambdas, BoundMethod, Cached, Weakly, ThroughTheParent, InAPlainList, InANamespace)),
    *((kind, TAPPED) for kind in (InADataclass, Recursive, wrapped_forward, AttributesOfParameters)),
    (hooked_graph, {"graph.0": 8, "graph.2": 6}),
    *((kind, {"body.0": 8, "body.2": 6}) for kind in (intermediate_layers, extracted_features)),
]


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SEEN.clear()
    InTheClass.features.clear()
    InTheClass.calls = 0
    yield
    SEEN.clear()


def masked(model: nn.Module, twin: nn.Module, kept: dict[str, Tensor]) -> nn.Module:
    """A network built anew, with the original's weights and zeros in every weight that reads a cut channel."""
    twin.load_state_dict(model.state_dict())
    for name, parameter in twin.named_parameters():
        if f"{name}/1" in kept:
            gone = torch.ones(parameter.shape[1], dtype=torch.bool).index_fill(0, kept[f"{name}/1"], False)
            parameter.data[:, gone] = 0
    return twin.eval()


@pytest.mark.parametrize(("build", "after"), OF_ITS_OWN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_cut_network_runs_only_its_own_parts(build: Callable[[], nn.Module], after: dict[str, int]) -> None:
    model = build().eval()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert {name: width for name, (before, width) in widths(result).items() if width != before} == after
    with torch.no_grad():
        expected = masked(model, build(), dict(result.kept))(OTHERS)
        assert largest_error(result.model(OTHERS), expected) < 1e-5
        plain, again = model(OTHERS), model(OTHERS)
        assert torch.equal(plain, again)
        assert largest_error(plain, expected) > 1e-3
        for tensor in model.parameters():
            tensor.fill_(math.nan)
        assert largest_error(result.model(OTHERS), expected) < 1e-5
        assert largest_error(result.model(OTHERS), expected) < 1e-5
    result.model.train()(OTHERS).square().mean().backward()
    assert any(parameter.grad is not None for parameter in result.model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("build", "after"), OF_ITS_OWN, ids=lambda value: getattr(value, "__name__", ""))
@torch.no_grad()
def test_in_place_a_networks_hooks_stay_its_own(build: Callable[[], nn.Module], after: dict[str, int]) -> None:
    model = build().eval()
    result = tui_prune.prune(model, IMAGE, ratio=0.5, inplace=True)
    assert {name: width for name, (before, width) in widths(result).items() if width != before} == after
    first = model(OTHERS)
    assert torch.equal(first, model(OTHERS))
    assert bool(first.isfinite().all())


def test_what_hooks_write_to_is_as_before() -> None:
    features: dict[str, Tensor] = {}
    model = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 4))
    model[0].register_forward_hook(lambda module, args, output: features.update(a=output))
    graph = tui_prune.trace(model, IMAGE)
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    task = tui_prune.Task(calibration=lambda: [IMAGE, OTHERS], evaluate=lambda model: model(OTHERS).mean().item())
    tui_prune.plan(graph, ratio=0.5, criterion="activation", task=task)
    tui_prune.plan(graph, ratio=0.5, criterion="taylor", task=task)
    tui_prune.sensitivity(model, IMAGE, task, ratios=(0.5,))
    tui_prune.recover(result, task)
    assert features == {}
    result.model(OTHERS)
    assert features == {}
    model(OTHERS)
    assert features["a"].shape == (3, 16, 8, 6)


@pytest.mark.parametrize("build", [InAGlobal, InTheClass, around_a_class, InstalledLazily], ids=lambda b: b.__name__)
def test_what_no_copy_has_for_itself_is_put_back(build: Callable[[], nn.Module]) -> None:
    before = list(SEEN), dict(InTheClass.features), InTheClass.calls
    model = build()
    hooks = len(model.a._forward_hooks)
    tui_prune.trace(model, IMAGE)
    tui_prune.prune(model, IMAGE, ratio=0.5)
    assert (list(SEEN), dict(InTheClass.features), InTheClass.calls) == before
    assert len(model.a._forward_hooks) == hooks


def test_handles_and_hooks_of_the_state_belong_to_the_copy() -> None:
    class Saves(InItself):
        def install(self) -> None:
            super().install()
            self.saved: list[str] = []
            self.register_state_dict_pre_hook(lambda module, prefix, keep: self.saved.append("pre"))
            self._register_state_dict_hook(lambda module, state, prefix, metadata: self.saved.append("post"))
            self.a.register_full_backward_hook(lambda module, given, gone: self.saved.append("backward"))
            self.b.register_load_state_dict_post_hook(lambda module, keys: self.saved.append("loaded"))

    model = Saves()
    cut = tui_prune.prune(model, IMAGE, ratio=0.5).model
    model.saved.clear()
    cut.load_state_dict(cut.state_dict())
    cut(OTHERS.clone().requires_grad_()).sum().backward()
    assert cut.saved[-4:] == ["pre", "post", "loaded", "backward"]
    assert model.saved == []
    cut.handle.remove()
    assert len(cut.a._forward_hooks) == 0
    assert len(model.a._forward_hooks) == 1


def test_what_hooks_of_every_module_write_to_is_as_before() -> None:
    names: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: names.append(type(module).__name__)
    )
    try:
        result = tui_prune.prune(nn.Sequential(conv(3, 16), conv(16, 4)), IMAGE, ratio=0.5)
        assert names == []
        result.model(IMAGE)
        assert names == ["Conv2d", "Conv2d", "Sequential"]
    finally:
        handle.remove()


class Loose(dict):
    """Items are attributes, and whatever isn't there is None."""

    __getattr__ = dict.get


def test_a_dictionary_that_has_every_attribute_is_copied() -> None:
    model = Chain()
    model.run, model.loose = model.inner, Loose(layers=[model.a], scale=2.0)
    cut = tui_prune.prune(model, IMAGE, ratio=0.5).model
    assert type(cut.loose) is Loose
    assert cut.loose is not model.loose
    assert cut.loose.layers == [cut.a]


COUNT = 0
NAMES: dict[Any, str] = {}


def counted(x: Tensor) -> Tensor:
    global COUNT
    COUNT += 1
    return x


class Counts(Chain):
    def run(self, x: Tensor) -> Tensor:
        return counted(self.inner(x))


def test_a_global_that_code_assigns_is_as_before() -> None:
    tui_prune.prune(Counts(), IMAGE, ratio=0.5)
    assert COUNT == 0


class Draws(Chain):
    """Numbers that aren't torch's: of its own generators, and of the process-wide ones."""

    def install(self) -> None:
        self.generator, self.steps = torch.Generator().manual_seed(3), itertools.count()

    def run(self, x: Tensor) -> Tensor:
        noise = torch.rand((), generator=self.generator)
        return self.inner(x) * (1 + 0.1 * noise + 0.1 * next(self.steps) + 0.1 * random.random())


def test_a_generators_state_is_as_before() -> None:
    model, twin = Draws().eval(), Draws().eval()
    twin.load_state_dict(model.state_dict())
    random.seed(5)
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    drawn = model(IMAGE)
    random.seed(5)
    assert torch.equal(drawn, twin(IMAGE))


# What can't be copied.


class UsesAGenerator(Chain):
    def install(self) -> None:
        self.factors = (1.0 for _ in range(1000))

    def run(self, x: Tensor) -> Tensor:
        return self.inner(x) * next(self.factors)


class HoldsAGeneratorOfParts(Chain):
    def install(self) -> None:
        self.layers = (part for part in (self.a, self.b))

    run = Chain.inner


class Stubborn:
    """Refuses to be copied, and holds a part of the network."""

    def __init__(self, part: nn.Module) -> None:
        self.part = part

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("there is only one of these")

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return self.part(output)


class StubbornHook(Chain):
    def install(self) -> None:
        self.a.register_forward_hook(Stubborn(self.b))

    def run(self, x: Tensor) -> Tensor:
        return self.a(x)


class StubbornAttribute(Chain):
    def install(self) -> None:
        self.a.helpers = {"one": [Stubborn(self.b)]}

    run = Chain.inner


class ByAGlobal(Chain):
    def install(self) -> None:
        NAMES[self.a] = "a"

    def run(self, x: Tensor) -> Tensor:
        return self.b(next(iter(NAMES))(x))


def by_a_variable() -> nn.Module:
    layer = conv(16, 12)

    class Local(Chain):
        def install(self) -> None:
            self.b = layer

        def run(self, x: Tensor) -> Tensor:
            return layer(self.a(x))

    return Local()


REFUSED = {
    UsesAGenerator: r"its attribute factors is a generator, which can be read only once",
    HoldsAGeneratorOfParts: r"its attribute layers leads to a generator that holds parts of the network and can't be",
    StubbornHook: r"a forward hook of its part 'a' leads to a Stubborn that holds parts of the network and can't be",
    StubbornAttribute: r"its attribute a\.helpers leads to a Stubborn that holds parts of the network and can't be",
    ByAGlobal: r"run \(test_hooks_and_closures\.py:\d+\) reaches its part a by the variable NAMES",
    by_a_variable: r"run \(test_hooks_and_closures\.py:\d+\) reaches its part b by the variable layer",
}


@pytest.mark.parametrize(("build", "sentence"), REFUSED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_would_lead_back_to_the_original_is_refused(build: Callable[[], nn.Module], sentence: str) -> None:
    model = build()
    for use in (tui_prune.trace, tui_prune.prune):
        with pytest.raises(tui_prune.TuiPruneError, match=sentence):
            use(model, IMAGE)
    NAMES.clear()


def test_a_generator_that_was_refused_is_as_before() -> None:
    model = UsesAGenerator()
    with pytest.raises(tui_prune.TuiPruneError):
        tui_prune.trace(model, IMAGE)
    assert len(list(model.factors)) == 1000


def test_what_cannot_be_copied_and_holds_nothing_of_the_network_is_shared() -> None:
    class Holds(Chain):
        def install(self) -> None:
            self.lock, self.stubborn = threading.Lock(), Stubborn(nn.Identity())

        def run(self, x: Tensor) -> Tensor:
            with self.lock:
                return self.inner(x)

    model = Holds()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert result.model.lock is model.lock
    assert result.model.stubborn is model.stubborn
    assert widths(result)["a"] == (16, 8)


def test_recalibration_leaves_nothing_behind_in_what_hooks_write_to() -> None:
    class Normed(InAGlobal):
        def install(self) -> None:
            super().install()
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.b(F.relu(self.norm(self.a(x)))))) + self.c(self.kept())

    result = tui_prune.prune(Normed(), IMAGE, ratio=0.5)
    recovered = tui_prune.recover(result, tui_prune.Task(calibration=lambda: [OTHERS, OTHERS]))
    assert SEEN == []
    with torch.no_grad():
        torch.testing.assert_close(recovered.model.norm.running_mean, recovered.model.a(OTHERS).mean((0, 2, 3)))


def test_an_input_is_guessed_with_hooks_of_a_copy() -> None:
    model = InADict()
    guess = guess_input(model, torch.device("cpu"), torch.float32)
    assert guess.runs
    assert model.features == {}
