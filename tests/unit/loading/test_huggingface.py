"""transformers' networks: folders of save_pretrained, opened, cut, and built again from class and configuration."""

import json
from pathlib import Path

import pytest
import torch

import tui_prune
from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.building import build
from tui_prune.loading.open_model import open_model
from tui_prune.session.session import Session

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=40, **sizes)).save_pretrained(made)
    return made


def test_a_folder_opens_is_cut_and_loads_without_its_folder(folder: Path, tmp_path: Path) -> None:
    session = Session.open(f"hf:{folder}")
    assert session.opened.title == "BertForSequenceClassification"
    assert session.opened.input_spec == "1,16:int"
    own = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    tokens = torch.randint(0, 40, (2, 9))
    torch.testing.assert_close(session.opened.module(tokens).logits, own(tokens).logits)
    session.set_ratio(0.5, "bert.encoder.layer.0.intermediate.dense")
    session.save(tmp_path / "cut.pt")
    loaded = tui_prune.load(tmp_path / "cut.pt")
    assert type(loaded) is transformers.BertForSequenceClassification
    assert loaded.bert.encoder.layer[0].intermediate.dense.out_features == 16
    assert loaded(tokens).logits.shape == (2, 2)
    assert open_model(str(tmp_path / "cut.pt")).input_spec == "1,16:int"


def test_weights_that_lack_a_head_are_told(folder: Path, tmp_path: Path) -> None:
    transformers.BertModel.from_pretrained(folder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    notes = open_model(f"hf:{tmp_path}").notes
    assert "Its weights lack classifier.bias, classifier.weight; these are random." in notes


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("hf:nobody/nothing", "Fetch it first: hf download nobody/nothing"),
        ("hf:./nowhere", r"There is no folder \./nowhere"),
        ("hf:.", "has no config.json"),
    ],
)
def test_what_is_not_there_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        open_model(spec)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("pipeline", {"config": {}}, "has no network pipeline"),
        ("BertConfig", {"config": {}}, "has no network BertConfig"),
        ("BertModel", {"config": {}, "code": 1}, "its configuration alone"),
        ("BertModel", {"config": {"inner": [{"use_pretrained_backbone": True}]}}, "weights to be fetched"),
    ],
)
def test_a_checkpoint_names_only_networks_of_transformers(name: str, arguments: dict, sentence: str) -> None:
    with pytest.raises(TuiPruneError, match=sentence):
        build(Origin("huggingface", name, arguments))


def test_a_cut_of_one_width_goes_back_as_a_folder_of_transformers(folder: Path, tmp_path: Path) -> None:
    session = Session.open(f"hf:{folder}")
    session.set_ratio(0.5, "bert.encoder.layer.0.intermediate.dense")
    session.save(tmp_path / "cut.pt")
    report = tui_prune.export(tmp_path / "cut.pt", tmp_path / "cut", format="transformers")
    assert report.changes == ("intermediate_size 32 → 16",) and report.max_error <= 1e-6
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "cut").eval()
    tokens = torch.randint(0, 40, (2, 9))
    torch.testing.assert_close(again(tokens).logits, tui_prune.load(tmp_path / "cut.pt")(tokens).logits)
    with pytest.raises(TuiPruneError, match="exists already"):
        tui_prune.export(tmp_path / "cut.pt", tmp_path / "cut", format="transformers")
    tui_prune.export(tmp_path / "cut.pt", tmp_path / "cut", format="transformers", force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"cut", "cut.pt"}


def test_widths_that_no_configuration_has_are_told(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertModel(transformers.BertConfig(vocab_size=40, **sizes)).save_pretrained(tmp_path / "bert")
    session = Session.open(f"hf:{tmp_path / 'bert'}")
    session.set_ratio(0.5, "encoder.layer.0.intermediate.dense")
    session.save(tmp_path / "cut.pt")
    told = r"intermediate_size would have to be (16|32) by \S+ and (16|32) by \S+\. Cut layers of a kind by the same"
    with pytest.raises(TuiPruneError, match=told):
        tui_prune.export(tmp_path / "cut.pt", tmp_path / "cut", format="transformers")
    assert not (tmp_path / "cut").exists()


def test_a_scale_that_no_configuration_has_is_found_where_it_hardly_shows(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **sizes)).save_pretrained(
        tmp_path / "vit"
    )
    session = Session.open(f"hf:{tmp_path / 'vit'}")
    session.set_ratio(0.5)
    session.save(tmp_path / "cut.pt")
    with pytest.raises(TuiPruneError, match="isn't the pruned network|describes this network"):
        tui_prune.export(tmp_path / "cut.pt", tmp_path / "cut", format="transformers")
    assert not (tmp_path / "cut").exists()
