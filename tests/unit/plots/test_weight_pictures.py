"""Pictures of weights, flat and in 3D: what is where, what goes, and what isn't finite."""

from xml.etree import ElementTree

import numpy as np
import pytest
from rich._palettes import EIGHT_BIT_PALETTE
from rich.color import Color

from tui_prune import plots
from tui_prune.plots import palette, pixels, svg

NAN = float("nan")


def text(rows: tuple[plots.Row, ...]) -> list[str]:
    return plots.terminal_text(rows, colored=False).split("\n")


def heat(weights, rows_kept=None, columns_kept=None, **settings) -> plots.HeatMap:
    weights = np.asarray(weights, float)
    weights = weights.reshape((*weights.shape, 1, 1)[:4])
    rows_kept = np.ones(len(weights), bool) if rows_kept is None else np.asarray(rows_kept, bool)
    columns_kept = np.ones(weights.shape[1], bool) if columns_kept is None else np.asarray(columns_kept, bool)
    return plots.HeatMap(weights, rows_kept, columns_kept, **settings)


def surface(weights, angle: int = 0, rows_kept=None) -> plots.Surface:
    one = heat(weights, rows_kept)
    return plots.Surface(one.weights, one.rows_kept, one.columns_kept, angle)


def inks(rows: tuple[plots.Row, ...]) -> set[str]:
    return {ink for row in rows for _, inks in row for ink in inks.split(" on ")}


def test_a_matrix_is_drawn_outputs_down_and_inputs_across():
    rows = heat([[-1, 0, 1], [0.6, -0.3, NAN], [-0.75, 0.75, 0.9]], [True, True, False]).rows(50, 6, colors=False)
    assert text(rows) == [
        "   0  ≡ █",
        "      ▒·?",
        "    x =▓█",
        "",
        "      -1 ≡=-· ░▒▓█ 1   x goes   1 not finite (?)",
    ]


def test_kernels_are_tiles_and_those_that_go_are_marked_without_colours_too():
    weights = np.linspace(-1, 1, 40).reshape(5, 2, 2, 2)
    rows = heat(weights, [True, False, True, True, True]).rows(30, 9, colors=False)
    assert text(rows)[:6] == [
        "   0  ≡≡ ==  -- ··",
        "      ≡= --  ·· ·",
        "             xx xx",
        "   3   ░ ░░  ▒▒ ▓█",
        "      ░░ ▒▒  ▓▓ ██",
        "",
    ]


def test_what_goes_has_lost_its_hue_and_nothing_else_has():
    weights = np.linspace(-1, 1, 64).reshape(8, 8)
    greys = {*palette.GREYS}
    assert not greys & inks(heat(weights).rows(40, 12))
    cut = heat(weights, np.arange(8) >= 4).rows(40, 12)
    assert greys & inks(cut[:4])
    assert not greys & inks(cut[4:8])
    assert not {*palette.BLUES} & inks(cut[:4])
    assert [row[1].text for row in cut[:8]] == ["x"] * 4 + [" "] * 4
    assert greys & inks(heat(weights, columns_kept=np.arange(8) >= 4).rows(40, 12))


def test_where_a_point_stands_for_many_weights_it_is_their_mean_and_says_so():
    weights = np.zeros((400, 600))
    weights[:200, :300] = 1
    weights[200:, 300:] = -1
    weights[399, 599] = NAN
    rows = heat(weights, np.arange(400) < 200).rows(46, 12, colors=False)
    drawn = text(rows)
    assert drawn[0] == "   0  " + "█" * 20
    assert drawn[4][4:26] == "· " + "▒" * 20
    assert drawn[8] == " 355x " + " " * 20 + "≡" * 19 + "?"
    assert "a point: mean of 44.4 x 5.26" in text(heat(weights).rows(120, 12, colors=False))[-1]
    assert "1 not finite" in text(heat(weights).rows(120, 12, colors=False))[-1]


def test_zoomed_every_output_has_points_of_its_own():
    weights = np.zeros((300, 10))
    weights[299] = 1
    assert len(heat(weights).rows(46, 12)) == 12
    rows = heat(weights, zoomed=True).rows(46, 12)
    assert 150 <= len(rows) - 2 <= 400
    assert palette.ORANGES[-1] in inks(rows[-3:-2])
    assert "the first 800 of 5000 outputs" in text(heat(np.zeros((5000, 3)), zoomed=True).rows(60, 12))[-1]


@pytest.mark.parametrize("size", [(3, 1), (18, 4), (24, 8), (78, 20), (160, 50)], ids=str)
@pytest.mark.parametrize(
    "shape", [(0, 3, 1, 1), (1, 1, 1, 1), (64, 1, 1, 1), (7, 3, 5, 5), (512, 1, 3, 3), (30, 900, 1, 1), (9, 9, 2, 4)]
)
def test_any_weights_in_any_size(shape, size):
    width, height = size
    weights = np.random.default_rng(0).normal(size=shape)
    if weights.size:
        weights.flat[0] = NAN
    kept = np.arange(shape[0]) % 2 == 0, np.arange(shape[1]) % 3 == 0
    for drawing in (plots.HeatMap(weights, *kept), plots.Surface(weights, *kept, 75)):
        for colors in (False, True):
            rows = drawing.rows(width, height, colors=colors)
            assert len(rows) <= height
            assert {len(plots.text_of(row)) for row in rows} <= {width}
        elements = drawing.svg(500, 400)
        needed = drawing.svg_height(500, 400)
        ElementTree.fromstring(svg.document([("a <name> & \x1b", "figures", elements, needed)], 500))


def test_a_bar_has_a_top_and_two_sides_and_hides_what_is_behind_it():
    weights = np.zeros((4, 4))
    weights[0, 0] = 1
    alone = {*palette.height_palette()[12:15]}
    assert alone <= inks(surface(weights, 30).rows(60, 20))
    assert len(alone & inks(surface(weights, 0).rows(60, 20))) == 2  # only one side looks to the eye
    weights[2, 0] = 0.25  # right behind it
    assert palette.TOPS[1] not in inks(surface(weights, 0).rows(60, 20)[:-1])
    assert palette.TOPS[1] in inks(surface(weights, 180).rows(60, 20)[:-1])


def test_turning_moves_the_near_corner_around():
    weights = np.zeros((4, 4))
    weights[0, 0] = 1

    def middle(angle: int) -> tuple[float, float]:
        """Where the bar's front is in sight."""
        rows = text(surface(weights, angle).rows(60, 24, colors=False))
        return tuple(
            np.mean([(x, y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell == "█"], axis=0)
        )

    near_left, right, back = middle(0), middle(90), middle(180)
    assert near_left[0] < 30 < right[0]
    assert back[0] > 30
    assert near_left[1] > back[1]
    assert surface(weights, 30).rows(60, 24) == surface(weights, 390).rows(60, 24)


def test_bars_that_go_are_grey():
    weights = np.ones((4, 4))
    weights[0] = 0.2
    coloured = {*palette.height_palette()[: 3 * len(palette.HEIGHTS)]}
    greys = {*palette.height_palette()[3 * len(palette.HEIGHTS) : -1]} - coloured
    assert not greys & inks(surface(weights, 30).rows(60, 20))
    assert greys & inks(surface(weights, 30, [False, True, True, True]).rows(60, 20))
    letters = "".join(text(surface(weights, 30, [False, True, True, True]).rows(60, 20, colors=False)))
    assert "· goes" in letters


def test_two_pixels_share_a_cell_and_neighbours_of_two_colours_a_span():
    rows = pixels.half_blocks(np.array([[0, 1, 0, 1, -1], [0, 0, 1, 1, 0], [2, -1, -1, -1, -1]]), ("#a", "#b", "#c"))
    assert rows == (
        (plots.Span(" ▀▄█", "#b on #a"), plots.Span("▄", "#a")),
        (plots.Span("▀    ", "#c"),),
    )


def test_polygons_are_filled_to_their_edges_and_cut_off_at_the_picture():
    square = np.array([(1, 1), (3, 1), (3, 3), (1, 3)], float)
    assert pixels.painted([(square, 5)], 4, 4).tolist() == [[-1] * 4, [-1, 5, 5, -1], [-1, 5, 5, -1], [-1] * 4]
    assert (pixels.painted([(square * 100 - 150, 1)], 3, 2) == 1).all()
    assert (pixels.painted([(square + 50, 1)], 3, 2) == -1).all()


def test_the_palette_is_of_the_256_and_no_two_levels_are_alike():
    assert len({*palette.SIGNED, *palette.GREYS}) == len(palette.SIGNED) + len(palette.GREYS)
    assert len({*palette.TOPS}) == len(palette.TOPS)
    for ink in {*palette.signed_palette(), *palette.height_palette()}:
        assert plots.style_of(ink).render("x").startswith("\x1b[38;5;")
        number = palette.terminal_numbers()[ink]
        assert tuple(EIGHT_BIT_PALETTE[number]) == tuple(Color.parse(ink).triplet)
