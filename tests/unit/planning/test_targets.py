"""Targets: the largest network within them, beside all that could be had; limits, thresholds, what is out of reach."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ShuffleNetV2
from typer.testing import CliRunner

import tui_prune
from tests import small_nets as nets
from tests.exactness import prune_exactly
from tests.small_nets import IMAGES, conv
from tui_prune import Recipe, UsageError
from tui_prune.cli.main import app
from tui_prune.graph.graph import Graph
from tui_prune.planning.plan import Plan
from tui_prune.session.changes import with_stepped_ratio
from tui_prune.session.selection import NETWORK
from tui_prune.session.session import Session

GRID = [n / 400 for n in range(400)]
"""Finer than any two ratios that differ for the network that is tried at all of them."""


pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


def chain(*channels: int) -> nn.Sequential:
    """Convolutions of these widths, then four classes; layers are called "0", "2", "4" ..."""
    layers: list[nn.Module] = []
    for before, width in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, conv(channels[-1], 4)).eval()


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    return tui_prune.trace(chain(24, 16, 31, 12), torch.randn(IMAGES))


def widths(plan: Plan) -> list[int]:
    return [layer.after for layer in plan.layers if layer.producer]


def cost(plan: Plan, target: str) -> float:
    return getattr(plan.after, target.removeprefix("target_"))


# The largest network under a target.


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"scope": "global"},
        {"align": 4},
        {"align": 8, "scope": "global", "criterion": "l1"},
        {"align": 4, "align_rounding": "up", "lock": ("0",)},
        {"layers": {"2": 0.25}},
        {"max_ratio": 0.8, "min_channels": 3},
    ],
    ids=str,
)
def test_no_ratio_gives_a_larger_network_that_fits(rest: dict[str, Any]) -> None:
    graph = tui_prune.trace(chain(12, 8, 15, 6), torch.randn(IMAGES))
    every = [tui_prune.plan(graph, Recipe(ratio=ratio, **rest)) for ratio in GRID]
    for target in ("target_macs", "target_params"):
        whole = getattr(every[0].before, target.removeprefix("target_"))
        for share in (0.9, 0.7, 0.5, 0.3, 0.1, 0.05):
            limit = share * whole
            fitting = [cost(plan, target) for plan in every if cost(plan, target) <= limit]
            recipe = Recipe(**{target: share}, **rest)
            if fitting:
                assert max(fitting) <= cost(tui_prune.plan(graph, recipe), target) <= limit
            else:
                with pytest.raises(UsageError, match="can't be reached"):
                    tui_prune.plan(graph, recipe)


def test_layers_are_at_most_one_step_from_the_ratio_that_was_found(graph: Graph) -> None:
    wider = 0
    for share in (0.8, 0.45, 0.1):
        for scope in ("local", "global"):
            found = tui_prune.plan(graph, target_macs=share, scope=scope)
            same = widths(tui_prune.plan(graph, ratio=found.ratio, scope=scope))
            assert all(0 <= mine - its <= 1 for mine, its in zip(widths(found), same, strict=True))
            wider += sum(widths(found)) - sum(same)
            assert (found.recipe.ratio, found.recipe.target_macs) == (0.0, share)
    assert wider


@pytest.mark.parametrize(
    "recipe", [{"target_params": 0.8}, {"target_params": 0.5, "align": 16}], ids=["unaligned", "aligned"]
)
def test_layers_that_would_lose_a_step_together_need_not(recipe: dict[str, Any]) -> None:
    """All layers of 32 lose a thirty-second, or a half, at once; the target is met before the last of them does."""
    plan = tui_prune.plan(tui_prune.trace(chain(*[32] * 10), torch.randn(IMAGES)), **recipe)
    assert max(widths(plan)) - min(widths(plan)[:-1]) == recipe.get("align", 1)
    assert 0.93 * recipe["target_params"] < plan.after.params / plan.before.params <= recipe["target_params"]
    assert "of them a step wider" in plan.notes[0]


def test_the_least_important_step_goes_first() -> None:
    model = chain(8, 8)
    for layer, last in ((model[0], 0.9), (model[2], 0.1)):
        layer.weight.data = torch.ones_like(layer.weight)
        layer.weight.data[3] *= last
    graph = tui_prune.trace(model, torch.randn(IMAGES))
    enough = tui_prune.plan(graph, layers={"2": 1 / 8})
    assert widths(tui_prune.plan(graph, target_params=enough.after.params / enough.before.params)) == [8, 7, 4]


def test_all_targets_hold_together(graph: Graph) -> None:
    plan = tui_prune.plan(graph, target_macs=0.5, target_params=0.2, target_bytes="20kB")
    assert plan.after.macs <= 0.5 * plan.before.macs
    assert plan.after.params <= 0.2 * plan.before.params
    assert plan.after.bytes <= 20_000
    alone = tui_prune.plan(graph, target_params=0.2)
    assert plan.after.params <= alone.after.params
    assert [one.target for one in plan.reached] == ["target_macs", "target_params", "target_bytes"]


@pytest.mark.parametrize(
    ("said", "octets"),
    [("5MB", 5_000_000), ("5 MB", 5_000_000), ("1.5kb", 1500), ("2MiB", 2 << 20), ("777", 777), (9, 9)],
)
def test_sizes_are_understood(said: Any, octets: int) -> None:
    assert Recipe(target_bytes=said).target_bytes == octets


def test_locks_own_ratios_and_alignment_stay_as_they_are(graph: Graph) -> None:
    plan = tui_prune.plan(graph, target_macs=0.4, align=4, lock=("0",), layers={"2": 0.25})
    first, second, third, fourth, _ = widths(plan)
    assert (first, second) == (24, 12)
    assert third % 4 == fourth % 4 == 0
    assert plan.after.macs <= 0.4 * plan.before.macs


def test_what_fits_already_is_left_alone(graph: Graph) -> None:
    plan = tui_prune.plan(graph, target_macs=1.0)
    assert not plan.cuts
    assert plan.ratio == 0
    assert not tui_prune.plan(graph, target_bytes="1GB", scope="global").cuts


def test_the_plan_says_what_it_found(graph: Graph) -> None:
    plan = tui_prune.plan(graph, target_params=0.3)
    assert plan.notes[0].startswith(f"Found for the target: a cut of {100 * plan.ratio:g} % of each layer")
    assert "(at most 30 % of the parameters)" in plan.notes[0]


@pytest.mark.parametrize("build", [nets.Residual, nets.DenseBlock, nets.SqueezeExcitation, nets.OneHalfGoesThrough])
def test_what_was_found_is_cut_exactly(build: Any) -> None:
    result = prune_exactly(build().eval(), torch.randn(IMAGES), ratio=0.0, target_params=0.6)
    params = result.report["params"]
    assert sum(p.numel() for p in result.model.parameters()) == params["after"] <= 0.6 * params["before"]
    assert result.report["found"] == {"ratio": result.plan.ratio}
    (target,) = result.report["targets"]
    assert target["after"] <= target["limit"] == 0.6 * target["before"]


def shuffled() -> nn.Module:
    """Halves of 29 channels that are shuffled and halved again."""
    return ShuffleNetV2([2, 1, 1], [12, 58, 32, 16, 32], num_classes=4).eval()


def test_uneven_groups_take_part_in_the_search() -> None:
    result = tui_prune.prune(shuffled(), torch.randn(1, 3, 64, 64), target_macs=0.6)
    assert 0.4 < result.plan.after.macs / result.plan.before.macs <= 0.6


# Out of reach.


def test_out_of_reach_says_how_far_it_goes_and_why(graph: Graph) -> None:
    with pytest.raises(UsageError) as said:
        tui_prune.plan(graph, target_macs=0.1, lock=("0", "2"))
    words = str(said.value)
    best = tui_prune.plan(graph, ratio=0.99, lock=("0", "2"))
    assert words.startswith("The target of 10 % of the MACs can't be reached: with all cut that may be, ")
    assert f"{100 * best.after.macs / best.before.macs:.3g} % of the MACs are left" in words
    assert "2 (" in words and "locked by you" in words


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"target_params": 0.01, "layers": {"4": 0.5}}, "its own ratio is 50 %"),
        ({"target_params": 0.01, "min_channels": 8}, "at least 8 channels stay"),
        ({"target_params": 0.01, "max_ratio": 0.5}, "at most 50 % of it goes"),
        ({"target_bytes": "100B"}, "100 B can't be reached"),
        ({"target_params": 0.01, "target_macs": 0.9, "align": 8}, "1 % of the parameters can't be reached"),
        ({"target_params": 0.001, "criterion": "bn_scale"}, "no batch norm covers its channels"),
    ],
    ids=str,
)
def test_what_stands_in_the_way_is_named(graph: Graph, recipe: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        tui_prune.plan(graph, **recipe)


# Limits.


@pytest.mark.parametrize("scope", ["local", "global"])
def test_a_layer_keeps_its_least_number_of_channels(graph: Graph, scope: str) -> None:
    plan = tui_prune.plan(graph, ratio=0.95, scope=scope, min_channels=10)
    assert widths(plan)[:-1] == [10, 10, 10, 10]
    assert plan.layer("0").note == "at least 10 channels stay"
    assert widths(tui_prune.plan(graph, ratio=0.95, scope=scope, min_channels=20))[:-1] == [20, 16, 20, 12]


@pytest.mark.parametrize("scope", ["local", "global"])
def test_a_layer_loses_no_more_than_its_largest_share(graph: Graph, scope: str) -> None:
    plan = tui_prune.plan(graph, ratio=0.95, scope=scope, max_ratio=0.5)
    assert widths(plan)[:-1] == [12, 8, 16, 6]
    assert plan.layer("0").note == "at most 50 % of it goes"
    assert not tui_prune.plan(graph, ratio=0.95, scope=scope, max_ratio=0).cuts


def test_limits_hold_for_ratios_of_single_layers_too(graph: Graph) -> None:
    plan = tui_prune.plan(graph, layers={"0": 0.9}, max_ratio=0.25)
    assert widths(plan)[0] == 18


def test_alignment_gives_way_to_a_limit_and_says_so(graph: Graph) -> None:
    plan = tui_prune.plan(graph, ratio=0.9, align=8, max_ratio=0.25)
    assert widths(plan)[:3] == [24, 16, 24]
    plan = tui_prune.plan(graph, ratio=0.9, align=8, max_ratio=0.1)
    assert widths(plan)[2] == 28
    assert "can't be aligned to 8: at least 28 of 31 channels stay" in plan.layer("4").note


def test_limits_count_the_channels_of_all_blocks() -> None:
    model = nn.Sequential(conv(3, 32), conv(32, 64, groups=4), nn.ReLU(), conv(64, 4)).eval()
    result = prune_exactly(model, torch.randn(IMAGES), ratio=0.9, grouped="even", min_channels=20)
    assert [layer.after for layer in result.plan.layers] == [20, 20, 4]
    result = prune_exactly(model, torch.randn(IMAGES), ratio=0.9, grouped="even", max_ratio=0.3)
    assert [layer.after for layer in result.plan.layers] == [24, 48, 4]


def test_uneven_groups_keep_to_limits() -> None:
    result = tui_prune.prune(shuffled(), torch.randn(1, 3, 64, 64), ratio=0.9, max_ratio=0.5)
    assert all(layer.after >= layer.before / 2 for layer in result.plan.layers)
    assert result.plan.cuts


# Thresholds.


def test_a_threshold_cuts_what_scores_lower() -> None:
    model = nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 5), nn.BatchNorm2d(5), conv(5, 4)).eval()
    model[1].weight.data = torch.tensor([0.5, 0.01, 0.02, 0.3, 0.1, 0.05])
    model[4].weight.data = torch.tensor([0.09, 0.02, 0.03, 0.01, 0.05])
    result = tui_prune.prune(model, torch.randn(IMAGES), threshold=0.1, criterion="bn_scale")
    assert result.kept["0.weight/0"].tolist() == [0, 3, 4]
    assert result.kept["3.weight/0"].tolist() == [0]  # one always stays
    graph = result.plan.graph
    assert widths(tui_prune.plan(graph, threshold=0.1, criterion="bn_scale", max_ratio=0.5)) == [3, 3, 4]
    assert widths(tui_prune.plan(graph, threshold=0.1, criterion="bn_scale", align=2)) == [4, 2, 4]
    assert widths(tui_prune.plan(graph, threshold=0.1, criterion="bn_scale", lock=("0",))) == [6, 1, 4]
    own = tui_prune.plan(graph, threshold=0.1, criterion="bn_scale", layers={"3": 0.2})
    assert widths(own) == [3, 4, 4]
    assert not tui_prune.plan(graph, threshold=0.0, criterion="bn_scale").cuts


def test_a_threshold_says_what_it_can_t_rank(graph: Graph) -> None:
    plan = tui_prune.plan(graph, threshold=0.1, criterion="bn_scale")
    assert not plan.cuts
    assert any("can't be ranked by bn_scale: no batch norm covers its channels" in note for note in plan.notes)


# Recipes and sessions.


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target_macs": 0}, "target_macs must be a share of the network as it is, above 0 and up to 1; it is 0"),
        ({"target_params": 1.5}, "target_params must be a share"),
        ({"target_latency": "half"}, "target_latency must be a share"),
        ({"target_bytes": "5 lumps"}, "target_bytes must be a size such as 5MB"),
        ({"target_bytes": 0}, "target_bytes must be a size"),
        ({"target_bytes": 0.5}, "target_bytes must be a size"),
        ({"threshold": "low"}, "threshold must be a number"),
        ({"threshold": float("nan")}, "threshold must be a number"),
        ({"min_channels": 0}, "min_channels must be a whole number of at least 1"),
        ({"max_ratio": 1.1}, "max_ratio must be a share from 0 to 1"),
        ({"align": "car"}, 'align must be a whole number of at least 1, or "auto"'),
        ({"combine": "median"}, "combine must be one of auto, sum, mean, max"),
        ({"normalise": "z"}, "normalise must be one of none, mean, max"),
        ({"ratio": 0.5, "target_macs": 0.5}, "ratio and target_macs each say how much to cut; give one of them"),
        ({"threshold": 0.1, "target_bytes": 9}, "threshold and target_bytes each say how much to cut"),
    ],
    ids=str,
)
def test_wrong_recipe_is_refused_in_words(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Recipe.from_dict(fields)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(target_macs=0.5, target_params=0.25, target_bytes="3MB", target_latency=0.75, align="auto"),
        Recipe(threshold=0.01, criterion="taylor", combine="max", normalise="mean", min_channels=4, max_ratio=0.9),
    ],
    ids=["targets", "threshold"],
)
def test_recipe_comes_back_from_its_file(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(path) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_says_how_much_to_cut_replaces_what_did() -> None:
    recipe = Recipe(ratio=0.5, align=8)
    recipe = recipe.changed(target_macs=0.5)
    assert recipe == Recipe(target_macs=0.5, align=8)
    recipe = recipe.changed(target_params=0.25)
    assert recipe.targets == ("target_macs", "target_params")
    assert recipe.changed(threshold=0.1) == Recipe(threshold=0.1, align=8)
    assert recipe.changed(ratio=0.25) == Recipe(ratio=0.25, align=8)
    assert recipe.changed(ratio=0.0) == Recipe(align=8)
    assert recipe.changed(align=4) == Recipe(target_macs=0.5, target_params=0.25, align=4)
    assert recipe.changed(target_macs=None) == Recipe(target_params=0.25, align=8)


def test_targets_are_choices_like_any_other() -> None:
    session = Session.open(model=chain(24, 16), input_spec="1,3,8,8")
    session.set_ratio(0.25)
    plan = session.apply(session.recipe.changed(target_macs=0.5))
    assert plan.after.macs <= 0.5 * plan.before.macs
    assert session.recipe.ratio == 0
    with pytest.raises(UsageError, match="can't be reached"):
        session.apply(session.recipe.changed(target_macs=0.0001))
    assert session.plan is plan
    more = session.apply(with_stepped_ratio(plan, NETWORK, 0.05))
    assert more.recipe.ratio == pytest.approx(plan.ratio + 0.05, abs=1e-4), "from the one that was found"
    assert session.undo().recipe.target_macs == 0.5
    assert session.undo().recipe == Recipe(ratio=0.25)
    assert session.set_ratio(0.0).recipe == Recipe()


# On the command line.


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tui-prune")


def test_targets_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "out.pt"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("ratio = 0.9\nmax_ratio = 0.75\n")
    done = call(
        "prune", "nin", "-o", path, "--json", "--recipe", recipe, "--target-macs", "0.5", "--target-bytes", "1.5MB",
        "--align", "8", "--scope", "global", "--criterion", "lamp", "--combine", "max", "--normalise", "max",
        "--min-channels", "16",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("Note: Found for the target: a cut of ")
    report = json.loads(done.stdout)
    names = ("ratio", "target_macs", "target_bytes", "scope", "criterion", "combine", "normalise", "min_channels")
    assert [report["recipe"][name] for name in names] == [0.0, 0.5, 1_500_000, "global", "lamp", "max", "max", 16]
    assert report["recipe"]["max_ratio"] == 0.75
    assert report["macs"]["after"] <= 0.5 * report["macs"]["before"]
    assert report["bytes"]["after"] <= 1_500_000
    assert 0 < report["found"]["ratio"] < 1
    assert [target["target"] for target in report["targets"]] == ["target_macs", "target_bytes"]
    assert all(layer["after"] >= 16 and layer["after"] % 8 == 0 for layer in report["layers"][:-1])
    assert tui_prune.load(path) is not None
    done = call("verify", path)
    assert done.exit_code == 0, done.output


def test_targets_in_words(tmp_path: Path) -> None:
    done = call("prune", "nin", "-o", tmp_path / "out.pt", "--target-params", "0.3")
    assert done.exit_code == 0, done.output
    assert "\nFound: ratio 0." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target-macs", "2"], "target_macs must be a share"),
        (["--target-bytes", "much"], "target_bytes must be a size"),
        (["--ratio", "0.5", "--target-macs", "0.5"], "each say how much to cut"),
        (["--align", "some"], "--align takes a whole number, or auto"),
        (["--target-bytes", "1B"], "The target of 1 B can't be reached"),
        (["--criterion", "taylor", "--ratio", "0.5"], "needs calibration data"),
        (["--task", "no_such_file.py"], "There is no task file no_such_file.py"),
        (["--min-channels", "0"], "min_channels must be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = call("prune", "nin", "-o", tmp_path / "out.pt", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_calibration_data_on_the_command_line(tmp_path: Path) -> None:
    task = tmp_path / "task.py"
    task.write_text(
        "import torch\n\ndef calibration():\n    yield torch.randn(2, 3, 32, 32), torch.tensor([0, 1])\n\n"
        "def loss(output, targets):\n    return torch.nn.functional.cross_entropy(output, targets)\n"
    )
    for criterion in ("taylor", "activation"):
        done = call("prune", "nin", "-o", tmp_path / f"{criterion}.pt", "--task", task, "--criterion", criterion,
                    "--ratio", "0.5", "--json")  # fmt: skip
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["recipe"]["criterion"] == criterion
