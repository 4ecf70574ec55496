"""Too little memory is a sentence, wherever it was missed."""

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tui_prune.cli.main import app
from tui_prune.memory import said_of_memory


def behind(error: Exception) -> Exception:
    try:
        raise ValueError("of the user's own") from error
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "The GPU has too little memory"),
        (behind(torch.OutOfMemoryError()), "The GPU has too little memory"),
        (MemoryError(), "There is too little memory"),
    ],
)
def test_too_little_memory_is_a_sentence(error: Exception, where: str) -> None:
    assert str(said_of_memory(error)).startswith(where)


def test_other_errors_are_none_of_it() -> None:
    assert said_of_memory(RuntimeError("expected 3 channels")) is None


def test_the_command_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **choices: object) -> nn.Module:
        torch.empty(2**62, dtype=torch.uint8)
        raise AssertionError("nobody has so much memory")

    monkeypatch.setattr("tui_prune.session.session.Session.open", fail)
    found = CliRunner().invoke(app, ["inspect", "nin"])
    assert found.exit_code == 1 and "There is too little memory for this" in found.output
