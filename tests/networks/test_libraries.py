"""Networks of other libraries, cut by half: `pytest -m libraries` runs those whose libraries are installed."""

from collections.abc import Callable

import pytest

from tests.networks.libraries.network import Network
from tests.networks.libraries.process import sweep_in_a_process
from tests.networks.libraries.shortfalls import NOT_BY_HAND, SHORTFALLS
from tests.networks.libraries.tables import networks

SECONDS = 600.0


def parameters() -> list[object]:
    """All networks; those that fall short are expected to."""
    return [
        pytest.param(
            network,
            id=network.title,
            marks=[pytest.mark.xfail(reason=SHORTFALLS[network.title])] if network.title in SHORTFALLS else [],
        )
        for network in networks()
    ]


@pytest.mark.libraries
@pytest.mark.parametrize("network", parameters())
@pytest.mark.filterwarnings("ignore")
def test_network_of_a_library(network: Network, record_property: Callable[[str, object], None]) -> None:
    """Cut, proved, saved, loaded, and as fit for training and other inputs as the original."""
    outcome = sweep_in_a_process(network, SECONDS)
    record_property("sweep", outcome.kind)
    assert outcome.right, "; ".join(outcome.problems) or f"{outcome.left:.0%} are left: {outcome.locks}"
    assert network.title in NOT_BY_HAND or not outcome.differs_by_hand, outcome.doubts
