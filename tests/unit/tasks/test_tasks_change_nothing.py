"""What a task's own code does to the network that it is given never reaches what is saved."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as masks

import tui_prune
from tui_prune.errors import TuiPruneError
from tui_prune.session.session import Session

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()


@torch.no_grad()
def zero(model):
    model[0].weight.zero_()


def round_behind_autograds_back(model):
    model[0].weight.data.mul_(64).round_().div_(64)


def halve(model):
    model.half()


def swap_values(model):
    model.load_state_dict(network().state_dict() | {"0.bias": torch.ones(8)})


def mask(model):
    masks.ln_structured(model[0], "weight", 0.5, 2, 0)


def other_part(model):
    model[4] = nn.Identity()


def other_parameter(model):
    model[0].weight = nn.Parameter(torch.zeros(8, 3, 3, 3))


def run_in_train_mode(model):
    model.train()
    model(X * 3 + 1)


def leave_a_hook(model):
    model[2].register_forward_hook(lambda module, inputs, output: output * 0)


def freeze(model):
    model.requires_grad_(False)


def leave_an_attribute(model):
    model[0].stride = (2, 2)


CHANGING = [zero, round_behind_autograds_back, halve, swap_values]
PUT_BACK = [mask, other_part, other_parameter, run_in_train_mode, leave_a_hook, freeze, leave_an_attribute]


def task(change):
    def evaluate(model):
        change(model)
        return 1.0

    return tui_prune.Task(evaluate=evaluate)


def facts(model):
    flags = [(name, p.requires_grad) for name, p in model.named_parameters()]
    return flags, [module.training for module in model.modules()], [type(module) for module in model.modules()]


@pytest.mark.parametrize("change", [*CHANGING, *PUT_BACK], ids=lambda change: change.__name__)
def test_the_network_is_as_it_was_after_an_evaluation(change):
    model, untouched = network(), network()
    session = Session.open(model=model, input_spec="4,3,8,8", recipe=tui_prune.Recipe(ratio=0.5))
    session.set_task(task(change))
    if change in CHANGING:
        with pytest.raises(TuiPruneError, match=r"evaluate\(model\) of the task has changed the network \(0\."):
            session.evaluate()
    else:
        session.evaluate()
    cut = session.result().model
    assert torch.equal(model(X), untouched(X))
    assert model.state_dict().keys() == untouched.state_dict().keys()
    assert all(torch.equal(value, untouched.state_dict()[name]) for name, value in model.state_dict().items())
    assert facts(model) == facts(untouched)
    clean = tui_prune.prune(untouched, X, ratio=0.5).model
    assert torch.equal(cut(X), clean(X))
    assert facts(cut) == facts(clean)


def test_an_evaluation_that_fails_has_changed_nothing():
    def evaluate(model):
        zero(model)
        raise ValueError("no data")

    model = network()
    with pytest.raises(TuiPruneError, match="no data"):
        tui_prune.Task(evaluate=evaluate).score(model)
    assert torch.equal(model(X), network()(X))


def test_weights_that_are_not_numbers_are_no_change():
    model = network()
    with torch.no_grad():
        model[0].weight[0] = float("nan")
    assert tui_prune.Task(evaluate=lambda model: 0.5).score(model) == 0.5
