"""Tasks without code: pictures with and without labels, and arrays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tests.unit.tasks.conftest import COLOURS, Colours, picture
from tui_prune.app.typed_paths import typed_task
from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.search.scan_cache import cache_file
from tui_prune.session.session import Session
from tui_prune.tasks import pictures, registry
from tui_prune.tasks.evidence import Half, Score
from tui_prune.tasks.registry import open_task
from tui_prune.tasks.spec import absolute_task, parse
from tui_prune.tasks.task import Task


def bound(spec: str, opened: OpenedModel) -> Task:
    return open_task(spec).for_network(opened)


# Names


def test_a_name_has_a_path_with_commas_and_options() -> None:
    spec = parse("imagefolder:/data/cats, dogs,size=224,limit=5000")
    assert spec is not None
    assert (spec.kind, spec.path, spec.options) == (
        "imagefolder", "/data/cats, dogs", (("size", "224"), ("limit", "5000"))
    )  # fmt: skip
    assert str(spec) == "imagefolder:/data/cats, dogs,size=224,limit=5000"
    assert parse("task.py") is None
    assert parse("/data/a:b.py") is None


def test_names_mean_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_task("images:some/../pets,batch=8") == f"images:{tmp_path}/pets,batch=8"
    assert absolute_task("task.py") == str(tmp_path / "task.py")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("imagefolder:{}/no", "There is no folder"),
        ("imagefolder:{}/red", "no pictures in folders"),
        ("imagefolder:", "Say where the data"),
        ("imagenet:{}", "There is no built-in task imagenet:"),
        ("images:{},sise=3", "Did you mean size"),
        ("images:{},size=big", "size takes a number of pixels"),
        ("images:{},compare=all", "compare takes top1 or outputs or boxes"),
        ("arrays:{}/red/0.png", "can't be read as numpy's .npz"),
    ],
)
def test_names_that_mean_nothing_are_sentences(folder: Path, spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_task(spec.format(folder))


# imagefolder:


def test_classes_are_folders_in_sorted_order(folder: Path, opened: OpenedModel) -> None:
    task = bound(f"imagefolder:{folder}", opened)
    score = task.score(opened.module)
    assert isinstance(score, Score)
    assert (float(score), len(score.right)) == (1.0, 12)  # half of each class; the others calibrate
    turned = Colours().eval()
    turned.head.weight.data = turned.head.weight.data.flip(0)
    assert task.score(turned) == pytest.approx(1 / 3)  # green stays in the middle
    assert [task.half(half).score(turned) for half in Half] != [1.0, 1.0]
    inputs, labels = next(iter(task.calibration()))
    assert inputs.shape == (12, 3, 8, 8)
    assert opened.module(inputs).argmax(1).tolist() == labels.tolist()
    assert "12 pictures of 3 classes to evaluate on, 12 others" in task.notes[0]
    assert "ImageNet's; the network doesn't say" in task.notes[0]


def test_train_and_val_are_kept_apart(folder: Path, opened: OpenedModel, tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.mkdir()
    (both / "train").symlink_to(folder)
    picture(both / "val" / "red" / "1.png", 0)
    picture(both / "val" / "blue" / "1.png", 2)
    task = bound(f"imagefolder:{both}", opened)
    assert len(task.score(opened.module).right) == 2
    assert sum(len(inputs) for inputs, _ in task.training()) == 24


def test_the_network_may_have_more_outputs_than_folders(
    folder: Path, opened: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "red").rename(folder / "Bright_Red")
    wide = Colours().eval()
    wide.head = nn.Linear(6, 5)
    with torch.no_grad():
        wide.head.bias.fill_(-9.0)
        wide.head.weight.zero_()
        wide.head.weight[[3, 1, 4]] = opened.module.head.weight
        wide.head.bias[[3, 1, 4]] = 0.0
    wider = open_model(model=wide, input_spec="1,3,8,8")
    with pytest.raises(UsageError, match="5 outputs and there are 3 folders: say which is which with classes=FILE"):
        bound(f"imagefolder:{folder}", wider)
    names = tmp_path / "names.txt"
    names.write_text("a\ngreen, verdant\nb\nn01234567 blue\nbright red\n")
    assert bound(f"imagefolder:{folder},classes={names}", wider).score(wide) == 1.0
    names.write_text("a\ngreen\nb\nblue\nrouge\n")
    with pytest.raises(UsageError, match="Bright_Red is not among the names in"):
        bound(f"imagefolder:{folder},classes={names}", wider)
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"0": ["n0", "a"], "1": ["n1", "green"], "2": ["n2", "b"], "3": ["n3", "blue"],
                                 "4": ["n4", "bright_red"]}))  # fmt: skip
    assert bound(f"imagefolder:{folder},classes={index}", wider).score(wide) == 1.0


def test_folders_may_be_named_as_the_published_weights_name_their_classes(tmp_path: Path) -> None:
    from tui_prune.tasks.class_names import class_numbers

    opened = OpenedModel("resnet18", Origin("torchvision", "resnet18"), nn.Identity(), (), {}, "", None)
    assert class_numbers(["golden_retriever", "tench"], 1000, opened, None) == [207, 0]
    assert class_numbers(["7", "12"], 1000, opened, None) == [7, 12]
    assert class_numbers(["0", "1", "10"], 3, opened, None) == [0, 1, 2]
    names = tmp_path / "names.txt"
    names.write_text("crane\ncrane\ntench\n")
    with pytest.raises(UsageError, match="crane may mean several outputs"):
        class_numbers(["crane", "tench"], 3, opened, str(names))
    with pytest.raises(UsageError, match="3 folders and only 2 outputs"):
        class_numbers(["a", "b", "c"], 2, opened, None)


def test_unreadable_pictures_are_named_skipped_and_counted(folder: Path, opened: OpenedModel) -> None:
    for name in COLOURS:
        (folder / name / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        (folder / name / "notes.txt").write_text("no picture")
    task = bound(f"images:{folder}", opened)
    seen = len(task.score(opened.module).right) + sum(len(inputs) for inputs, _ in task.calibration())
    assert seen == 24
    assert sum(int(remark.split()[0]) for remark in task.remarks()) == 3
    assert "broken.png: cannot identify image file" in task.remarks()[0]
    for name in COLOURS:
        for file in (folder / name).glob("*.png"):
            file.write_bytes(b"nothing")
    with pytest.raises(TuiPruneError, match=r"None of the \d+ pictures can be read"):
        bound(f"images:{folder}", opened).score(opened.module)


def test_pictures_are_decoded_once_and_anew_when_they_change(
    folder: Path, opened: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bound(f"imagefolder:{folder}", opened).score(opened.module)
    decoded: list[int] = []
    before = pictures.decode_into

    def counting(pixels: np.ndarray, files: Any, places: Any, geometry: Any) -> Any:
        decoded.append(len(files))
        return before(pixels, files, places, geometry)

    monkeypatch.setattr(pictures, "decode_into", counting)
    task = bound(f"imagefolder:{folder}", opened)
    assert task.score(opened.module) == first
    assert decoded == []
    stamp = task.stamp()
    for number in range(8):
        picture(folder / "red" / f"{number}.png", 1, seed=99 + number, size=(20, 20))
    again = bound(f"imagefolder:{folder}", opened)
    assert again.score(opened.module) == pytest.approx(2 / 3)
    assert decoded == [12]
    assert again.stamp() != stamp


def test_processes_decode_as_this_one_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_prune.tasks.decoding import Geometry, decode_in_processes, decode_into

    (folder / "red" / "broken.png").write_bytes(b"nothing")
    files = [str(file) for file in pictures.find_pictures(folder)]
    geometry = Geometry(8, 6, 9)
    here, there = np.zeros((len(files), 3, 8, 6), np.uint8), folder.parent / "there.npy"
    np.save(there, here)
    problems = {place for place, why in decode_into(here, files, range(len(files)), geometry) if why}
    found = {place for place, why in decode_in_processes(there, files, geometry, 2) if why}
    assert found == problems == {files.index(str(folder / "red" / "broken.png"))}
    assert np.array_equal(np.load(there), here)


# images:


def test_without_labels_the_uncut_network_is_the_judge(folder: Path, opened: OpenedModel) -> None:
    task = bound(f"images:{folder}", opened)
    other = Colours().eval()
    other.head.weight.data = other.head.weight.data.flip(0)
    assert task.score(opened.module) == 1.0
    assert 0 < task.score(other) < 1
    assert task.score(other) == task.score(other)
    inputs, targets = next(iter(task.calibration()))
    assert (inputs.shape, targets) == ((12, 3, 8, 8), None)


def test_outputs_that_are_no_classes_are_compared_as_numbers(folder: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)).eval()
    opened = open_model(model=net, input_spec="1,3,8,8")
    task = bound(f"images:{folder}", opened)
    assert "1 - relative error" in task.notes[0]
    assert task.score(net) == pytest.approx(1.0)
    half = nn.Sequential(net, nn.Conv2d(2, 2, 1, bias=False)).eval()
    half[1].weight.data = torch.eye(2).view(2, 2, 1, 1) / 2
    assert task.score(half) == pytest.approx(0.5)


class Detector(nn.Module):
    """Finds one box for each channel, by how bright it is."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(3, 3)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            scores = self.scores(image.mean((1, 2))).sigmoid()
            places = torch.arange(3.0)[:, None] * 10
            boxes = torch.cat([places, places, places + 8, places + 8], 1)
            found.append({"boxes": boxes, "scores": scores, "labels": torch.arange(3)})
        return found


def test_boxes_of_detectors_are_matched(folder: Path) -> None:
    net = Detector().eval()
    net.scores.weight.data, net.scores.bias.data = torch.zeros(3, 3), torch.tensor([9.0, 9.0, -9.0])
    task = bound(f"images:{folder}", open_model(model=net, input_spec="[3,8,8]"))
    assert "boxes that the uncut network finds" in task.notes[0]
    assert task.score(net) == 1.0
    fewer = Detector().eval()
    fewer.scores.weight.data, fewer.scores.bias.data = torch.zeros(3, 3), torch.tensor([9.0, -9.0, -9.0])
    assert task.score(fewer) == pytest.approx(2 / 3)


def test_pictures_go_where_the_example_input_has_them(folder: Path) -> None:
    class Masked(Colours):
        def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
            return super().forward(pixels * mask)

    net = Masked().eval()
    opened = open_model(model=net, input_spec="1,3,8,8;mask=1,1,1,1:int")
    task = bound(f"images:{folder}", opened)
    assert isinstance(task.score(net), Score)
    inputs, _ = next(iter(task.calibration()))
    assert {name: len(value) for name, value in inputs.items()} == {"pixels": 12, "mask": 12}
    with pytest.raises(UsageError, match="takes no pictures"):
        bound(f"images:{folder}", open_model(model=nn.Linear(4, 2), input_spec="1,4"))


# arrays:


def saved(file: Path, **arrays: np.ndarray) -> str:
    np.savez(file, **arrays)
    return f"arrays:{file}"


def test_arrays_with_and_without_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    opened = open_model(model=net, input_spec="1,4")
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    with torch.no_grad():
        y = net(torch.from_numpy(x))
    labels = y.argmax(1).numpy()
    labels[:3] = (labels[:3] + 1) % 3
    task = bound(saved(tmp_path / "a.npz", x=x, y=labels), opened)
    assert isinstance(task.score(net), Score)
    assert sum(len(inputs) for inputs, _ in task.training()) + len(task.score(net).right) == 30
    task = bound(saved(tmp_path / "b.npz", inputs=x), opened)
    assert task.score(net) == 1.0
    task = bound(saved(tmp_path / "c.npz", inputs=x, targets=2 * y.numpy()), opened)
    assert task.score(net) == pytest.approx(0.5)
    assert next(iter(task.calibration()))[1].shape == (15, 3)
    with pytest.raises(UsageError, match="different numbers"):
        bound(saved(tmp_path / "d.npz", inputs=x, labels=labels[:4]), opened)
    with pytest.raises(UsageError, match="Say which array"):
        bound(saved(tmp_path / "e.npz", one=x, two=x), opened)


# Sessions and functions


def test_a_session_works_by_it_and_keeps_what_was_measured(folder: Path, opened: OpenedModel) -> None:
    session = Session(opened, task=open_task(f"images:{folder},batch=4"))
    session.set_ratio(0.5)
    accuracy = session.evaluate()
    assert accuracy.before == 1.0
    assert accuracy.evidence["after"].count == 12
    result = session.recover(reconstruct=True, recalibrate=False)
    assert result.report.accuracy.recovered is not None
    assert cache_file(opened, session.graph, session.task, {}) is not None


def test_a_task_is_added_by_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_users_task.py").write_text(
        "from tui_prune.tasks.spec import Option\n"
        "from tui_prune.tasks.task import Task\n"
        "OPTIONS = {'half': Option(int, 'a number', 'of things')}\n"
        "def task(spec, choices):\n"
        "    return Task(evaluate=lambda model: float(choices['half']), spec=str(spec))\n"
    )
    (tmp_path / "x.wav").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.BUILT_IN, "sounds", registry.BuiltIn("a_users_task", "FILE.wav"))
    made = open_task(f"sounds:{tmp_path / 'x.wav'},half=2")
    assert made.score(Colours().eval()) == 2.0
    assert typed_task(f"sounds:{tmp_path / 'x.wav'}")
    assert registry.forms()[-1] == "sounds:FILE.wav"
    with pytest.raises(UsageError, match=r"sounds: takes|sounds: half takes a number"):
        open_task("sounds:x.wav,half=much")
    with pytest.raises(UsageError, match=r"as in sounds:FILE\.wav"):
        open_task("sounds:")


def test_the_functions_take_a_name_too(folder: Path) -> None:
    net = Colours().eval()
    result = tui_prune.prune(net, torch.randn(1, 3, 8, 8), ratio=0.5)
    made = tui_prune.recover(result, f"imagefolder:{folder}", reconstruct=True, recalibrate=False)
    assert made.report.to_dict()["accuracy"]["before"] == 1.0
    assert made.report.to_dict()["accuracy"]["count"] == 12
    own = tui_prune.prune(net, torch.randn(1, 3, 8, 8), ratio=0.5, inplace=True)
    with pytest.raises(UsageError, match="cut in place"):
        tui_prune.recover(own, f"images:{folder}", reconstruct=True)


def preset_of(name: str) -> Callable[[Any], Tensor]:
    from torchvision.models import get_model_weights

    return get_model_weights(name).DEFAULT.transforms()


@pytest.mark.parametrize("size", [(300, 200), (130, 411), (60, 50)])
def test_pictures_are_prepared_as_the_published_weights_want_them(tmp_path: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    picture(tmp_path / "a" / "1.jpg", 0, size=size)
    picture(tmp_path / "a" / "2.jpg", 1, size=size)
    opened = open_model("mobilenet_v3_small")
    task = bound(f"images:{tmp_path}/a,compare=outputs", opened)
    assert "torchvision's MobileNet_V3_Small_Weights.IMAGENET1K_V1" in task.notes[0]
    ((found, _),) = task.calibration()
    wanted = [preset_of("mobilenet_v3_small")(Image.open(tmp_path / "a" / f"{n}.jpg")) for n in (1, 2)]
    assert min(float((found[0] - one).abs().max()) for one in wanted) < 1e-5


def test_preprocessing_can_be_changed(folder: Path, opened: OpenedModel) -> None:
    task = bound(f"images:{folder},size=6x4,fit=stretch,mean=0,std=1,interpolation=nearest", opened)
    ((inputs, _),) = task.calibration()
    assert inputs.shape[1:] == (3, 6, 4)
    assert 0 <= float(inputs.min()) < float(inputs.max()) <= 1
    assert "6x4, stretched, nearest, mean 0, std 1" in task.notes[0]
    with pytest.raises(UsageError, match="one for each of the 3 channels"):
        bound(f"images:{folder},mean=0.1/0.2", opened)
