"""From choices to widths: recipes and their files, alignment, scope, ratios by name, locks; and a session's history."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tui_prune
from tests import small_nets as nets
from tests.exactness import prune_exactly, randomise_norms, widths
from tests.small_nets import IMAGES, conv
from tui_prune import Recipe, TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.models.nin import NIN_WIDTHS, PRUNED_HALF_ALIGNED_8_WIDTHS, PRUNED_HALF_WIDTHS, nin
from tui_prune.models.plain_conv import plain_conv
from tui_prune.planning.plan import Plan
from tui_prune.session.session import Session

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
REFERENCE = json.loads((Path(__file__).parents[2] / "networks" / "reference_networks.json").read_text(encoding="utf-8"))


pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Net(nn.Module):
    """Convolutions with batch norms in two stages, then the classes: `stem`, `one.0`, `one.1`, `two.0`, ..., `out`."""

    def __init__(self, stem: int, one: tuple[int, ...] = (), two: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.stem = conv(3, stem)
        self.one, self.two = nn.Sequential(), nn.Sequential()
        before = stem
        for stage, stage_widths in ((self.one, one), (self.two, two)):
            for width in stage_widths:
                stage.append(nn.Sequential(conv(before, width), nn.BatchNorm2d(width), nn.ReLU()))
                before = width
        self.out = conv(before, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.two(self.one(self.stem(x))))


def traced(*stages: Any) -> Graph:
    return tui_prune.trace(Net(*stages).eval(), IMAGE)


def after(plan: Plan) -> dict[str, int]:
    """Widths of the layers that put out channels, without the output layer."""
    return {layer.name: layer.after for layer in plan.layers if layer.producer and layer.name != "out"}


# Recipes.

FULL = Recipe(
    ratio=0.25,
    layers={"layer1.*": 0.5, "fc": 0.0},
    align=8,
    layer_align={"conv1": 16},
    align_rounding="up",
    criterion="bn_scale",
    scope="global",
    lock=("conv1", "layer4.*"),
    unlock=("fc",),
    residual="keep",
    grouped="whole",
    seed=3,
)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(ratio=0.5), FULL], ids=["default", "one choice", "all choices"])
def test_recipe_comes_back_from_its_file(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(path) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_recipe_file_holds_what_was_chosen_and_no_more() -> None:
    assert Recipe().to_toml() == ""
    values = [line.partition("  #")[0] for line in Recipe(ratio=0.5, layers={"conv1": 0.25}).to_toml().splitlines()]
    assert values == ["ratio = 0.5", "", "[layers]", "conv1 = 0.25"]


def test_recipe_cannot_be_changed_from_outside() -> None:
    table = {"conv1": 0.5}
    recipe = Recipe(layers=table)
    table["conv1"] = 0.75
    assert recipe.layers["conv1"] == 0.5
    with pytest.raises(TypeError):
        recipe.layers["conv1"] = 0.75  # type: ignore[index]
    assert recipe.changed(ratio=0.5).layers == {"conv1": 0.5}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ratio": 1.0}, r"ratio must be a share from 0 up to, but not including, 1; it is 1\.0"),
        ({"ratio": -0.1}, "ratio must be a share"),
        ({"ratio": "half"}, "ratio must be a share"),
        ({"ratio": float("nan")}, "ratio must be a share"),
        ({"layers": {"conv1": 50}}, "the ratio of conv1 must be a share"),
        ({"align": 0}, "align must be a whole number of at least 1"),
        ({"align": 8.0}, "align must be a whole number"),
        ({"layer_align": {"conv1": -8}}, "the alignment of conv1 must be a whole number"),
        ({"align_rounding": "sideways"}, "align_rounding must be one of nearest, up, down"),
        ({"criterion": "luck"}, "criterion must be one of l1, l2, group_l2, bn_scale, lamp, fpgm"),
        ({"scope": "galactic"}, "scope must be one of local, global"),
        ({"residual": "maybe"}, "residual must be one of cut, keep"),
        ({"grouped": "oddly"}, "grouped must be one of auto, even, whole"),
        ({"heads": "half"}, "heads must be one of width, whole, auto"),
        ({"lock": "conv1"}, "lock takes a list of layer names"),
        ({"unlock": [1]}, "unlock takes a list of layer names"),
        ({"layers": 0.5}, "wrong kind"),
        ({"rato": 0.5}, "no field 'rato'; it knows align"),
    ],
)
def test_wrong_recipe_is_refused_in_words(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Recipe.from_dict(fields)


def test_recipe_files_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(UsageError, match=r"recipe\.toml can't be read"):
        Recipe.from_toml(path)
    path.write_text("ratio: 0.5", encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe\.toml is not TOML"):
        Recipe.from_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"recipe\.toml can't be read"):
        Recipe.from_toml(path)


def test_unknown_keyword_of_the_functions_is_refused() -> None:
    with pytest.raises(UsageError, match="rato"):
        tui_prune.plan(traced(8), rato=0.5)


# The published tables.


def published_scales(model: nn.Module) -> None:
    """Batch-norm scales of which the global threshold at one half leaves the published widths.

    Channels that stay have scales above 1, the others below; which ones they are is random.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)][:-1]
    for norm, width in zip(norms, PRUNED_HALF_WIDTHS, strict=True):
        scales = torch.rand(norm.num_features, generator=generator) * 0.9
        scales[torch.randperm(norm.num_features, generator=generator)[:width]] += 1
        norm.weight.data.copy_(scales)


def spelled(model: nn.Module) -> list[list[str]]:
    """Name, class and settings of each module, in the spelling of the published printouts."""
    return [spelled_alike(name, type(part).__name__, part.extra_repr()) for name, part in model.named_modules() if name]


def spelled_alike(name: str, kind: str, settings: str) -> list[str]:
    """Releases of torch print an in-place ReLU and a batch norm in different words."""
    if kind == "ReLU" and settings == "inplace":
        settings = "inplace=True"
    return [name, kind, settings.replace(", bias=True", "") if kind == "BatchNorm2d" else settings]


@pytest.mark.parametrize(
    ("align", "published", "expected"),
    [
        (1, "nin_pruned_half", (47, 93, 47, 122, 116, 90, 105, 83)),
        (8, "nin_pruned_half_aligned_8", (48, 96, 48, 120, 120, 88, 104, 80)),
    ],
)
def test_published_network_comes_out(align: int, published: str, expected: tuple[int, ...]) -> None:
    assert expected == (PRUNED_HALF_WIDTHS if align == 1 else PRUNED_HALF_ALIGNED_8_WIDTHS)
    model = randomise_norms(nin()).eval()
    published_scales(model)
    result = prune_exactly(model, torch.randn(1, 3, 32, 32), criterion="bn_scale", scope="global", align=align)
    assert tuple(width for _, width in list(widths(result).values())[:-1]) == expected
    assert spelled(result.model) == [spelled_alike(*module) for module in REFERENCE[published]]
    norm = model.tnn_bin[1]
    if align == 1:
        assert torch.equal(result.model.tnn_bin[1].weight, norm.weight[norm.weight > 1])


def test_global_scope_cuts_the_lowest_and_the_one_at_the_threshold() -> None:
    """Of 1408 channels at one half, 704 are the lowest and one is at the threshold: 703 stay."""
    model = nin().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight)
    result = tui_prune.prune(model, torch.randn(1, 3, 32, 32), ratio=0.5, criterion="bn_scale", scope="global")
    assert sum(NIN_WIDTHS) == 1408
    assert sum(width for _, width in list(widths(result).values())[:-1]) == 703
    stay = torch.cat([part.weight.detach() for part in list(norms_of(result.model))[:-1]])
    go = torch.cat([part.weight.detach() for part in list(norms_of(model))[:-1]]).sort().values[:705]
    assert stay.min() > go.max()


def norms_of(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (part for part in model.modules() if isinstance(part, nn.BatchNorm2d))


def test_plain_network_at_one_half_with_its_output_unlocked() -> None:
    with torch.device("meta"):
        model = plain_conv().eval()
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.uniform_(-0.05, 0.05)
    result = tui_prune.prune(model, torch.randn(1, 3, 2, 2), ratio=0.5, unlock=("conv8",))
    assert list(after(result.plan).values()) == [16, 32, 64, 128, 256, 512, 1024, 2048]
    assert f"{result.plan.before.params / 1e6:.2f}M" == "100.66M"
    assert f"{result.plan.after.params / 1e6:.2f}M" == "25.16M"
    assert sum(parameter.numel() for parameter in result.model.parameters()) == result.plan.after.params
    locked = tui_prune.plan(result.plan.graph, ratio=0.5, criterion="random")
    assert locked.layer("conv8").after == 4096
    assert locked.layer("conv8").locked == "model output"


# Ratios, local and global.


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [(0.0, 10), (0.05, 10), (0.1, 9), (0.3, 7), (0.5, 5), (0.55, 5), (0.7, 3), (0.9, 1), (0.95, 1), (0.99, 1)],
)
def test_ratio_is_the_share_that_goes(ratio: float, kept: int) -> None:
    assert after(tui_prune.plan(traced(10), ratio=ratio)) == {"stem": kept}


def test_one_channel_stays_in_each_layer() -> None:
    graph = traced(16, (3, 1), (40,))
    for scope in ("local", "global"):
        plan = tui_prune.plan(graph, ratio=0.99, scope=scope)
        assert after(plan) == {"stem": 1, "one.0.0": 1, "one.1.0": 1, "two.0.0": 1}
    prune_exactly(graph.model, IMAGE, ratio=0.99)


def test_global_scope_ranks_all_layers_together() -> None:
    model = Net(8, (8,)).eval()
    model.stem.weight.data.uniform_(1, 2)
    model.one[0][0].weight.data.uniform_(0.01, 0.02)
    plan = tui_prune.plan(tui_prune.trace(model, IMAGE), ratio=0.25, scope="global", criterion="l1")
    assert after(plan) == {"stem": 8, "one.0.0": 3}
    assert after(tui_prune.plan(plan.graph, ratio=0.25, criterion="l1")) == {"stem": 6, "one.0.0": 6}


def test_layer_with_a_ratio_of_its_own_takes_no_part_in_the_ranking() -> None:
    model = Net(8, (8, 8)).eval()
    for layer, low in ((model.stem, 1.0), (model.one[0][0], 0.01), (model.one[1][0], 2.0)):
        layer.weight.data.uniform_(low, 2 * low)
    graph = tui_prune.trace(model, IMAGE)
    plan = tui_prune.plan(graph, ratio=0.25, scope="global", criterion="l1", layers={"one.0.0": 0.5})
    assert after(plan) == {"stem": 3, "one.0.0": 4, "one.1.0": 8}


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_smallest_weights_go(criterion: str) -> None:
    model = Net(6).eval()
    sizes = torch.tensor([0.3, 0.1, 0.6, 0.2, 0.5, 0.4])
    model.stem.weight.data = sizes.view(6, 1, 1, 1).expand(6, 3, 1, 1).clone()
    result = tui_prune.prune(model, IMAGE, ratio=0.5, criterion=criterion)
    assert result.kept["stem.weight/0"].tolist() == [2, 4, 5]


def test_norms_of_both_orders_rank_differently() -> None:
    """Three weights of 0.4 (L1 1.2, L2 0.69) and one of 1 (L1 1, L2 1)."""
    model = Net(2).eval()
    model.stem.weight.data = torch.tensor([[0.4, 0.4, 0.4], [1.0, 0.0, 0.0]]).view(2, 3, 1, 1)
    kept = {name: tui_prune.prune(model, IMAGE, ratio=0.5, criterion=name).kept["stem.weight/0"].tolist()
            for name in ("l1", "l2")}  # fmt: skip
    assert kept == {"l1": [0], "l2": [1]}


def test_batch_norm_scales_rank_by_their_size() -> None:
    model = Net(3, (4,)).eval()
    model.one[0][1].weight.data = torch.tensor([-3.0, 0.5, 2.0, -0.1])
    result = tui_prune.prune(model, IMAGE, layers={"one.0.0": 0.5}, criterion="bn_scale")
    assert result.kept["one.0.0.weight/0"].tolist() == [0, 2]


def test_without_a_batch_norm_its_scales_rank_nothing_and_the_plan_says_so() -> None:
    plan = tui_prune.plan(traced(8, (8,)), ratio=0.5, criterion="bn_scale")
    assert after(plan) == {"stem": 8, "one.0.0": 4}
    assert any("stem" in note and "batch norm" in note for note in plan.notes)


def test_random_is_the_same_for_the_same_seed() -> None:
    model = Net(64, (64,)).eval()
    kept = [tui_prune.prune(model, IMAGE, ratio=0.5, criterion="random", seed=seed).kept for seed in (1, 1, 2)]
    torch.manual_seed(5)
    kept.append(tui_prune.prune(model, IMAGE, ratio=0.5, criterion="random", seed=1).kept)
    first = [found["stem.weight/0"].tolist() for found in kept]
    assert first[0] == first[1] == first[3] != first[2]
    assert first[0] != kept[0]["one.0.0.weight/0"].tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_the_layer_s_name(value: float) -> None:
    model = Net(8, (8, 8)).eval()
    model.one[1][0].weight.data[3, 0] = value
    with pytest.raises(TuiPruneError, match=r"one\.1\.0.*not finite"):
        tui_prune.prune(model, IMAGE, ratio=0.5)
    with pytest.raises(TuiPruneError, match=r"one\.1\.0.*not finite"):
        tui_prune.plan(tui_prune.trace(model, IMAGE), ratio=0.5)


def test_network_that_puts_out_no_numbers_is_not_called_equal() -> None:
    """A norm with NaN makes every output NaN: nothing can be compared, so nothing may be called exact."""
    model = Net(8, (8,)).eval()
    model.one[0][1].bias.data[3] = float("nan")
    with pytest.raises(TuiPruneError):
        tui_prune.prune(model, IMAGE, ratio=0.25)


# Alignment.


@pytest.mark.parametrize(
    ("width", "ratio", "rounding", "kept"),
    [
        (64, 0.5, "nearest", 32),
        (64, 0.55, "nearest", 32),  # 29 goes up
        (64, 0.6, "nearest", 24),  # 26 goes down
        (64, 0.5625, "nearest", 32),  # 28, in the middle: up
        (64, 0.6, "up", 32),
        (64, 0.55, "down", 24),
        (64, 0.5, "up", 32),
        (64, 0.5, "down", 32),
        (20, 0.05, "nearest", 16),  # 19: 24 would be above the width
        (20, 0.05, "up", 16),
        (64, 0.99, "nearest", 8),  # never below 8
        (64, 0.9, "down", 8),
        (8, 0.5, "nearest", 8),
        (8, 0.9, "down", 8),
    ],
)
def test_kept_channels_are_a_multiple_of_eight(width: int, ratio: float, rounding: str, kept: int) -> None:
    plan = tui_prune.plan(traced(width), ratio=ratio, align=8, align_rounding=rounding)
    assert after(plan) == {"stem": kept}


def test_best_channels_stay_after_alignment() -> None:
    model = Net(16).eval()
    model.stem.weight.data = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 3, 1, 1).clone() + 1
    result = tui_prune.prune(model, IMAGE, ratio=0.7, align=8)
    assert result.kept["stem.weight/0"].tolist() == list(range(8, 16))


def test_layer_narrower_than_the_alignment_is_cut_unaligned_and_says_so() -> None:
    plan = tui_prune.plan(traced(6, (16,)), ratio=0.5, align=8)
    assert after(plan) == {"stem": 3, "one.0.0": 8}
    assert plan.layer("stem").note == "can't be aligned to 8: it has 6 channels"
    assert plan.notes == ("stem can't be aligned to 8: it has 6 channels",)


def test_width_that_misses_its_alignment_is_never_silent() -> None:
    """13 channels of which the ratio takes none: no multiple of 8, and the plan has to say so."""
    plan = tui_prune.plan(traced(13), ratio=0.05, align=8)
    assert plan.layer("stem").after % 8 == 0 or "aligned" in plan.layer("stem").note


def test_blocks_that_forbid_an_alignment_say_so() -> None:
    """Three groups of four: a multiple of 8 that is a multiple of 3 would be 24."""
    model = nn.Sequential(conv(3, 12), conv(12, 12, groups=3), nn.ReLU(), conv(12, 4)).eval()
    plan = tui_prune.plan(tui_prune.trace(model, IMAGE, grouped="even"), ratio=0.5, align=8, grouped="even")
    assert [layer.after for layer in plan.layers] == [6, 6, 4]
    assert "can't be aligned to 8" in plan.layer("0").note
    assert len(plan.notes) == 2


def test_blocks_are_aligned_in_all() -> None:
    """Four groups of 16, of which 7 would stay: 28 in all is half-way from 24 to 32, so 8 stay in each."""
    model = nn.Sequential(conv(3, 32), conv(32, 64, groups=4), nn.ReLU(), conv(64, 4)).eval()
    result = prune_exactly(model, IMAGE, ratio=0.6, align=8, grouped="even")
    assert widths(result) == {"0": (32, 16), "1": (64, 32), "3": (4, 4)}


def test_layers_that_are_joined_and_then_added_are_aligned_each_or_say_so() -> None:
    plan = tui_prune.plan(tui_prune.trace(nets.JoinedThenAdded().eval(), IMAGE), ratio=0.5, align=8)
    assert plan.layer("c").after == plan.layer("a").after + plan.layer("b").after == 16
    for name in "abc":
        assert plan.layer(name).after % 8 == 0 or "can't be aligned" in plan.layer(name).note


def test_a_note_counts_the_channels_of_its_own_layer() -> None:
    graph = tui_prune.trace(nets.JoinedThenAdded().eval(), IMAGE)
    plan = tui_prune.plan(graph, ratio=0.4, align=8)
    notes = {layer.name: layer.note for layer in plan.layers if layer.producer}
    assert notes == {"a": "10 aligned to 8: 8", "b": "10 aligned to 8: 8", "c": "20 aligned to 8: 16", "out": ""}
    plan = tui_prune.plan(graph, ratio=0.4, align=32)
    assert plan.layer("a").note == "can't be aligned to 32: it has 16 channels"
    assert plan.layer("c").note == "can't be aligned to 32: a has 16 channels"
    assert plan.notes == ("a can't be aligned to 32: it has 16 channels",)


def test_a_note_on_a_depthwise_multiplier_counts_what_it_puts_out() -> None:
    model = nn.Sequential(conv(3, 16), conv(16, 48, groups=16), conv(48, 4)).eval()
    plan = tui_prune.plan(tui_prune.trace(model, IMAGE), ratio=0.4, align=8)
    assert (plan.layer("0").note, plan.layer("1").note) == ("10 aligned to 8: 8", "30 aligned to 8: 24")


def test_alignment_of_a_layer_wins_over_that_of_all() -> None:
    graph = traced(64, (64,), (64,))
    plan = tui_prune.plan(graph, ratio=0.6, align=8, layer_align={"one": 16, "two.*": 1})
    assert after(plan) == {"stem": 24, "one.0.0": 32, "two.0.0": 26}


# Names.


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({"one.0.0": 0.25}, (16, 12, 16, 16)),
        ({"one": 0.25}, (16, 12, 12, 16)),
        ({"one.*": 0.25}, (16, 12, 12, 16)),
        ({"*.0.0": 0.25}, (16, 12, 16, 12)),
        ({"one.0": 0.25}, (16, 12, 16, 16)),
        ({"one.0.0": 0.25, "one.*": 0.75}, (16, 12, 4, 16)),
        ({"one.*": 0.75, "one.0.0": 0.25}, (16, 12, 4, 16)),
        ({"*": 0.25, "one.*": 0.75}, (12, 4, 4, 12)),
        ({"one.*": 0.75, "*": 0.25}, (12, 12, 12, 12)),
        ({"stem": 0.0, "*": 0.5}, (16, 8, 8, 8)),
    ],
)
def test_ratio_by_name_glob_or_parent(layers: dict[str, float], expected: tuple[int, ...]) -> None:
    plan = tui_prune.plan(traced(16, (16, 16), (16,)), layers=layers)
    assert tuple(after(plan).values()) == expected


def test_own_ratio_wins_over_that_of_all() -> None:
    plan = tui_prune.plan(traced(16, (16,)), ratio=0.5, layers={"stem": 0.0})
    assert after(plan) == {"stem": 16, "one.0.0": 8}
    assert (plan.layer("stem").own_ratio, plan.layer("one.0.0").own_ratio) == (True, False)
    assert (plan.layer("stem").ratio, plan.layer("one.0.0").ratio) == (0.0, 0.5)


def test_ratio_of_a_layer_holds_for_all_that_are_tied_to_it() -> None:
    graph = tui_prune.trace(nets.Residual().eval(), torch.randn(IMAGES))
    for name in ("a", "b"):
        assert after(tui_prune.plan(graph, layers={name: 0.25})) == {"a": 12, "b": 12}


@pytest.mark.parametrize("field", ["layers", "layer_align", "lock", "unlock"])
def test_unknown_layer_is_refused_with_the_names_that_are_close(field: str) -> None:
    value: Any = {"one.0.1.conv": 1 if field == "layer_align" else 0.5}
    with pytest.raises(UsageError, match=r"No layer is called one\.0\.1\.conv\. Did you mean one\.0\.\d"):
        tui_prune.plan(traced(16, (16,)), **{field: value if field.startswith("layer") else tuple(value)})


def test_locked_layers_stay_as_they_are() -> None:
    graph = traced(16, (16, 16), (16,))
    plan = tui_prune.plan(graph, ratio=0.5, lock=("stem", "one.*"))
    assert after(plan) == {"stem": 16, "one.0.0": 16, "one.1.0": 16, "two.0.0": 8}
    assert plan.layer("stem").locked == "locked by you"
    plan = tui_prune.plan(graph, ratio=0.5, scope="global", lock=("stem", "one.*"))
    assert after(plan) == {"stem": 16, "one.0.0": 16, "one.1.0": 16, "two.0.0": 7}


def test_a_norm_s_name_locks_the_channels_that_it_follows() -> None:
    assert after(tui_prune.plan(traced(8, (8,)), ratio=0.5, lock=("one.0.1",))) == {"stem": 4, "one.0.0": 8}


def test_a_layer_that_shares_its_weight_with_another_has_a_name_of_its_own() -> None:
    graph = tui_prune.trace(nets.TiedLayers().eval(), torch.randn(IMAGES))
    assert after(tui_prune.plan(graph, ratio=0.5, lock=("c",)))["b"] == 16
    assert after(tui_prune.plan(graph, layers={"c": 0.25}))["b"] == 12


def test_only_a_model_output_can_be_unlocked() -> None:
    result = tui_prune.prune(Net(8).eval(), IMAGE, ratio=0.5, unlock=("out",))
    assert result.model(IMAGE).shape == (1, 2, 8, 8)
    graph = tui_prune.trace(nets.AddedToInput().eval(), IMAGE)
    with pytest.raises(UsageError, match="a can't be unlocked: model input"):
        tui_prune.plan(graph, ratio=0.5, unlock=("a",))
    graph = tui_prune.trace(nets.FixedSlice().eval(), IMAGE)
    with pytest.raises(UsageError, match="a can't be unlocked: the model's code fixes this size"):
        tui_prune.plan(graph, ratio=0.5, unlock=("a",))


def test_residual_streams_stay_where_the_recipe_says_so() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.inner, self.b, self.out = conv(3, 16), conv(16, 16), conv(16, 16), conv(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return self.out(y + self.b(self.inner(y).relu()))

    graph = tui_prune.trace(Block().eval(), IMAGE)
    assert after(tui_prune.plan(graph, ratio=0.5)) == {"a": 8, "inner": 8, "b": 8}
    plan = tui_prune.plan(graph, ratio=0.5, residual="keep")
    assert after(plan) == {"a": 16, "inner": 8, "b": 16}
    assert plan.layer("a").locked == "residual stream kept"


@pytest.mark.parametrize(("grouped", "groups"), [("even", 4), ("whole", 2)])
def test_grouped_convolutions_are_cut_as_the_recipe_says(grouped: str, groups: int) -> None:
    model = nn.Sequential(conv(3, 32), conv(32, 32, groups=4), nn.ReLU(), conv(32, 4)).eval()
    result = prune_exactly(model, IMAGE, grouped=grouped)
    assert widths(result) == {"0": (32, 16), "1": (32, 16), "3": (4, 4)}
    assert result.model[1].groups == groups
    graph = tui_prune.trace(model, IMAGE)
    assert after(tui_prune.plan(graph, ratio=0.5, grouped=grouped)) == {"0": 16, "1": 16, "3": 4}


# Planning alone.


def test_planning_again_reads_no_weight() -> None:
    """Scores are computed once: after that, a new ratio must come out with the weights gone."""
    session = Session.open(model=Net(32, (32, 32)).eval(), input_spec="1,3,8,8")
    session.set_ratio(0.25)
    for parameter in session.opened.module.parameters():
        parameter.data = torch.empty(0)
    assert after(session.set_ratio(0.5)) == {"stem": 16, "one.0.0": 16, "one.1.0": 16}
    assert after(session.set_ratio(0.75, "stem")) == {"stem": 8, "one.0.0": 16, "one.1.0": 16}
    assert session.plan.after.params < session.plan.before.params


def test_plan_leaves_the_model_as_it_is() -> None:
    graph = traced(16, (16,))
    before = {name: tensor.clone() for name, tensor in graph.model.state_dict().items()}
    plan = tui_prune.plan(graph, ratio=0.5)
    tui_prune.plan(graph, ratio=0.25, criterion="bn_scale", scope="global")
    assert all(torch.equal(before[name], tensor) for name, tensor in graph.model.state_dict().items())
    assert after(plan) == {"stem": 8, "one.0.0": 8}
    assert after(tui_prune.plan(graph)) == {"stem": 16, "one.0.0": 16}


def test_plan_takes_a_recipe_and_fields_that_win_over_it() -> None:
    graph = traced(16)
    assert after(tui_prune.plan(graph, Recipe(ratio=0.5))) == {"stem": 8}
    assert after(tui_prune.plan(graph, Recipe(ratio=0.5), ratio=0.25)) == {"stem": 12}
    result = tui_prune.prune(graph.model, IMAGE, Recipe(ratio=0.5), align=8)
    assert result.report["recipe"] == Recipe(ratio=0.5, align=8).to_dict()


# A session's history.


@pytest.fixture
def session() -> Session:
    return Session.open(model=Net(16, (16,), (16,)).eval(), input_spec="1,3,8,8")


def test_choices_are_undone_and_done_again(session: Session) -> None:
    assert not session.dirty
    assert not session.can_undo
    assert not session.can_redo
    steps = [
        session.set_ratio(0.5),
        session.set_ratio(0.25, "one.0.0"),
        session.set_alignment(4),
        session.toggle_lock("stem"),
        session.apply(session.recipe.changed(criterion="l1")),
        session.apply(session.recipe.changed(scope="global")),
    ]
    assert session.dirty
    recipes = [plan.recipe for plan in steps]
    assert len(set(map(str, recipes))) == len(recipes)
    for recipe in [*reversed(recipes[:-1]), Recipe()]:
        assert session.undo().recipe == recipe == session.recipe
    assert not session.can_undo
    assert not session.dirty
    assert session.undo().recipe == Recipe()
    for recipe, plan in zip(recipes, steps, strict=True):
        assert session.redo().recipe == recipe
        assert after(session.plan) == after(plan)
    assert not session.can_redo
    session.undo()
    session.set_ratio(0.75)
    assert not session.can_redo


def test_wrong_choice_changes_nothing(session: Session) -> None:
    session.set_ratio(0.5)
    plan = session.plan
    for choice in (
        lambda: session.set_ratio(1.5),
        lambda: session.set_ratio(0.5, "missing"),
        lambda: session.set_alignment(0),
        lambda: session.apply(session.recipe.changed(criterion="luck")),
        lambda: session.apply(Recipe(layers={"missing": 0.5})),
    ):
        with pytest.raises(UsageError):
            choice()
        assert session.plan is plan
    session.undo()
    assert session.recipe == Recipe()


def test_same_choice_again_is_no_step(session: Session) -> None:
    session.set_ratio(0.5)
    session.set_ratio(0.5)
    session.undo()
    assert not session.can_undo


def test_ratio_of_a_norm_is_that_of_the_channels_that_it_follows(session: Session) -> None:
    """The cursor may stand on a norm: a ratio given there must not be lost."""
    session.set_ratio(0.25, "one.0.0")
    assert session.set_ratio(0.5, "one.0.1").layer("one.0.0").after == 8


def test_lock_goes_on_and_off(session: Session) -> None:
    session.set_ratio(0.5)
    assert session.toggle_lock("stem").layer("stem").after == 16
    assert session.toggle_lock("stem").layer("stem").after == 8
    assert session.toggle_lock("out").layer("out").after == 2
    assert session.toggle_lock("out").layer("out").after == 4


def test_lock_that_the_model_needs_cannot_be_taken_off() -> None:
    session = Session.open(model=nets.AddedToInput().eval(), input_spec="1,3,8,8")
    with pytest.raises(UsageError, match=r"a can't be unlocked: model input \(small_nets.py:\d+: .*self\.a\(x\) \+ x"):
        session.toggle_lock("a")
    assert not session.can_undo


def test_saving_makes_a_session_clean(session: Session, tmp_path: Path) -> None:
    session.set_ratio(0.5)
    session.save(tmp_path / "pruned.pt")
    assert not session.dirty
    session.set_ratio(0.25)
    assert session.dirty
    session.undo()
    assert not session.dirty


def test_a_layer_that_collapses_is_named() -> None:
    graph = tui_prune.trace(nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 4, 1)), torch.zeros(1, 3, 8, 8))
    assert tui_prune.plan(graph, ratio=0.5).notes == ()
    assert tui_prune.plan(graph, ratio=0.99).notes == ("0 keeps only 1 of 64 channels",)


def test_scores_that_are_all_the_same_are_named() -> None:
    norm = nn.BatchNorm2d(8)
    graph = tui_prune.trace(nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.Conv2d(8, 4, 1)), torch.zeros(1, 3, 8, 8))
    chance = "the channels of 0 all score the same by bn_scale, so which of them go is chance"
    assert tui_prune.plan(graph, ratio=0.5, criterion="bn_scale").notes == (chance,)
    assert tui_prune.plan(graph, ratio=0.5).notes == ()
    nn.init.uniform_(norm.weight)
    graph = tui_prune.trace(graph.model, torch.zeros(1, 3, 8, 8))
    assert tui_prune.plan(graph, ratio=0.5, criterion="bn_scale").notes == ()
