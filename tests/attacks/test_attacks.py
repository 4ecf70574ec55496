"""A sample of every attack; `python -m tests.attacks` makes them all."""

import pytest

from tests.attacks import all_attacks
from tests.attacks.trying import ATTACKS, carry_out

all_attacks()
SHARE = 100
"""One try of so many."""


@pytest.mark.attacks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*ATTACKS])
def test_every_try_of_a_sample_holds(name: str) -> None:
    tally = carry_out(ATTACKS[name], 1, max(1, ATTACKS[name].count // SHARE))
    assert tally.tried
    assert not tally.broken
