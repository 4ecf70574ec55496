"""Every network of torchvision, cut by half: `pytest -m networks`. What came of all is counted at the end."""

from collections.abc import Callable, Iterator

import pytest

from tests.networks.sweep import free_memory, names, sweep


@pytest.fixture(autouse=True)
def memory(one_thread: None) -> Iterator[None]:
    yield
    free_memory()


@pytest.mark.networks
@pytest.mark.parametrize("name", names())
@pytest.mark.filterwarnings("ignore")
def test_network_of_torchvision(name: str, record_property: Callable[[str, object], None]) -> None:
    """Opened or refused in a sentence; cut, exact, and as fit for training and other images as the original."""
    outcome = sweep(name)
    record_property("sweep", outcome.kind)
    assert outcome.kind in ("exact", "refused"), "; ".join(outcome.problems) or outcome.locks
