"""Why a layer is as wide as it is: the line says the plan's own numbers, whatever the recipe and the network."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests import small_nets as nets
from tests.exactness import randomise_norms
from tests.small_nets import conv
from tui_prune import Recipe, UsageError
from tui_prune.models.nin import nin
from tui_prune.planning.plan import Plan
from tui_prune.planning.reasons import width_reason
from tui_prune.session.session import Session

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Wide(nn.Module):
    """Two convolutions that are read once, two that are added up, and a narrow one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = conv(3, 240), nn.BatchNorm2d(240), conv(240, 64)
        self.c, self.d, self.narrow, self.out = conv(64, 64), conv(64, 12), conv(12, 6), conv(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(self.norm(self.a(x)).relu()).relu()
        return self.out(self.narrow(self.d(y + self.c(y)).relu()).relu())


def session(model: nn.Module, shape: str = "1,3,8,8", *, probing: bool = False) -> Session:
    from tui_prune.loading.open_model import open_model

    return Session(open_model(model=randomise_norms(model).eval(), input_spec=shape), probing=probing)


@pytest.fixture(scope="module")
def wide() -> Session:
    return session(Wide())


@pytest.mark.parametrize(
    ("recipe", "layer", "line"),
    [
        (Recipe(), "a", "all 240 stay: the ratio is 0"),
        (Recipe(ratio=0.5), "a", "120: 50 % of 240 cut leaves 120"),
        (Recipe(ratio=0.5), "norm", "120: tied to a; 50 % of 240 cut leaves 120"),
        (Recipe(ratio=0.5), "c", "32: tied to b; 50 % of 64 cut leaves 32"),
        (Recipe(ratio=0.5), "out", "all 4 stay: locked, model output"),
        (Recipe(ratio=0.51, align=8), "a", "120, not 118: 51 % of 240 cut leaves 118; nearest multiple of 8"),
        (
            Recipe(ratio=0.51, align=8, align_rounding="down"),
            "a",
            "112, not 118: 51 % of 240 cut leaves 118; next multiple of 8 down",
        ),
        (
            Recipe(ratio=0.52, align=16, align_rounding="up"),
            "a",
            "128, not 116: 52 % of 240 cut leaves 116; next multiple of 16 up",
        ),
        (Recipe(ratio=0.97, align=16), "a", "16, not 8: 97 % of 240 cut leaves 8; nearest multiple of 16"),
        (Recipe(ratio=0.99, align=16), "a", "16, not 3: 99 % of 240 cut leaves 3; smallest multiple of 16"),
        (
            Recipe(ratio=0.5, align=8),
            "narrow",
            "3: 50 % of 6 cut leaves 3; can't be aligned to 8: it has 6 channels",
        ),
        (
            Recipe(ratio=0.9, min_channels=64),
            "a",
            "64, not 24: 90 % of 240 cut leaves 24; at least 64 channels stay",
        ),
        (
            Recipe(ratio=0.9, min_channels=64),
            "d",
            "12, not 2: 90 % of 12 cut leaves 2; at least 64 channels stay, so all 12 do",
        ),
        (Recipe(ratio=0.9, max_ratio=0.25), "a", "180, not 24: 90 % of 240 cut leaves 24; at most 25 % of it goes"),
        (Recipe(layers={"a": 0.25}), "a", "180: 25 % of 240 cut by its own ratio leaves 180"),
        (Recipe(layers={"a*": 0.25}), "a", "180: 25 % of 240 cut by a* leaves 180"),
        (Recipe(ratio=0.5, layers={"a": 0.0}), "a", "all 240 stay: its own ratio is 0"),
        (Recipe(ratio=0.5, lock=("a",)), "a", "all 240 stay: locked by you"),
        (Recipe(ratio=0.5, lock=("b",)), "c", "all 64 stay: tied to b, which is locked by you"),
        (Recipe(ratio=0.5, residual="keep"), "b", "all 64 stay: residual stream kept"),
    ],
)
def test_line_says_how_a_width_came_about(wide: Session, recipe: Recipe, layer: str, line: str) -> None:
    assert width_reason(wide.preview(recipe), layer) == line


def test_line_of_a_ranking_counts_what_it_keeps(wide: Session) -> None:
    plan = wide.preview(Recipe(ratio=0.5, scope="global"))
    after = plan.layer("a").after
    assert width_reason(plan, "a") == f"{after}: global ranking keeps {after} of 240"


def test_line_of_a_threshold_counts_the_scores(wide: Session) -> None:
    with torch.no_grad():
        scales = wide.opened.module.norm.weight.abs()
    threshold = float(scales.median())
    stay = int((scales >= threshold).sum())
    plan = wide.preview(Recipe(threshold=threshold, criterion="bn_scale"))
    assert width_reason(plan, "a") == f"{stay}: {stay} of 240 score at least {threshold:.6g}"


def test_line_of_a_target_names_it_and_the_ratio_that_it_led_to(wide: Session) -> None:
    plan = wide.preview(Recipe(target_macs=0.5, align=8))
    line = width_reason(plan, "a")
    assert line.split(": ")[1] == "target MACs 50 %"
    assert f"{100 * plan.layer('a').ratio:.5g} % of 240 cut leaves" in line


def test_line_of_what_cannot_be_ranked_says_so(wide: Session) -> None:
    plan = wide.preview(Recipe(ratio=0.5, criterion="bn_scale"))
    assert width_reason(plan, "b") == ("all 64 stay: b can't be ranked by bn_scale: no batch norm covers its channels")


def test_line_of_blocks_says_how_many_there_are() -> None:
    plan = session(nets.GroupedChain([(12, 24, 3), (24, 12, 3)], (1, 1))).preview(Recipe(ratio=0.5))
    found = [width_reason(plan, layer.name) for layer in plan.layers]
    assert any("in each of 3 blocks of 8" in line for line in found), found


def test_line_of_a_layer_over_several_groups_names_them() -> None:
    plan = session(nets.DenseBlock()).preview(Recipe(ratio=0.5))
    lines = {layer.name: width_reason(plan, layer.name) for layer in plan.layers}
    joined = [line for line in lines.values() if "side by side" in line]
    for line in joined:
        assert "what " in line


def test_a_name_that_no_layer_has_is_refused(wide: Session) -> None:
    with pytest.raises(KeyError):
        width_reason(wide.plan, "missing")


# Whatever the network: the line's numbers are those of the plan.

NETWORKS: dict[str, Callable[[], Session]] = {
    "wide": lambda: session(Wide()),
    "residual": lambda: session(nets.Residual()),
    "dense": lambda: session(nets.DenseBlock()),
    "side by side": lambda: session(nets.TwoBranches(lambda a, b: torch.cat([a, b], 1), last=32)),
    "grouped chain": lambda: session(nets.GroupedChain([(12, 24, 3), (24, 24, 4), (24, 12, 2)], (1, 1, 2))),
    "two groupings": lambda: session(nets.HalfInTwoGroupings()),
    "thirds and groups": lambda: session(nets.ThirdsAndGroups(24, 8)),
    "halves": lambda: session(nets.Halves()),
    "flattened": lambda: session(nets.ToLinear()),
    "squeezed": lambda: session(nets.SqueezeExcitation()),
    "shared": lambda: session(nets.SharedLayer()),
    "nin": lambda: session(nin(), "1,3,32,32"),
}
RECIPES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "half": {"ratio": 0.5},
    "third, by 8": {"ratio": 0.34, "align": 8},
    "up": {"ratio": 0.61, "align": 4, "align_rounding": "up"},
    "down": {"ratio": 0.39, "align": 4, "align_rounding": "down"},
    "global": {"ratio": 0.5, "scope": "global"},
    "global, by 4": {"ratio": 0.7, "scope": "global", "align": 4},
    "threshold": {"threshold": 0.6, "criterion": "l2"},
    "limits": {"ratio": 0.9, "min_channels": 6, "max_ratio": 0.8, "align": 4},
    "own": {"ratio": 0.25, "layers": {"*": 0.6}},
    "target": {"target_params": 0.5},
    "target, by 4": {"target_macs": 0.6, "align": 4},
    "residual kept": {"ratio": 0.5, "residual": "keep"},
    "unlocked": {"ratio": 0.5, "unlock": ("*",)},
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Session:
    return NETWORKS[request.param]()


@pytest.mark.parametrize("fields", RECIPES.values(), ids=RECIPES)
def test_numbers_of_every_line_are_those_of_the_plan(network: Session, fields: dict[str, Any]) -> None:
    try:
        plan = network.preview(Recipe(**fields))
    except UsageError as error:
        pytest.skip(str(error))
    bare = Recipe(**fields).changed(align=1, min_channels=1, max_ratio=1.0)
    asked = None if plan.recipe.targets else network.preview(bare)
    for layer in plan.layers:
        check_line(plan, asked, layer.name, width_reason(plan, layer.name))


def check_line(plan: Plan, asked: Plan | None, name: str, line: str) -> None:
    """Every number of a line, by another way than the one that it was made on."""
    layer, told = plan.layer(name), plan.layer(name)
    all_stay = re.match(r"all (\d+) stay: ", line)
    if all_stay:
        assert int(all_stay[1]) == layer.after == layer.before, (name, line)
        return
    head = re.match(r"(\d+)(?:, not (\d+))?: ", line)
    assert head is not None and int(head[1]) == layer.after, (name, line)
    tied = re.search(r"tied to (\S+?)(?:;|, which has (\d+))", line)
    if tied:
        told = plan.layer(tied[1])
        assert plan.graph.group_of(tied[1]) is plan.graph.group_of(name), (name, line)
        assert tied[2] is None or int(tied[2]) == told.after
    if asked is not None and head[2] and not tied:
        bare = asked.layer(name).after
        assert int(head[2]) == bare or (int(head[2]) < bare and "stay" in line), (name, line, bare)
    for share, whole in re.findall(r"([\d.]+) % of (\d+) cut", line):
        assert float(share) == pytest.approx(100 * told.ratio, rel=1e-4), (name, line)
        assert int(whole) == told.before, (name, line)
    if found := re.search(r"(\d+) of (\d+) score|keeps (\d+) of (\d+)", line):
        assert int(found[2] or found[4]) == told.before, (name, line)
    if found := re.search(r"multiple of (\d+)", line):
        step = int(found[1])
        assert told.after % step == 0, (name, line)
        assert step % plan.recipe.align == 0, (name, line)
        numbers = re.findall(r"(?:leaves?|keeps|goes:|stays:|block:|at least|all) (\d+)|(\d+) of \d+ score", line)
        before = int(next(filter(None, numbers[-1])))
        if "nearest" in line:
            assert abs(told.after - before) <= step / 2, (name, line)
        if " up" in line:
            assert 0 < told.after - before < step, (name, line)
        if " down" in line:
            assert 0 < before - told.after < step, (name, line)
    elif plan.recipe.align != 1 and layer.producer and not tied and layer.after % plan.recipe.align:
        assert "can't be aligned" in line, (name, line)


def test_widths_dealt_out_by_the_networks_own_code_are_said_to_be() -> None:
    from tui_prune.loading.open_model import open_model

    opened = Session(open_model("shufflenet_v2_x0_5", input_spec="1,3,64,64"))
    for fields in ({"ratio": 0.5}, {"ratio": 0.5, "align": 8}, {"ratio": 0.3, "scope": "global"}):
        plan = opened.preview(Recipe(**fields))
        lines = {layer.name: width_reason(plan, layer.name) for layer in plan.layers}
        assert any("deals channels out" in line or "deal out" in line for line in lines.values())
        for name, line in lines.items():
            assert int(re.search(r"\d+", line)[0]) == plan.layer(name).after, (name, line)


def test_lines_of_attention_are_those_of_the_plan() -> None:
    from torchvision.models import VisionTransformer

    small = VisionTransformer(image_size=32, patch_size=16, num_layers=1, num_heads=4, hidden_dim=32, mlp_dim=64)
    opened = session(small, "1,3,32,32", probing=True)
    for fields in ({"ratio": 0.5}, {"ratio": 0.4, "align": 8}, {"ratio": 0.4, "scope": "global"}):
        plan = opened.preview(Recipe(**fields))
        assert plan.cuts
        for layer in plan.layers:
            check_line(plan, None, layer.name, width_reason(plan, layer.name))
