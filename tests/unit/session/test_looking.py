"""What there is to look at in a network: which weights go, scales of norms, and what layers put out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tui_prune.app.pictures import page
from tui_prune.cli.printing import show
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.report import gallery
from tui_prune.report.kinds import KINDS, Kind, kinds_of
from tui_prune.session.looking import next_threshold
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task

NAN = float("nan")


class Several(nn.Module):
    """A convolution of each sort, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 12, 2)
        self.act = nn.PReLU()
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(self.act(self.up(self.depthwise(x))).mean((2, 3)))


def session(model: nn.Module | None = None, task: Task | None = None, **recipe) -> Session:
    torch.manual_seed(0)
    opened = open_model(model=model or Several().eval())
    opened = replace(opened, example_inputs=(torch.randn(2, 3, 8, 8),))
    return Session(opened, task=task, recipe=Recipe(**recipe), probing=False)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("first", (8, 3, 3, 3)),
        ("norm", (8, 1, 1, 1)),
        ("depthwise", (8, 1, 3, 3)),
        ("up", (12, 8, 2, 2)),
        ("act", (1, 1, 1, 1)),
        ("last", (4, 12, 1, 1)),
    ],
)
def test_weights_are_outputs_by_inputs_by_kernel(layer, shape):
    details = session().look(layer).details
    assert tuple(details.weights.shape) == shape
    assert (len(details.outputs_kept), len(details.inputs_kept)) == shape[:2]


def test_the_weights_that_stay_are_those_of_the_cut_layer():
    one = session(ratio=0.5)
    cut = dict(one.cut().model.named_modules())
    for layer in ("first", "norm", "depthwise", "up", "last"):
        details = one.look(layer).details
        kept = details.weights[details.outputs_kept][:, details.inputs_kept]
        weight = cut[layer].weight.detach()
        weight = weight.transpose(0, 1) if layer == "up" else weight
        assert torch.equal(kept, weight.reshape(kept.shape)), layer


def test_scales_are_those_of_the_norm_after_a_layer_or_of_all():
    one = session(ratio=0.5)
    with torch.no_grad():
        one.opened.module.norm.weight.copy_(torch.linspace(-1, 1, 8))
    for path in ("", "norm", "first", "depthwise"):
        norms = one.look(path).norms
        assert norms.layers == ("norm",)
        assert np.allclose(norms.values, np.abs(np.linspace(-1, 1, 8)))
        assert norms.kept.sum() == 4
    assert one.look("last").norms is None


def test_every_kind_of_picture_can_be_made_of_every_layer_that_has_it():
    data = [torch.randn(4, 3, 8, 8), torch.randn(2, 3, 8, 8)]
    one = session(task=Task(Path("task.py"), None, lambda: data, None), ratio=0.5)
    one.recover(reconstruct=True, recalibrate=False)
    made = set()
    for measured in (False, True):
        if measured:
            one.measure_activations()
        for path in ("", "first", "norm", "depthwise", "up", "act", "last"):
            look = one.look(path)
            for kind in kinds_of(look):
                for view in (gallery.View(), gallery.View(log=True, zoomed=True, angle=75)):
                    for picture in gallery.pictures(look, kind, view, 60):
                        made.add(kind)
                        assert picture.name
                        assert picture.drawing.rows(60, 20)
    assert made == set(KINDS)
    assert set(kinds_of(one.look(""))) == {name for name, kind in KINDS.items() if kind.of_network}


def test_activations_are_what_layers_put_out_for_the_calibration_data():
    data = [torch.randn(4, 3, 8, 8), torch.randn(2, 3, 8, 8)]
    one = session(task=Task(Path("task.py"), None, lambda: data, None))
    model = one.opened.module
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert one.look("first").measured is None
    one.measure_activations()
    with torch.no_grad():
        out = torch.cat([model.first(batch) for batch in data])
        last = torch.cat([model(batch) for batch in data])
    found = one.look("first").measured
    assert found["first"].count == out.numel()
    assert np.allclose(found["first"].channels, out.abs().mean((0, 2, 3)), rtol=1e-5)
    assert np.allclose(found["last"].channels, last.abs().mean(0), rtol=1e-5)
    assert set(found["first"].values.tolist()) <= set(out.flatten().tolist())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_activations_need_calibration_data_that_fits():
    with pytest.raises(UsageError, match="--task FILE.py"):
        session().measure_activations()
    with pytest.raises(UsageError, match="task.py a function calibration"):
        session(task=Task(Path("task.py"), lambda model: 0.5, None, None)).measure_activations()
    with pytest.raises(UsageError, match="yields nothing"):
        session(task=Task(Path("task.py"), None, list, None)).measure_activations()
    with pytest.raises(TuiPruneError, match=r"fails on a batch of calibration\(\)"):
        session(task=Task(Path("task.py"), None, lambda: [torch.randn(2, 5, 8, 8)], None)).measure_activations()


def test_a_name_that_nothing_has_is_refused():
    with pytest.raises(UsageError, match="Did you mean first"):
        session().look("firs")


def test_weights_of_other_formats_are_drawn_too():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        weights = torch.linspace(-1, 1, 6).to(dtype).reshape(2, 3, 1, 1)
        assert np.allclose(gallery.as_array(weights).ravel(), weights.double().ravel())


def test_a_threshold_passes_all_scales_in_steps_and_never_the_last():
    scales = np.concatenate([np.zeros(40), np.linspace(0.1, 1, 60)])
    up = [None]
    while len(up) < 200 and (following := next_threshold(scales, up[-1], 1)) != up[-1]:
        up.append(following)
    below = [int((scales < threshold).sum()) for threshold in up[1:]]
    assert below == [40, *range(42, 100, 2), 99]
    down = [up[-1]]
    while down[-1] is not None:
        down.append(next_threshold(scales, down[-1], -1))
    assert [int((scales < threshold).sum()) for threshold in down[:-1]] == [*range(99, 40, -2)]
    assert next_threshold(np.array([NAN]), 0.5, 1) == 0.5


def test_a_kind_of_pictures_is_added_by_a_file_and_a_line(tmp_path, monkeypatch):
    (tmp_path / "a_users_drawing.py").write_text(
        "from tui_prune.report.gallery import Picture, Words\n"
        "def sizes(look, view, width):\n"
        "    return [Picture('sizes', 'of its weights', Words(str(tuple(look.details.weights.shape))))]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kind = Kind("sizes", "the sizes of its weights", "a_users_drawing:sizes", KINDS["hist"].is_there, keys="q: quits")
    monkeypatch.setitem(KINDS, "sizes", kind)
    look = session().look("last")
    assert kinds_of(look)[-1] == "sizes"
    assert "(4, 12, 1, 1)" in "".join(show(look, "sizes", gallery.View(), 60, 8))
    shown = page(look, "sizes", gallery.View(), 60, 8, colors=True)
    text = " ".join(cell.text for line in shown.lines for cell in line)
    assert "(4, 12, 1, 1)" in text
    assert "q: quits" in text
    with pytest.raises(TuiPruneError, match="no weights to draw"):
        show(session().look(""), "sizes", gallery.View(), 60, 8)
