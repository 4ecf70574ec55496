"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # each core runs tests of its own; torch reads it when it is imported


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sample", type=int, metavar="N", help="run about N of the chosen tests, evenly spread")


def pytest_xdist_auto_num_workers() -> int:
    """More workers than two cores: those in a terminal mostly wait."""
    return max(3, os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--sample")
    if wanted is None or len(items) <= wanted:
        return
    chosen = {index * len(items) // wanted for index in range(wanted)}
    config.hook.pytest_deselected(items=[item for index, item in enumerate(items) if index not in chosen])
    items[:] = [item for index, item in enumerate(items) if index in chosen]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what all tests share out of every later collection: the apps of the tests make much to collect."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread_and_seed(one_thread: None) -> None:
    import torch

    torch.manual_seed(0)
