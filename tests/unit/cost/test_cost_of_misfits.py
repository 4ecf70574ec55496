"""What a plan costs whose widths can't meet in a call: a number all the same, because planning comes before the trial
that finds it out."""

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.cost.cost import CostModel

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Halves(nn.Module):
    """A product over a batch of four rows of channels with four rows of a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(6, 8), nn.Linear(5, 3)
        self.register_buffer("mix", torch.randn(4, 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.a(x).view(len(x), 4, 2).transpose(0, 1)
        return self.out(torch.bmm(rows, self.mix).sum(0))


def test_a_formula_that_refuses_sizes_is_replaced_by_the_traced_cost() -> None:
    graph = tui_prune.trace(Halves(), torch.randn(3, 6))
    costs = CostModel(graph)
    whole, _ = costs.measure(torch.ones(graph.classes.channels, dtype=torch.bool).numpy())
    slots = graph.record.axes_of("mix")[0].slots
    keep = torch.ones(graph.classes.channels, dtype=torch.bool).numpy()
    keep[graph.classes.channel[slots[:2]]] = False  # the batch of one operand, and not of the other
    cut, layers = costs.measure(keep)
    product = 4 * 3 * 2 * 5
    assert whole.macs - cut.macs == product // 2
    assert sum(layers.macs.values()) == cut.macs
