"""Rails that join the rows of coupled layers."""

from tui_prune.app.rails import MOST_LANES, rails


def drawn(*rows: str) -> list[str]:
    return list(rails([frozenset(map(int, row)) for row in rows]).before)


def test_a_group_is_joined_from_its_first_row_to_its_last():
    assert drawn("", "1", "", "1", "1", "") == ["  ", "╭─", "│ ", "├─", "╰─", "  "]


def test_a_group_with_a_single_row_has_no_rail():
    assert drawn("1", "2", "") == []


def test_groups_one_below_the_other_share_a_lane_and_others_cross():
    assert drawn("1", "1", "2", "2") == ["╭─", "╰─", "╭─", "╰─"]
    assert drawn("1", "2", "1", "2") == ["╭──", "│╭─", "╰┼─", " ╰─"]


def test_what_has_no_lane_left_is_said():
    many = [frozenset({number}) for number in range(MOST_LANES + 1)]
    found = rails(many * 2)
    assert found.width == MOST_LANES + 1
    assert found.groups == frozenset(range(MOST_LANES))
