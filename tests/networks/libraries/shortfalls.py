"""Networks that aren't cut as they should be, or can't be checked by hand, and why."""

SHORTFALLS: dict[str, str] = {}
"""By title: what is cut less than it should be, or takes too long."""

NOT_BY_HAND: dict[str, str] = {}
"""By title: why the original masked by hand gives other numbers where the cut is right."""
