"""A network that runs several times on one stand-in: each run starts from the same state."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_tensors
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.repeated import Repeated
from tui_prune.graph.trace import record_trace, run
from tui_prune.surgery.masked import MaskedAgain, MaskedTracer

X = torch.ones(2, 4)


def unchanged(net: nn.Module, x: Tensor) -> Tensor:
    return x


class Net(nn.Module):
    """A layer, and something that `step` may leave behind."""

    def __init__(self, step: Callable[[nn.Module, Tensor], Tensor] = unchanged) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(4))
        self.seen: list[int] = []
        self.options = {"scale": 1.0}
        self.count = 0
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.fc(self.step(self, x))))


def counting(net: Net, x: Tensor) -> Tensor:
    net.count += 1
    return x * net.count


def remembering(net: Net, x: Tensor) -> Tensor:
    net.seen.append(1)
    return x * len(net.seen)


def averaging(net: Net, x: Tensor) -> Tensor:
    net.mean.add_(1)
    return x * net.mean


def growing(net: Net, x: Tensor) -> Tensor:
    net.options["scale"] += 1
    return x * net.options["scale"]


def outputs(network: Repeated) -> tuple[nn.Module, Tensor]:
    with network.untouched() as twin:
        return twin, run(twin, (X,), {})


def test_a_run_that_leaves_nothing_behind_is_repeated_on_the_same_stand_in() -> None:
    net = Net().eval()
    network = Repeated(net)
    (first, one), (second, other) = outputs(network), outputs(network)
    assert first is second is not net
    assert torch.equal(one, other) and torch.equal(one, net(X))


@pytest.mark.parametrize("step", [counting, remembering, averaging, growing])
def test_what_a_run_leaves_behind_reaches_no_other(step: Callable[[nn.Module, Tensor], Tensor]) -> None:
    net = Net(step).eval()
    network = Repeated(net)
    (first, one), (second, other) = outputs(network), outputs(network)
    assert torch.equal(one, other)
    assert first is not second
    assert (net.count, net.seen, net.options, float(net.mean.sum())) == (0, [], {"scale": 1.0}, 0.0)


def test_with_other_values_it_runs_as_long_as_it_holds_them() -> None:
    net = Net(lambda own, x: x + own.mean).eval()
    network = Repeated(net)
    _, before = outputs(network)
    values = {name: tensor.detach() + 1 for name, tensor in named_tensors(net)}
    with network.holding(values):
        _, meanwhile = outputs(network)
    _, after = outputs(network)
    other = Net(lambda own, x: x + own.mean).eval()
    other.load_state_dict(values)
    assert torch.equal(meanwhile, other(X))
    assert torch.equal(before, after) and torch.equal(before, net(X))


# A second masked run is masked as the first one was.


class Sorted(nn.Module):
    """Its channels stand in the order of a parameter's values."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.score = nn.Parameter(torch.arange(6.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(x)[:, self.score.argsort()])


def masked(net: nn.Module, record: TraceRecord) -> tuple[Tensor, MaskedTracer]:
    """Without the first three channels of `fc`."""
    kept = torch.ones(2 * record.size, dtype=torch.bool)
    for name in ("fc.weight", "fc.bias"):
        first = next(axis.first for axis in record.axes_of(name) if axis.dim == 0)
        kept[first : first + 3] = False
    tracer = MaskedTracer(net, kept, record)
    with torch.no_grad():
        return run(net, (X,), {}, tracer), tracer


def test_a_second_masked_run_is_masked_like_the_first() -> None:
    net = Net().eval()
    record = record_trace(net, (X,), {})
    _, tracer = masked(net, record)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
        again = MaskedAgain(tracer.steps)
        found = run(net, (X,), {}, again)
    assert not again.differs
    assert torch.equal(found, masked(net, record)[0])
    assert not torch.equal(found, net(X))


def test_a_run_that_puts_channels_elsewhere_says_so() -> None:
    net = Sorted().eval()
    _, tracer = masked(net, record_trace(net, (X,), {}))
    with torch.no_grad():
        net.score.neg_()
        again = MaskedAgain(tracer.steps)
        run(net, (X,), {}, again)
    assert again.differs


def test_a_run_of_other_operators_says_so() -> None:
    net = Net().eval()
    _, tracer = masked(net, record_trace(net, (X,), {}))
    net.step = lambda own, x: x + 1
    again = MaskedAgain(tracer.steps)
    with torch.no_grad():
        run(net, (X,), {}, again)
    assert again.differs
