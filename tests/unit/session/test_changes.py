"""What a choice does to the recipe: the last one wins, for the layers that it speaks of and those tied to them."""

import pytest
import torch
from torch import nn

from tests.small_nets import conv
from tui_prune import Recipe, UsageError
from tui_prune.planning.plan import Plan
from tui_prune.session import changes
from tui_prune.session.selection import NETWORK, Selection, named
from tui_prune.session.session import Session

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


class Net(nn.Module):
    """`stem` and the second of each block are added to each other: "stem", "blocks.0.1" and "blocks.1.1" are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.blocks = nn.ModuleList(nn.Sequential(conv(16, 8), conv(8, 16)) for _ in range(2))
        self.out = conv(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


@pytest.fixture
def session() -> Session:
    return Session.open(model=Net().eval(), input_spec="1,3,8,8")


def planned(session: Session, **fields: object) -> Plan:
    return session.apply(Recipe(**fields))


def at(plan: Plan, *names: str) -> Selection:
    return Selection(tuple(part for name in names for part in named(plan, name).parts))


def test_a_name_means_a_layer_or_all_that_a_module_or_a_glob_means(session: Session) -> None:
    plan = session.plan
    assert named(plan, None) is NETWORK
    assert named(plan, "stem").layer == "stem"
    for name in ("blocks.0", "blocks.0.*"):
        assert named(plan, name).layers == ("blocks.0.0", "blocks.0.1")
        assert named(plan, name).patterns == (name,)
    with pytest.raises(UsageError, match=r"No layer is called block\.0\..* Did you mean"):
        named(plan, "block.0")


def test_a_ratio_takes_the_place_of_those_of_tied_layers_and_of_what_is_inside(session: Session) -> None:
    plan = planned(session, layers={"blocks.0.1": 0.25, "blocks.0.0": 0.5, "blocks.1.*": 0.75, "*": 0.1})
    assert changes.with_ratio(plan, at(plan, "stem"), 0.5).layers == {
        "blocks.0.0": 0.5,
        "blocks.1.*": 0.75,
        "*": 0.1,
        "stem": 0.5,
    }
    assert list(changes.with_ratio(plan, at(plan, "blocks.1"), 0.5).layers) == ["blocks.0.0", "*", "blocks.1"]
    assert changes.with_ratio(plan, NETWORK, 0.5) == plan.recipe.changed(ratio=0.5)
    assert session.set_ratio(0.5, "blocks.1.*").layer("blocks.1.0").after == 4
    assert session.set_ratio(0.25, "blocks.1.0").layer("blocks.1.0").after == 6


def test_ratios_go_up_and_down_within_their_bounds_each_from_where_it_is(session: Session) -> None:
    plan = planned(session, ratio=0.5, layers={"blocks.0.0": 0.25})
    assert changes.with_stepped_ratio(plan, NETWORK, 0.05).ratio == 0.55
    assert changes.with_stepped_ratio(plan, NETWORK, -1).ratio == 0
    assert changes.with_stepped_ratio(plan, NETWORK, 5).ratio == 0.99
    assert changes.with_stepped_ratio(plan, at(plan, "blocks.0.0", "blocks.1.0"), 0.1).layers == {
        "blocks.0.0": 0.35,
        "blocks.1.0": 0.6,
    }


def test_a_ratio_is_cleared_where_it_stands_and_not_where_it_is_others_too(session: Session) -> None:
    plan = planned(session, layers={"blocks.1.1": 0.25, "blocks.0.0": 0.5})
    assert changes.without_ratio(plan, at(plan, "stem")).layers == {"blocks.0.0": 0.5}
    plan = planned(session, layers={"blocks.*": 0.5})
    with pytest.raises(UsageError, match=r"blocks\.0\.0 has its ratio from blocks\.\*"):
        changes.without_ratio(plan, at(plan, "blocks.0.0"))


def test_an_alignment_takes_the_place_of_those_of_tied_layers(session: Session) -> None:
    plan = session.set_alignment(4, "blocks.0.1")
    assert changes.alignment_of(plan, at(plan, "stem")) == 4
    assert session.set_alignment(8, "stem").recipe.layer_align == {"stem": 8}
    assert session.set_alignment("auto").recipe.align == "auto"


def test_one_layer_is_unlocked_and_others_that_were_locked_with_it_stay_locked(session: Session) -> None:
    planned(session, ratio=0.5, lock=("blocks.*",))
    plan = session.toggle_lock("blocks.0.0")
    assert {layer.name: layer.after for layer in plan.layers} == {
        "stem": 16,
        "blocks.0.0": 4,
        "blocks.0.1": 16,
        "blocks.1.0": 8,
        "blocks.1.1": 16,
        "out": 4,
    }
    assert session.toggle_lock("blocks.0.0").layer("blocks.0.0").after == 8
    assert session.toggle_lock("stem").layer("blocks.1.1").after == 8, "tied layers are one"


def test_what_is_chosen_for_one_layer_is_chosen_for_others(session: Session) -> None:
    plan = planned(session, layers={"blocks.0.0": 0.25}, layer_align={"blocks.0.0": 2}, lock=("blocks.1.0",))
    setting = changes.setting_of(plan, at(plan, "blocks.0.0"))
    assert setting.words == "own 25 %, align 2"
    pasted = changes.with_setting(plan, at(plan, "blocks.1.0"), setting)
    assert pasted.layers == {"blocks.0.0": 0.25, "blocks.1.0": 0.25}
    assert pasted.layer_align == {"blocks.0.0": 2, "blocks.1.0": 2}
    assert pasted.lock == ()
    with pytest.raises(UsageError, match="The layers in blocks have different settings"):
        changes.setting_of(plan, at(plan, "blocks"))
