"""Skylines: where columns stand, and that what is kept and what is cut can be told apart without a colour."""

import pytest

from tui_prune.plots import text_of
from tui_prune.plots.skyline import Column, places, skyline, sparks


@pytest.mark.parametrize(("count", "width"), [(1, 40), (9, 58), (54, 60), (54, 200), (500, 60), (60, 60)])
def test_columns_stand_beside_each_other_within_the_width(count, width):
    where = places(count, width)
    taken = [cell for index in range(0, count, where.pooled) for cell in where.of(index)]
    assert len(taken) == len(set(taken))
    assert max(taken) < width


def test_the_highest_column_fills_the_rows_and_what_is_cut_lies_over_what_is_kept():
    rows = [text_of(row).rstrip() for row in skyline([Column(8, 4), Column(4, 4), Column(0, 0)], 5, 4)]
    assert rows == ["░", "░", "█ █", "█ █"]


def test_what_costs_next_to_nothing_is_seen():
    rows = [text_of(row).rstrip() for row in skyline([Column(1000, 1000), Column(1, 1)], 3, 3)]
    assert rows[-1] == "█ ▁"


def test_things_that_share_a_column_are_summed_up():
    rows = skyline([Column(1, 1)] * 6, 3, 1)
    assert text_of(rows[0]) == "███"


def test_sparks_have_a_dot_where_nothing_is_known():
    assert sparks([1.0, None, 0.0], 3, 5) == "█ · ▁ "
