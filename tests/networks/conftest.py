"""What the sweeps over networks say at the end."""

from collections import Counter
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the outcomes; they come as properties of the reports, which reach this process from all workers."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    kinds = Counter(value for report in reports for name, value in report.user_properties if name == "sweep")
    if kinds:
        counted = ", ".join(f"{kind} {kinds[kind]}" for kind in ("exact", "structural", "refused", "failed"))
        terminalreporter.section("whole networks, cut by half")
        terminalreporter.line(counted)
