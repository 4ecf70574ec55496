"""Charts: text of exactly the size that was asked for, whatever the numbers are."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tui_prune import plots
from tui_prune.plots import bars

NAN, INF = float("nan"), float("inf")
AWKWARD = {
    "nothing": [],
    "one": [3.0],
    "all the same": [2.5] * 50,
    "all zero": [0.0] * 50,
    "not finite": [NAN, INF, -INF],
    "partly finite": [1.0, NAN, 2.0, INF],
    "tiny": [1e-40, 2e-40],
    "huge": [1e30, -1e30],
    "close together": [1e16, 1e16 + 2],
    "negative": [-1.0, -2.0, -3.0],
}
SIZES = [(21, 4), (20, 4), (3, 1), (1, 1), (60, 12), (200, 50)]


def sizes(rows: tuple[plots.Row, ...]) -> tuple[int, int]:
    widths = {len(plots.text_of(row)) for row in rows}
    assert len(widths) == 1
    return widths.pop(), len(rows)


def text(rows: tuple[plots.Row, ...]) -> str:
    return plots.terminal_text(rows, colored=False)


@pytest.mark.parametrize("log", [False, True], ids=["linear", "log"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("values", AWKWARD.values(), ids=AWKWARD)
def test_any_numbers_in_any_size(values, size, log, capsys):
    width, height = size
    for given in (np.array(values), torch.tensor(values, dtype=torch.float64), torch.tensor(values).half()):
        for central in (False, True):
            bins = plots.binned(given, plots.bins_for(width, len(values)), central=central)
            assert bins.total == len(values)
            assert sizes(plots.histogram(bins, log=log).rows(width, height)) == size
            assert "nan" not in "".join(plots.histogram(bins, log=log).svg(width * 8, height * 16))
    for kept in (np.ones(len(values), bool), np.zeros(len(values), bool), np.arange(len(values)) % 2 == 0):
        assert sizes(plots.scores(values, kept, log=log).rows(width, height)) == size
        chart = plots.stacked(np.array(values), kept, 10, log=log, line=2.0)
        assert sizes(chart.rows(width, height)) == size
        assert "nan" not in "".join(chart.svg(width * 8, height * 16))
    assert capsys.readouterr() == ("", "")


def test_a_tensor_is_counted_like_an_array():
    values = np.random.default_rng(0).normal(size=5000)
    values[:7] = 0
    for central in (False, True):
        of_array = plots.binned(values, 40, central=central)
        of_tensor = plots.binned(torch.from_numpy(values), 40, central=central)
        assert np.abs(of_array.counts - of_tensor.counts).max() <= 1
        assert of_array.mean == pytest.approx(of_tensor.mean)
        assert of_array.deviation == pytest.approx(of_tensor.deviation)
        assert of_array.zeros == of_tensor.zeros == 7
        assert of_array.beyond == pytest.approx(of_tensor.beyond, abs=1)
    assert plots.binned(torch.arange(5), 5).counts.tolist() == [1] * 5


def test_of_very_many_values_a_share_is_counted_that_is_spread_evenly(monkeypatch):
    values = torch.arange(60_000.0).remainder(6)
    whole = plots.binned(values, 6)
    monkeypatch.setattr(plots.binning, "COUNTED", 20_000)
    some = plots.binned(values, 6)
    assert np.allclose(some.counts, whole.counts, rtol=0.01)
    assert (some.total, some.zeros, some.mean) == (whole.total, whole.zeros, whole.mean)


def test_what_isnt_finite_is_left_out_and_counted():
    for values in (np.array([0.0, NAN, 1.0]), torch.tensor([0.0, NAN, 1.0])):
        bins = plots.binned(values, 4)
        assert (bins.total, bins.left_out, bins.counts.sum()) == (3, 1, 2)


def test_the_central_values_fill_a_histogram_that_leaves_the_rest_out():
    values = np.concatenate([np.linspace(-1, 1, 1000), [500.0, -500.0]])
    for given in (values, torch.from_numpy(values)):
        bins = plots.binned(given, 20, central=True)
        assert -1 <= bins.low < -0.9
        assert 0.9 < bins.high <= 1
        assert 2 < bins.beyond <= 12


def test_on_a_logarithmic_scale_the_rare_shows_beside_the_frequent():
    values = np.concatenate([np.zeros(100_000), [0.5], np.full(1000, 1.0)])
    bins = plots.binned(values, 40)
    right = slice(50, 60)
    linear, log = (text(plots.histogram(bins, log=log).rows(60, 12)).split("\n") for log in (False, True))
    assert sum("█" in line[right] for line in linear) == 0
    assert sum("█" in line[right] for line in log[:-2]) >= 5
    assert [line[:6].strip() for line in log if line[:6].strip()] == ["100k", "10.0k", "1.00k", "100", "10", "1"]


def test_the_cut_is_drawn_in():
    scores = np.arange(100.0)
    drawn = text(plots.scores(scores, scores >= 40).rows(67, 10))
    assert "cut 40" in drawn
    ground = drawn.split("\n")[7][bars.LABEL :]
    assert ground.count(bars.GO) == 24
    assert ground.startswith(bars.GO)
    assert bars.GO not in text(plots.scores(scores).rows(67, 10))


def test_channels_that_go_though_others_score_less_are_shown_among_them():
    scores = np.arange(60.0)
    drawn = text(plots.scores(scores, np.arange(60) % 30 != 29).rows(67, 10))
    assert bars.GO in drawn
    assert "cut" not in drawn


def test_of_each_bar_the_part_that_goes_is_shaded_and_a_threshold_is_a_line():
    values = np.repeat([0.0, 1.0, 2.0, 3.0], [10, 10, 10, 10])
    chart = plots.stacked(values, values >= 2, 4, line=1.5)
    rows = text(chart.rows(47, 8)).split("\n")
    assert rows[0].startswith("    10 ░░░░░░░░░░░░░░░░░░░░│ cut below 1.5 ")
    assert [row[bars.LABEL :] for row in rows[1:6]] == ["░" * 20 + "│" + "█" * 19] * 5
    drawn = "".join(chart.svg(400, 200))
    assert "cut below 1.5" in drawn


def test_colours_are_escapes_and_none_are_plain_text():
    rows = plots.histogram(plots.binned(np.arange(100.0), 20)).rows(40, 8)
    assert "\x1b" not in text(rows)
    assert "\x1b[36m" in plots.terminal_text(rows, colored=True)


def test_threads_may_draw_at_once():
    def draw(seed: int) -> str:
        values = np.random.default_rng(seed).normal(size=500)
        return text(plots.histogram(plots.binned(values, 40)).rows(60, 10))

    alone = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, [*range(8)] * 5))
    assert together == alone * 5


def test_errors_are_a_row_for_each_layer():
    layers = [plots.Error("first", 0.5, 0.25), plots.Error("second", 30.0, 0.004), plots.Error("third", 0.0, 0.0)]
    rows = text(plots.ErrorBars(layers, "second").rows(60, 10)).splitlines()
    assert [row.split()[0] for row in rows] == ["first", "▸", "third"]
    assert rows[0].count("█") == rows[0].count("░") > 5
    assert rows[1].count("█") == 1
    assert "50 % → 25 %" in rows[0]
    assert "> 999 % → 0.4 %" in rows[1]
    assert "█" not in rows[2]
    assert sizes(plots.ErrorBars(layers, "third").rows(40, 2)) == (40, 2)
    assert sizes(plots.ErrorBars(()).rows(40, 4)) == (40, 4)
    assert any("50 % → 25 %" in element for element in plots.ErrorBars(layers).svg(600, 200))


def test_costs_are_a_row_for_each_layer_with_what_is_left_of_it():
    layers = (plots.Costs("first", (2000, 1000), (400, 100)), plots.Costs("second", (1000, 1000), (0, 0)))
    drawn = text(plots.CostBars(layers, "second").rows(60, 9))
    assert drawn.split("\n") == [
        "  layer    MACs                     parameters",
        "  first    ████▌░░░░ 2.00k → 1.00k  ██░░░░░░░   400 →   100",
        "▸ second   ████▌     1.00k                        0",
    ]
    svg = "".join(plots.CostBars(layers, "second").svg(600, 400))
    assert svg.count('font-weight="bold"') == 1


def test_of_many_layers_those_around_the_one_looked_at_are_shown():
    layers = tuple(plots.Costs(f"layer{number}", (1, 1), (1, 1)) for number in range(100))
    drawn = text(plots.CostBars(layers, "layer50").rows(60, 10))
    assert "▸ layer50" in drawn
    assert len(drawn.split("\n")) == 10
    assert "layer99" in text(plots.CostBars(layers, "layer99").rows(60, 10))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("values", AWKWARD.values(), ids=AWKWARD)
def test_a_curve_of_any_numbers_in_any_size(values, size, capsys):
    places = np.linspace(0, 1, len(values))
    for best in (None, *range(len(values[:1]))):
        assert sizes(plots.Curve(places, np.array(values), str, best).rows(*size)) == size
    assert capsys.readouterr() == ("", "")


def test_a_curve_goes_from_its_first_point_to_its_last_with_the_best_marked():
    falling = text(plots.Curve(np.array([0.0, 0.5]), np.array([2.0, 1.0]), "{:g}".format, 1).rows(67, 10)).split("\n")
    assert falling[0].startswith("     2 ▄▄▖")
    assert falling[7].startswith("     1 ")
    assert falling[7].rstrip().endswith(plots.BEST)
    assert len(falling[7].rstrip()) == bars.LABEL + 30 + 1
    assert falling[9].split() == ["0", "%", "50", "%", "100", "%"]


def test_of_more_points_than_there_is_room_for_means_are_drawn():
    places = np.linspace(0, 1, 10_001)
    noisy = np.where(np.arange(10_001) % 2 == 0, 1.0, -1.0)
    drawn = text(plots.Curve(places, noisy, lambda value: f"{value:.1f}").rows(67, 10))
    assert drawn.count("\n") == 9
    assert "-1.0" not in drawn
