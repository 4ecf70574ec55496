"""Numbers in three digits, also where rounding reaches the next unit."""

import pytest

from tui_prune import formatting


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (812, "812"), (999, "999"), (1000, "1.00k"), (9_994, "9.99k"), (9_995, "10.0k"), (14_600, "14.6k"),
        (99_950, "100k"), (999_499, "999k"), (999_500, "1.00M"), (223_000_000, "223M"), (1.5e15, "1500T"),
    ],
)  # fmt: skip
def test_count(number: float, text: str) -> None:
    assert formatting.count(number) == text


def test_the_others() -> None:
    assert formatting.size(812) == "812 B"
    assert formatting.size(3_870_000) == "3.87 MB"
    assert formatting.share(29, 100) == "29 %"
    assert formatting.share(1, 0) == "-"
    assert formatting.change("192", "96") == "192 → 96"
    assert formatting.change("192", "192") == "192"
    assert [formatting.seconds(number) for number in (0.123, 8.42, 95.4)] == ["0.12 s", "8.4 s", "95 s"]
