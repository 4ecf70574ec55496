"""What the list of bundled networks says of them is true."""

import pytest

from tui_prune.loading.sources.bundled import trained_weights
from tui_prune.models import NETWORKS, factory


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_of_parameters_and_trained_weights(name: str) -> None:
    assert sum(parameter.numel() for parameter in factory(name)().parameters()) == NETWORKS[name].parameters
    assert (trained_weights(name) is not None) == NETWORKS[name].trained
    assert 0 < len(NETWORKS[name].about) <= 36
