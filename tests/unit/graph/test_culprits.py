"""What the network's own outermost code fixes is found by trials; all else is cut."""

import torch
from torch import Tensor, nn

import tui_prune
from tests.exactness import prune_exactly


class Checks(nn.Module):
    """Its forward counts channels itself, as optical flow networks do that split a context into state and input."""

    state_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.context = nn.Conv2d(16, 12, 1)
        self.second = nn.Conv2d(12, 16, 3)
        self.out = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        context = self.context(torch.relu(self.first(x)))
        if context.shape[1] <= self.state_size:
            raise ValueError("nothing of the context is left")
        return self.out(torch.relu(self.second(context)))


def test_only_the_layer_that_the_code_counts_is_locked() -> None:
    torch.manual_seed(0)
    result = prune_exactly(Checks().eval(), torch.randn(1, 3, 8, 8))
    layers = {layer.name: layer.after for layer in result.plan.layers}
    assert layers == {"first": 8, "context": 12, "second": 8, "out": 5}
    (lock,) = [lock for lock in result.report.locks if lock["layer"] == "context"]
    assert lock["reason"] == "the model's code fixes this size"
    assert 'raise ValueError("nothing of the context is left")' in lock["where"]


class Experts(nn.Module):
    """Each row goes through all experts, whose number stands in the code; a gate says how much each counts."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate, self.out = nn.Linear(5, 16), nn.Linear(16, 4), nn.Linear(16, 3)
        self.up, self.down = (nn.Parameter(torch.randn(4, *shape) / 4) for shape in ((16, 32), (32, 16)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        experts = torch.bmm(torch.bmm(x.unsqueeze(0).expand(4, -1, -1), self.up).relu(), self.down)
        return self.out((experts * self.gate(x).softmax(-1).t().unsqueeze(-1)).sum(0))


def test_of_the_groups_that_meet_where_the_code_fails_only_the_one_to_blame_is_locked() -> None:
    torch.manual_seed(0)
    result = tui_prune.prune(Experts().eval(), torch.randn(6, 5), ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert (result.model.up.shape, result.model.down.shape) == ((4, 8, 16), (4, 16, 8))
    assert [lock["layer"] for lock in result.report.locks if "fixes this size" in lock["reason"]] == ["gate"]


class ShapeOfAnEarlierLayer(nn.Module):
    """Reshapes what its last layer puts out to as many channels as the layer before had."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Conv2d(n, 16, 3, padding=1) for n in (3, 16, 16, 16)))
        self.narrow, self.last = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(self.blocks(x).relu())
        shape = x.shape
        return self.last(x).reshape(shape)


def test_of_many_groups_in_a_failing_module_only_the_one_to_blame_is_locked() -> None:
    torch.manual_seed(0)
    result = prune_exactly(nn.Sequential(ShapeOfAnEarlierLayer()).eval(), torch.randn(1, 3, 6, 6))
    after = {layer.name: layer.after for layer in result.plan.layers}
    assert after == {**{f"0.blocks.{n}": 8 for n in range(4)}, "0.narrow": 4, "0.last": 4}
