"""What the benchmark of the terminal says follows from what it measured."""

import io

import pytest
from rich.console import Console

from tests.benchmarks.line import Answer, mean
from tests.benchmarks.terminal import Figure, table


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("nin", "80x24", "cursor", 130, 100, 15.0, 10.0), True),
        (Figure("nin", "80x24", "cursor", 131, 100, 15.0, 10.0), False),
        (Figure("nin", "80x24", "cursor", 130, 100, 15.2, 10.0), False),
        (Figure("start", "80x24", "first frame", None, None, 300.0, 250.0), True),
        (Figure("nin", "80x24", "rest", 0, 500), True),
        (Figure("nin", "80x24", "rest", 1, 500), False),
    ],
)
def test_the_limits(figure: Figure, met: bool) -> None:
    assert figure.met == met
    console = Console(width=140, file=io.StringIO())
    console.print(table([figure]))
    assert ("MISSED" in console.file.getvalue()) != met


def test_bytes_are_a_mean_and_times_a_median() -> None:
    assert mean([Answer(100, 0.01), Answer(100, 0.02), Answer(400, 9.0)]) == Answer(200, 0.02)
