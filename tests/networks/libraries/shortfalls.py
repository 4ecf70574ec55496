"""Networks that aren't cut as they should be, and why."""

SHORTFALLS: dict[str, str] = {}
"""By title."""
