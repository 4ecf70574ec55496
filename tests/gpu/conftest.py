"""Tests that need a CUDA device: python -m pytest -m gpu -n 0 tests/gpu

TUI_PRUNE_GPU=cpu runs them on the CPU, as far as they make sense there, to see whether the tests themselves are right.
"""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DEVICE = os.environ.get("TUI_PRUNE_GPU", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it without a device."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> str:
    """The device; the test is skipped where there is none."""
    import torch

    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return DEVICE
