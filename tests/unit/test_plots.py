"""Drawings: text of exactly the size that was asked for, whatever the numbers are."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tui_prune import plots

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


def sizes(text: str) -> tuple[int, int]:
    lines = text.split("\n")
    assert len({len(line) for line in lines}) == 1
    return len(lines[0]), len(lines)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("values", AWKWARD.values(), ids=AWKWARD)
def test_any_numbers_in_any_size(values, size, capsys):
    width, height = size
    for given in (np.array(values), torch.tensor(values, dtype=torch.float64), torch.tensor(values).half()):
        bins = plots.binned(given, plots.bins_for(width, len(values)))
        assert bins.total == len(values)
        assert sizes(plots.histogram(bins, width=width, height=height)) == size
    for kept in (None, np.zeros(len(values), bool), np.arange(len(values)) % 2 == 0):
        assert sizes(plots.scores(values, kept, width=width, height=height)) == size
    assert capsys.readouterr() == ("", "")


def test_a_tensor_is_counted_like_an_array():
    values = np.random.default_rng(0).normal(size=5000)
    values[:7] = 0
    of_array, of_tensor = plots.binned(values, 40), plots.binned(torch.from_numpy(values), 40)
    assert np.abs(of_array.counts - of_tensor.counts).max() <= 1
    assert of_array.mean == pytest.approx(of_tensor.mean)
    assert of_array.deviation == pytest.approx(of_tensor.deviation)
    assert of_array.zeros == of_tensor.zeros == 7
    assert plots.binned(torch.arange(5), 5).counts.tolist() == [1] * 5


def test_what_isnt_finite_is_left_out_and_counted():
    for values in (np.array([0.0, NAN, 1.0]), torch.tensor([0.0, NAN, 1.0])):
        bins = plots.binned(values, 4)
        assert (bins.total, bins.left_out, bins.counts.sum()) == (3, 1, 2)


def test_the_cut_is_drawn_in():
    scores = np.arange(100.0)
    text = plots.scores(scores, scores >= 40, width=67, height=10)
    assert "cut 40" in text
    ground = text.split("\n")[7][plots._LABEL :]
    assert ground.count(plots.GO) == 24
    assert ground.startswith(plots.GO)
    assert plots.GO not in plots.scores(scores, width=67, height=10)


def test_channels_that_go_though_others_score_less_are_shown_among_them():
    scores = np.arange(60.0)
    text = plots.scores(scores, np.arange(60) % 30 != 29, width=67, height=10)
    assert plots.GO in text
    assert "cut" not in text


def test_colours_are_escapes_and_none_are_plain_text():
    bins = plots.binned(np.arange(100.0), 20)
    plain = plots.histogram(bins, width=40, height=8)
    coloured = plots.histogram(bins, width=40, height=8, color=(229, 181, 103))
    assert "\x1b" not in plain
    assert "\x1b[38;2;229;181;103m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_threads_may_draw_at_once():
    def draw(seed: int) -> str:
        values = np.random.default_rng(seed).normal(size=500)
        return plots.histogram(plots.binned(values, 40), width=60, height=10)

    alone = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, [*range(8)] * 5))
    assert together == alone * 5
