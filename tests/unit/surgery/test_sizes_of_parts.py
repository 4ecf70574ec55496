"""A size that a module keeps and only the code around it reads."""

import torch
from torch import Tensor, nn

from tests.cuts import check_cut


class Update(nn.Module):
    """Knows how wide the state is that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size = 16
        self.layer = nn.Linear(24, 16)

    def forward(self, state: Tensor, context: Tensor) -> Tensor:
        return self.layer(torch.cat([state, context], -1)) + state


class Recurrent(nn.Module):
    """State and context are parts of one layer's output, as wide as the update wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.update, self.out = nn.Linear(6, 24), Update(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        both = self.encoder(x)
        context_size = both.shape[-1] - self.update.state_size
        if context_size < 1:
            raise ValueError(f"{both.shape[-1]} channels are too few for a state of {self.update.state_size}")
        state, context = both.split([self.update.state_size, context_size], -1)
        return self.out(self.update(state, context.relu()))


def test_it_is_set_where_it_is_kept() -> None:
    torch.manual_seed(0)
    result = check_cut(Recurrent, torch.randn(2, 6), {"encoder": 12, "update.layer": 8})
    assert [(edit.module, edit.value) for edit in result.edits if edit.attribute == "state_size"] == [("update", 8)]
