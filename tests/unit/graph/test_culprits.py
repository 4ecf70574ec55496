"""What the network's own outermost code fixes is found by trials; all else is cut."""

import torch
from torch import Tensor, nn

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
