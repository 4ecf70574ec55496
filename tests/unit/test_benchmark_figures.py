"""What the benchmarks print follows from what they measured."""

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.benchmarks import coverage, quality
from tests.benchmarks.__main__ import BENCHMARKS, all_met, summary
from tests.benchmarks.coverage import each_family, each_network, markdown
from tests.benchmarks.engine import as_json, table
from tests.benchmarks.figures import Figures, targets
from tests.benchmarks.scale import exponents
from tests.benchmarks.targets import as_rows, at_least, at_most, line
from tests.networks.conftest import pytest_terminal_summary
from tests.networks.sweep import Outcome

QUICK = Figures(
    "quick", forward=1.0, trace=1.2, ours=2.0, plan_again=0.01, our_peak=50.0, kind="exact", gmacs=5.0,
    build=2.0, step=8.0, peer=10.0, peer_peak=100.0, peer_equal=True,
)  # fmt: skip
SLOW = dataclasses.replace(QUICK, model="slow", trace=1.6, ours=4.0, plan_again=0.5, our_peak=110.0)
ALONE = dataclasses.replace(
    QUICK, model="alone", gmacs=1.0, trace=9.0, build=None, step=None, peer=None, peer_peak=None, peer_failure="Error"
)


def values(*figures: Figures) -> list[tuple[float | None, bool, str]]:
    return [(target.value, target.met, target.model) for target in targets(figures)]


def test_all_targets_met() -> None:
    assert values(QUICK, ALONE) == [
        (pytest.approx(5.0), True, ""),
        (5.0, True, "quick"),
        (1000.0, True, "quick"),
        (1.2, True, "quick"),
        (0.5, True, "quick"),
    ]


def test_the_worst_network_decides() -> None:
    (mean, met, _), *others = values(QUICK, SLOW, ALONE)
    assert mean == pytest.approx(12.5**0.5)
    assert not met
    assert others == [(2.5, True, "slow"), (20.0, False, "slow"), (1.6, False, "slow"), (1.1, False, "slow")]


def test_what_was_not_measured_is_not_met() -> None:
    assert values(ALONE) == [(None, False, "")] * 5
    assert line(targets([ALONE])[0]).endswith("nothing measured, wanted ≥ 4.5: not met")


def test_all_benchmarks_are_summed_up() -> None:
    met, missed = at_least("faster", [(2.0, "a"), (3.0, "b")], 1.5), at_most("memory", [(0.5, "a"), (1.2, "b")], 1.0)
    found = {"engine": {"targets": as_rows([met, missed])}}
    assert summary(found) == [
        "engine",
        "  faster: 2.00 (a), wanted ≥ 1.5: met",
        "  memory: 1.20 (b), wanted ≤ 1: not met",
    ]
    assert not all_met(found)
    assert all_met({"engine": {"targets": as_rows([met])}})
    failed = {"failure": "ended with status 1", "targets": []}
    assert summary({"scale": failed}) == ["scale: ended with status 1"]
    assert not all_met({"scale": failed})


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_of_the_command_can_write_its_figures(name: str) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")
    assert callable(module.main)
    assert "--json FILE" in module.__doc__


def test_growth_is_told_from_the_fixed_costs() -> None:
    seconds = {size: dict.fromkeys(("trace", "plan", "step"), 1e-6 * size) for size in (500, 1000, 2000, 5000)}
    assert exponents(seconds)["plan"] == pytest.approx(1.0)


def test_the_table_has_a_row_for_each_network_and_the_json_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    assert table([QUICK, ALONE]).row_count == 2
    written = as_json([QUICK, ALONE], targets([QUICK]), "cpu")
    assert [network["model"] for network in written["networks"]] == ["quick", "alone"]
    assert written["networks"][1]["peer_failure"] == "Error"


OUTCOMES = [
    Outcome("one", "classification", "exact", 2e-7, 0.99, 0.25, {"trace": 1.0}, 0.1, {}),
    Outcome("two", "classification", "failed", problems=("nothing is cut",)),
    Outcome("three", "video", "exact", 3e-7, 0.5, 0.75, {"trace": 2.0}, 0.1, {"a | b": 2}),
]


def test_coverage_by_family_and_by_network() -> None:
    rows = each_family(OUTCOMES)
    assert rows[1] == ("classification", "2", "1", "0", "0", "1", "2e-07", "99 % (99 % to 99 %)", "25 % (25 % to 25 %)")
    assert rows[3][:6] == ("all", "3", "2", "0", "0", "1")
    lines = markdown(each_network(OUTCOMES))
    assert lines[1] == "| --- | --- | --- | --- | --- | --- | --- |"
    assert "| nothing is cut |" in lines[3]
    assert r"| a \| b |" in lines[4]


def test_outcomes_of_a_sweep_that_was_stopped_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what isn't in the file is run."""
    ran: list[str] = []
    monkeypatch.setattr(coverage, "_outcome", lambda name, seconds: ran.append(name) or OUTCOMES[len(ran) - 1])
    for asked in (["one", "two"], ["one", "two", "three"]):
        monkeypatch.setattr(sys, "argv", ["coverage", *asked, "--json", str(tmp_path / "outcomes.json")])
        coverage.main()
    assert ran == ["one", "two", "three"]
    assert coverage.kept(tmp_path / "outcomes.json") == {outcome.name: outcome for outcome in OUTCOMES}
    assert "| all | 3 |" in capsys.readouterr().out


def test_the_sweep_is_counted_at_the_end() -> None:
    reports = [SimpleNamespace(user_properties=[("sweep", kind)]) for kind in ("exact", "exact", "refused")]
    failed = [SimpleNamespace(user_properties=[("sweep", "structural")])]
    said: list[str] = []
    terminal = SimpleNamespace(
        stats={"passed": [*reports, SimpleNamespace(user_properties=[])], "failed": failed},
        section=said.append,
        line=said.append,
    )
    pytest_terminal_summary(terminal)
    assert said[1:] == ["exact 2, structural 1, refused 1, failed 0"]


def test_quality_is_the_mean_and_the_spread_over_seeds() -> None:
    figures = [
        quality.Figures("nin", seed, 0.5, "l1", 0.49, cut, 0.9, 0.95, "local")
        for seed, cut in enumerate((0.5, 0.6, 0.7))
    ]
    assert quality.markdown(figures)[2:] == ["| nin | 50 % | l1 | 49.0 % | 60.0 ± 10.0 | 90.0 ± 0.0 | 95.0 ± 0.0 |"]
    assert quality.markdown(figures[:1])[2:] == ["| nin | 50 % | l1 | 49.0 % | 50.0 ± 0.0 | 90.0 ± 0.0 | 95.0 ± 0.0 |"]
